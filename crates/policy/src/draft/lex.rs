//! Words of a rule and their places.

use super::value::Text;
use crate::diagnostics::Span;

/// A word of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'t> {
    pub(crate) text: &'t str,
    pub(crate) span: Span,
    /// Bytes of the rule before it.
    start: usize,
}

/// The words of a text, separated by white space.
pub(crate) fn words(text: &Text) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, character) in text.value.char_indices() {
        match (character.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                found.push(word(text, from, at));
                start = None;
            }
            _ => {}
        }
    }
    found.extend(start.map(|from| word(text, from, text.value.len())));
    found
}

/// All the words as one, from the first to the last, as a name with spaces is.
pub(crate) fn joined<'t>(text: &'t Text, words: &[Word<'t>]) -> Option<Word<'t>> {
    let (first, last) = (words.first()?, words.last()?);
    Some(word(text, first.start, last.start + last.text.len()))
}

/// The place right behind a word, where the next one is missing.
pub(crate) fn behind(text: &Text, word: Option<&Word<'_>>) -> Span {
    word.map_or(text.span, |word| Span { start: word.span.end, end: word.span.end })
}

/// A word without its first `skip` bytes.
pub(crate) fn tail<'t>(text: &'t Text, from: &Word<'t>, skip: usize) -> Word<'t> {
    word(text, from.start + skip, from.start + from.text.len())
}

fn word(text: &Text, start: usize, end: usize) -> Word<'_> {
    Word { text: &text.value[start..end], span: text.part(start..end), start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_places() {
        let source = "\" tcp  from sg:my group\"";
        let text = Text::new(&source[1..source.len() - 1], Span { start: 0, end: source.len() }, source);
        let words = words(&text);
        let places: Vec<_> = words.iter().map(|word| (word.text, word.span.start)).collect();
        assert_eq!(places, [("tcp", 2), ("from", 7), ("sg:my", 12), ("group", 18)]);
        let name = joined(&text, &words[2..]).unwrap();
        assert_eq!((name.text, name.span), ("sg:my group", Span { start: 12, end: 23 }));
        assert_eq!(tail(&text, &name, 3).text, "my group");
    }
}
