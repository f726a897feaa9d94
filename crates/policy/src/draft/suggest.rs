//! The name that a misspelt one was probably meant to be.

/// Longer words are not compared: the work grows with the product of the lengths.
const LONGEST: usize = 64;

/// `did you mean `NAME`? ` if one of the candidates is near, else nothing.
#[must_use]
pub fn did_you_mean<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |name| format!("did you mean `{name}`? "))
}

/// The candidate nearest to the word, if it shares more than half of it.
fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&word, &name.to_lowercase());
    let scored = candidates.filter(|name| name.len() <= LONGEST).map(|name| (likeness(name), name));
    scored.filter(|(score, _)| *score > 0.5).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The text, cut to a length that fits into a message.
#[must_use]
pub fn short(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = || ["ingress", "egress", "description"].into_iter();
        assert_eq!(did_you_mean("ingres", names()), "did you mean `ingress`? ");
        assert_eq!(did_you_mean("Egress", names()), "did you mean `egress`? ");
        assert_eq!(did_you_mean("mtu", names()), "");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short(&"é".repeat(40)).chars().count(), 33);
    }
}
