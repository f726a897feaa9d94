//! Any text as a packet.

use palisade_packet::{Offload, parse};
use palisade_policy::{Snapshot, draft};
use palisade_scenario::notation::{self, NotationError};

const WORLD: &str = include_str!("../worlds/walk.toml");

thread_local! {
    static SNAPSHOT: Snapshot = {
        let vpc = draft::load("walk.toml", WORLD).expect("the world is part of the source tree");
        Snapshot::compile(vpc, None)
    };
}

/// Reads a packet, builds its frame and parses that.
///
/// # Panics
///
/// If reading twice gives two packets, a word that is refused was not written, or a frame that the notation makes of a
/// segmentation-offload packet is not one.
pub fn notation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = notation::parse(text);
    assert_eq!(read, notation::parse(text), "reading twice gives the same");
    match read {
        Err(NotationError::Word { word, .. }) => {
            let written = word.split_whitespace().all(|part| text.contains(part));
            assert!(written, "{word:?} stands nowhere in {text:?}");
        }
        Err(why) => assert!(!why.to_string().is_empty()),
        Ok(spec) => SNAPSHOT.with(|snapshot| {
            let Ok(frame) = spec.frame(snapshot) else { return };
            assert_eq!(spec.frame(snapshot), Ok(frame.clone()), "building twice gives the same");
            let Ok(summary) = parse(&frame.bytes) else { return };
            if spec.link.vnet.is_none() {
                let offload = frame.vnet.check(&summary);
                let segments = text.split_whitespace().any(|word| word == "gso");
                assert!(segments || offload.is_ok(), "its own header is refused: {offload:?}");
                let is_segments = matches!(offload, Ok(Offload::Segments { .. }));
                assert!(segments || !is_segments, "nobody asked for segments");
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[test]
    fn every_line_of_the_corpus_is_a_packet() {
        for line in driver::corpus("notation").expect("the corpus is part of the source tree") {
            let text = String::from_utf8(line).expect("text");
            let spec = notation::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
            SNAPSHOT.with(|snapshot| assert!(spec.frame(snapshot).is_ok(), "{text}"));
        }
    }
}
