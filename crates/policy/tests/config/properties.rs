//! Whatever the text, the reader answers: a VPC, or at least one fault with a place inside the text.

use palisade_policy::diagnostics::Style;
use palisade_policy::lint::{Findings, lint};
use proptest::prelude::*;

use super::samples::samples;

/// Pieces that mean something somewhere in a file.
const PIECES: &[&str] = &[
    "\"",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ",",
    "\n",
    "\r\n",
    "#",
    ".",
    "-",
    "/",
    ":",
    "é",
    "\u{0}",
    "\\u0041",
    "[vpc]",
    "[eni.x]",
    "x = 1",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "inf",
    "1979-05-27",
    "from",
    "to",
    "any",
    "sg:",
    "pl:",
    "sg:default",
    "::/0",
    "0.0.0.0/0",
    "10.0.0.0/0",
    "/33",
    "65536",
    "tcp",
    "icmp 8/any",
    "true",
];

fn mutate(text: &str, edits: &[(prop::sample::Index, usize, usize)]) -> String {
    let mut text = text.to_owned();
    for (at, length, piece) in edits {
        if text.is_empty() {
            break;
        }
        let start = text.floor_char_boundary(at.index(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
        let piece = PIECES.get(*piece).copied().unwrap_or_default();
        text.replace_range(start..end, piece);
    }
    text
}

/// Loads the text and looks at everything that can be made of the result.
fn check(text: &str) {
    let faults = match lint("test.toml", text) {
        Ok(findings) => return check_findings(text, &findings),
        Err(faults) => faults,
    };
    assert!(!faults.is_empty(), "refused without a reason:\n{text}");
    for fault in &faults {
        let place = fault.place;
        assert!(place.line >= 1 && place.column >= 1);
        assert_eq!(text.get(place.offset..place.offset + place.length), Some(fault.text.as_str()));
        assert!(place.line <= text.split('\n').count());
    }
    assert_eq!(faults.to_string().is_empty(), faults.is_empty());
    serde_json::to_string(&faults).unwrap();
    assert!(!faults.render(Style::default()).is_empty());
}

fn check_findings(text: &str, findings: &Findings) {
    for finding in findings {
        let place = finding.place;
        assert_eq!(text.get(place.offset..place.offset + place.length), Some(finding.text.as_str()));
        assert!(!finding.help.is_empty(), "{finding}");
    }
    assert_eq!(findings.render(Style::default()).is_empty(), findings.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn mutated_samples_do_not_panic(
        sample in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, 0..PIECES.len() + 8), 1..6),
    ) {
        let samples = samples();
        check(&mutate(&samples[sample.index(samples.len())].1, &edits));
    }

    /// Words in the place of words keep the file TOML, so that what is behind the parser is reached.
    #[test]
    fn exchanged_words_do_not_panic(
        sample in any::<prop::sample::Index>(),
        exchanges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let samples = samples();
        let text = &samples[sample.index(samples.len())].1;
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
        let mut words: Vec<_> = text.split_inclusive(|c| !is_word(c)).collect();
        for (to, from) in exchanges {
            let (to, from) = (to.index(words.len()), from.index(words.len()));
            words[to] = words[from];
        }
        check(&words.concat());
    }

    #[test]
    fn any_rule_text_does_not_panic(rule in "\\PC{0,40}", entry in "[0-9a-z:/ .-]{0,40}") {
        let rule = toml::Value::from(rule);
        let entry = toml::Value::from(entry);
        check(&format!("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[security_group.a]\ningress = [{rule}, {entry}]\n\
                        [network_acl.a]\negress = [{rule}, {entry}]\n"));
    }

    #[test]
    fn any_text_does_not_panic(text in "\\PC{0,200}") {
        check(&text);
    }
}

#[test]
fn deep_nesting_is_refused() {
    check(&format!("x = {}", "[".repeat(100_000)));
    check(&format!("[vpc]\ncidr_blocks = {}{}", "[".repeat(70), "]".repeat(70)));
}
