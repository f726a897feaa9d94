//! Any bytes as a configuration file.

use palisade_policy::{Diagnostics, draft};

/// Reads a configuration file.
///
/// # Panics
///
/// If reading twice gives two results, an error names no place in the file, or a refusal has no errors.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = draft::load("fuzz.toml", text);
    match (&read, &draft::load("fuzz.toml", text)) {
        (Ok(vpc), Ok(again)) => assert!(vpc == again, "reading twice gives the same VPC"),
        (Err(faults), Err(again)) => assert!(faults == again, "reading twice gives the same faults"),
        _ => panic!("accepted once, refused once"),
    }
    if let Err(faults) = read {
        faults_name_places(text, &faults);
    }
}

fn faults_name_places(text: &str, faults: &Diagnostics) {
    assert!(!faults.is_empty(), "a refusal says why");
    for fault in faults {
        let (place, message) = (fault.place, &fault.message);
        assert!(place.line >= 1 && place.column >= 1, "lines and columns count from 1: {message}");
        let named = text.get(place.offset..place.offset + place.length);
        assert!(named.is_some(), "the place lies in the file: {message}");
        assert!(!message.is_empty() && !fault.help.is_empty(), "there is something to read");
    }
    assert!(!faults.to_string().is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_reaches_both_outcomes() {
        for accepted in
            [include_str!("../corpus/config/example.toml"), include_str!("../corpus/config/minimal.toml")]
        {
            assert_eq!(draft::load("corpus.toml", accepted).map(|_| ()), Ok(()));
        }
        let faults = draft::load("corpus.toml", include_str!("../corpus/config/faulty.toml")).unwrap_err();
        assert!(faults.len() > 10, "{faults}");
    }
}
