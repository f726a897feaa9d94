//! Any text as the small languages of scenario files and of `palisade conns`.

use std::cell::LazyCell;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use palisade_engine::Selection;
use palisade_policy::{Snapshot, draft};
use palisade_scenario::{Bytes, Change, Conn, Count, Decision, Expectation};

const WORLD: &str = include_str!("../worlds/walk.toml");

thread_local! {
    static SNAPSHOT: LazyCell<Snapshot> = LazyCell::new(|| {
        let vpc = draft::load("walk.toml", WORLD).expect("the world is part of the source tree");
        Snapshot::compile(vpc, None)
    });
}

/// Reads a line as each of the languages, and as filter words.
///
/// # Panics
///
/// If what was read, written out and read again is something else, or a refusal does not say why and what to write.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    comes_back::<Expectation>(text);
    comes_back::<Decision>(text);
    comes_back::<Conn>(text);
    comes_back::<Count>(text);
    says_why(text.parse::<Change>());
    says_why(text.parse::<Bytes>());
    SNAPSHOT.with(|snapshot| {
        let read = Selection::parse(text.split_whitespace(), snapshot);
        if let Err(error) = &read {
            assert!(!error.what.is_empty() && !error.help.is_empty(), "{error:?}");
            assert!(text.split_whitespace().any(|word| word == error.word), "{error:?}");
        }
        says_why(read);
    });
}

fn comes_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    if let Some(value) = says_why(text.parse::<T>()) {
        let written = value.to_string();
        match written.parse::<T>() {
            Ok(again) => assert_eq!(again, value, "{text:?} was written as {written:?}"),
            Err(why) => panic!("{text:?} was written as {written:?}, which is refused: {why}"),
        }
    }
}

fn says_why<T>(read: Result<T, impl Display>) -> Option<T> {
    read.map_err(|why| assert!(!why.to_string().is_empty(), "there is something to read")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[test]
    fn the_corpus_speaks_every_language() {
        let lines = driver::corpus("words").expect("the corpus is part of the source tree");
        let lines: Vec<_> = lines.into_iter().map(|line| String::from_utf8(line).expect("text")).collect();
        let any = |reads: fn(&str) -> bool| lines.iter().any(|line| reads(line));
        assert!(any(|line| line.parse::<Expectation>().is_ok()));
        assert!(any(|line| line.parse::<Decision>().is_ok()));
        assert!(any(|line| line.parse::<Conn>().is_ok()));
        assert!(any(|line| line.parse::<Count>().is_ok()));
        assert!(any(|line| line.parse::<Change>().is_ok()));
        assert!(any(|line| line.parse::<Bytes>().is_ok()));
        SNAPSHOT.with(|snapshot| {
            let chosen = lines.iter().filter_map(|line| Selection::parse(line.split(' '), snapshot).ok());
            assert!(chosen.count() >= 3);
        });
    }
}
