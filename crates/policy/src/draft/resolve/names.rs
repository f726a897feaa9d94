//! Names and ids of the objects of a file.

use std::collections::{HashMap, HashSet};

use crate::diagnostics::{Code, Report, Span};
use crate::draft::scalar::is_description;
use crate::draft::suggest::{did_you_mean, short};
use crate::draft::table::Named;
use crate::draft::value::{Field, Text};
use crate::ids::IdKind;

/// Name of the group and of the ACL that every VPC has.
pub(super) const DEFAULT: &str = "default";

/// Collects ids over all kinds, so that none is given twice.
pub(super) struct Registry<'r, 't> {
    vpc_id: &'r str,
    report: &'r mut Report<'t>,
    seen: HashMap<String, Span>,
}

/// Names and ids of one kind, in the order of the file.
pub(super) struct Names {
    kind: IdKind,
    objects: Vec<Object>,
    places: HashMap<String, usize>,
    /// Whether every name is known: no fault hides the table of them.
    complete: bool,
}

/// Name and id of an object.
pub(super) struct Object {
    pub(super) id: String,
    pub(super) name: String,
}

impl<'r, 't> Registry<'r, 't> {
    pub(super) fn new(vpc_id: &'r str, report: &'r mut Report<'t>) -> Self {
        Self { vpc_id, report, seen: HashMap::new() }
    }

    /// Takes the id that the file gives to the VPC.
    pub(super) fn vpc(&mut self, id: &Text) {
        self.given(id, &HashSet::new());
    }

    /// Takes an id that the file gives; `derived` are those of the objects that were given none.
    fn given(&mut self, id: &Text, derived: &HashSet<String>) {
        if derived.contains(&id.value) {
            let message = format!("the id `{}` is that of an object without `id = …`", id.value);
            self.report.add(Code::DuplicateId, id.span, message, "an id names one object");
        }
        check_id(&mut self.seen, id, self.report);
    }

    /// Names and ids of a table of tables.
    pub(super) fn names<T>(
        &mut self,
        kind: IdKind,
        tables: &Field<Named<T>>,
        id: impl Fn(&T) -> Option<&Text>,
    ) -> Names {
        let mut names =
            Names { kind, objects: Vec::new(), places: HashMap::new(), complete: !tables.is_faulty() };
        let unnamed = tables.entries().iter().filter(|(_, table)| id(table).is_none());
        let unnamed = unnamed.map(|(name, _)| stored(kind, &name.value)).chain([DEFAULT]);
        let derived: HashSet<_> = unnamed.map(|name| kind.derive(self.vpc_id, name)).collect();
        for (name, table) in tables.entries() {
            let given = id(table);
            if let Some(id) = given {
                self.given(id, &derived);
            }
            check_name(kind, name, self.report);
            if names.places.contains_key(&names.folded(&name.value)) {
                let message = format!("there is another {} `{}`", kind.as_str(), short(&name.value));
                let help = "group names are compared without regard to case and trailing spaces (SG-3)";
                self.report.add(Code::DuplicateId, name.span, message, help);
            }
            let name = stored(kind, &name.value);
            let id = given.map_or_else(|| kind.derive(self.vpc_id, name), |id| id.value.clone());
            names.push(id, name);
        }
        names
    }
}

/// Notes an id that was given before.
pub(super) fn check_id(seen: &mut HashMap<String, Span>, id: &Text, report: &mut Report<'_>) {
    if let Some(first) = seen.insert(id.value.clone(), id.span) {
        let message = format!("the id `{}` is given twice", id.value);
        report
            .add(Code::DuplicateId, id.span, message, "an id names one object")
            .related(first, "first here");
    }
}

impl Names {
    /// Adds the default object, if the file has no table for it.
    pub(super) fn with_default(mut self, vpc_id: &str) -> Self {
        if self.place(DEFAULT).is_none() {
            self.push(self.kind.derive(vpc_id, DEFAULT), DEFAULT);
        }
        self
    }

    /// Names and ids in order.
    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Position of the object with this name or id.
    pub(super) fn place(&self, name_or_id: &str) -> Option<usize> {
        self.places.get(&self.folded(name_or_id)).copied()
    }

    /// Position of the object referred to, or a note that there is none.
    pub(super) fn find(&self, reference: &Text, report: &mut Report<'_>) -> Option<usize> {
        let place = self.place(&reference.value);
        if place.is_none() && self.complete {
            self.note_unknown(reference, report);
        }
        place
    }

    fn note_unknown(&self, reference: &Text, report: &mut Report<'_>) {
        let kind = self.kind.as_str();
        let names = || self.objects.iter().map(|object| object.name.as_str());
        let meant = did_you_mean(&reference.value, names());
        let known: Vec<_> = names().take(10).collect();
        let more = if self.objects.len() > 10 { ", …" } else { "" };
        let help = if self.kind == IdKind::SecurityGroup && self.kind.is_id(&reference.value) {
            format!("if the group was deleted, write stale:{} (SG-38)", reference.value)
        } else if known.is_empty() {
            format!("the file has no {kind}")
        } else {
            format!("{meant}there are: {}{more}", known.join(", "))
        };
        let message = format!("there is no {kind} `{}`", short(&reference.value));
        report.add(Code::UnknownReference, reference.span, message, help);
    }

    fn push(&mut self, id: String, name: &str) {
        let place = self.objects.len();
        self.places.insert(self.folded(name), place);
        self.places.insert(id.clone(), place);
        self.objects.push(Object { id, name: name.to_owned() });
    }

    /// Group names are compared without regard to case, trailing spaces trimmed (SG-3).
    fn folded(&self, name: &str) -> String {
        match self.kind {
            IdKind::SecurityGroup => stored(self.kind, name).to_ascii_lowercase(),
            _ => name.to_owned(),
        }
    }
}

/// The name as it is stored (SG-3).
fn stored(kind: IdKind, name: &str) -> &str {
    if kind == IdKind::SecurityGroup { name.trim_end_matches(' ') } else { name }
}

fn check_name(kind: IdKind, name: &Text, report: &mut Report<'_>) {
    let text = stored(kind, &name.value);
    let is_group = kind == IdKind::SecurityGroup;
    let fault = if text.is_empty() {
        "a name must not be empty"
    } else if is_group && !is_description(text) {
        "a group name has at most 255 of a-z A-Z 0-9, space and ._-:/()#,@[]+=&;{}!$* (SG-3)"
    } else if is_group && text.starts_with("sg-") {
        "a group name must not begin with `sg-` (SG-3)"
    } else if is_group && text != DEFAULT && text.eq_ignore_ascii_case(DEFAULT) {
        "the name `default` is reserved for the VPC's default group (SG-4)"
    } else if text.len() > 255 || text.trim() != text || text.contains(char::is_control) {
        "a name has at most 255 bytes, no control characters and no space at its ends"
    } else if kind.is_id(text) {
        "a name must not look like an id; give the id with `id = …`"
    } else {
        return;
    };
    let message = format!("`{}` is not a name for a {}", short(&name.value), kind.as_str());
    report.add(Code::BadName, name.span, message, fault);
}
