//! docs/lint.md: every code is there with its severity, its example shows it, and what stands instead does not.

use palisade_policy::lint::Code;

use super::{codes, over};

const PAGE: &str = include_str!("../../../../docs/lint.md");

/// The TOML blocks of a part of the page.
fn blocks(part: &str) -> Vec<&str> {
    let fenced = part.split("```toml").skip(1);
    fenced.map(|rest| rest.split_once('\n').unwrap().1.split("```").next().unwrap()).collect()
}

fn base() -> &'static str {
    PAGE.split("```toml base\n").nth(1).unwrap().split("```").next().unwrap()
}

/// The part of the page under a code's heading.
fn section(code: Code) -> &'static str {
    let heading = format!("#### `{}` ({})\n", code.as_str(), code.severity().as_str());
    let rest = PAGE.split(&heading).nth(1).unwrap_or_else(|| panic!("{heading} is missing"));
    rest.split("\n#").next().unwrap()
}

#[test]
fn nothing_is_found_in_the_vpc_that_the_examples_change() {
    assert_eq!(codes(base()), []);
}

#[test]
fn every_example_shows_its_finding_and_the_remedy_does_not() {
    for &code in Code::ALL {
        let [example, instead] = blocks(section(code))[..] else {
            panic!("{} has an example and what stands instead", code.as_str())
        };
        let (example, instead) = (codes(&over(base(), example)), codes(&over(base(), instead)));
        assert!(example.contains(&code), "{}: {example:?}", code.as_str());
        assert!(!instead.contains(&code), "{}, instead: {instead:?}", code.as_str());
    }
}

#[test]
fn the_page_names_no_code_that_does_not_exist() {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("#### `"));
    let names: Vec<_> = headings.map(|line| line.split('`').next().unwrap()).collect();
    let mut known: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut sorted = names.clone();
    known.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(sorted, known);
}
