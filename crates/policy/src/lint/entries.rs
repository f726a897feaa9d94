//! Entries of ACLs that change nothing.

use super::book::{Book, DIRECTIONS, EntryAt, Subject};
use super::code::Code;
use super::order::{Standing, standings};
use crate::classifier::Rule;
use crate::classifier::span::Field;
use crate::model::{AclIndex, Direction};

/// Looks at every list of every ACL.
pub(super) fn check(book: &mut Book<'_>) {
    let acls: Vec<AclIndex> = book.acls().map(|(acl, _)| acl).collect();
    for acl in acls {
        for direction in DIRECTIONS {
            check_list::<u32>(book, acl, direction);
            check_list::<u128>(book, acl, direction);
        }
    }
}

fn check_list<T: Field>(book: &mut Book<'_>, acl: AclIndex, direction: Direction) {
    let list = book.vpc[acl].list(direction);
    let of_family = list.iter().enumerate().filter_map(|(at, entry)| Some((at, Rule::<T>::of_entry(entry)?)));
    let (places, rules): (Vec<_>, Vec<_>) = of_family.unzip();
    let actions: Vec<_> = places.iter().map(|&at| list[at].action).collect();
    for (at, standing) in standings(&rules, &actions).into_iter().enumerate() {
        let entry = |at: usize| EntryAt { acl, direction, at: places[at] };
        if book.is_void(Subject::Entry(entry(at))) || !book.is_written(Subject::Entry(entry(at))) {
            continue;
        }
        let entries = |by: Vec<usize>| by.into_iter().map(entry).collect::<Vec<_>>();
        match standing {
            Standing::Needed | Standing::Void => {}
            Standing::Shadowed { by } => shadowed(book, entry(at), &entries(by)),
            Standing::Repeated { by, .. } => repeated(book, entry(at), &entries(by)),
        }
    }
}

fn shadowed(book: &mut Book<'_>, entry: EntryAt, by: &[EntryAt]) {
    let message = format!(
        "{} decides nothing: {} match{} all of it before",
        title(book, entry),
        numbers(book, by),
        if by.len() == 1 { "es" } else { "" }
    );
    let overruled = by.iter().find(|other| book.entry(**other).action != book.entry(entry).action);
    let help = match overruled {
        Some(first) => format!(
            "to have it decide, give it a number below {}; else remove it: the first entry that matches decides (NACL-21)",
            book.entry(*first).number
        ),
        None => "remove it: the first entry that matches decides (NACL-21)".to_owned(),
    };
    book.note(Code::ShadowedEntry, Subject::Entry(entry), &subjects(by), message, help);
}

fn repeated(book: &mut Book<'_>, entry: EntryAt, by: &[EntryAt]) {
    let title = title(book, entry);
    if by.is_empty() {
        let message = format!("{title} repeats the end of the list: what no entry matches is denied anyway");
        let help = "remove it, or keep it to count its packets apart (NACL-5)";
        book.note(Code::RepeatsDefault, Subject::Entry(entry), &[], message, help);
        return;
    }
    let message = format!("{title} changes nothing: without it, {} would decide alike", numbers(book, by));
    book.note(Code::RedundantEntry, Subject::Entry(entry), &subjects(by), message, "remove it");
}

/// An entry with its ACL.
pub(super) fn title(book: &Book<'_>, entry: EntryAt) -> String {
    let text = book.text(Subject::Entry(entry));
    format!("`{text}` of network ACL {}, {},", book.vpc[entry.acl].name, entry.direction.as_str())
}

fn subjects(entries: &[EntryAt]) -> Vec<Subject> {
    entries.iter().take(SHOWN).map(|&entry| Subject::Entry(entry)).collect()
}

/// How many other entries a finding names.
const SHOWN: usize = 4;

/// `entry 100`, or `entries 100, 110 and 5 more`.
fn numbers(book: &Book<'_>, entries: &[EntryAt]) -> String {
    let numbers: Vec<_> = entries.iter().map(|&entry| book.entry(entry).number.to_string()).collect();
    match &numbers[..] {
        [one] => format!("entry {one}"),
        _ => format!("entries {}", several(&numbers)),
    }
}

/// `a, b and c`, or `a, b, c, d and 5 more`.
pub(super) fn several(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        _ if names.len() > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
