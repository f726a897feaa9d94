//! The two lists of an ACL, cut into stretches of addresses in each of which the same entries match.

use std::collections::{BTreeSet, HashMap};

use super::clients::Clients;
use crate::classifier::Rule;
use crate::classifier::span::{Field, Span};
use crate::model::{AclAction, AclEntry};

/// A list that packets of one way meet, of one family, in the order of evaluation.
pub(super) struct Way {
    /// What decides of each entry, beside its addresses.
    entries: Vec<WayEntry>,
}

/// An entry without its addresses.
pub(super) struct WayEntry {
    /// Its place in the ACL's list.
    pub(super) place: usize,
    pub(super) action: AclAction,
    pub(super) services: Vec<Span<u32>>,
    /// Whether it is for every address.
    pub(super) anywhere: bool,
}

/// A part of a way's services, and the entry that decides there; `None`: the end of the list.
pub(super) type Piece<'w> = (Span<u32>, Option<&'w WayEntry>);

/// The entries of a way that match some addresses, as positions in [`Way`].
pub(super) type Row = Vec<u32>;

/// What decides: an entry, by its place in the ACL's list, or the list's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Entry(usize),
    End,
}

/// That a part of a span of services is denied.
pub(super) struct Denied {
    /// By what, of its first part.
    pub(super) by: By,
    /// Entries for certain addresses deny all of it; what denies all addresses is like the end of the list.
    pub(super) meant: bool,
}

/// Stretches in which the same entries match.
pub(super) struct Class {
    /// Entries that the opening packet meets.
    pub(super) forward: Row,
    /// Entries that its answer meets.
    pub(super) back: Row,
    /// What answers to the ports of clients meet: of TCP, of UDP.
    pub(super) clients: [Clients; 2],
}

/// Stretches of addresses, and the rows of both ways in each.
pub(super) struct Stretches<T> {
    pub(super) forward: Way,
    pub(super) back: Way,
    /// Lowest address of each stretch, ascending, the first is 0.
    starts: Vec<T>,
    /// Position in `classes` of each stretch.
    class_of: Vec<usize>,
    classes: Vec<Class>,
}

impl Way {
    fn new<T: Field>(list: &[AclEntry]) -> (Self, Vec<Rule<T>>) {
        let of_family = list.iter().enumerate().filter_map(|(at, entry)| Some((at, Rule::of_entry(entry)?)));
        let (places, rules): (Vec<usize>, Vec<Rule<T>>) = of_family.unzip();
        let entries = places.iter().zip(&rules).map(|(&place, rule)| WayEntry {
            place,
            action: list[place].action,
            services: rule.services.clone(),
            anywhere: list[place].cidr.prefix_len() == 0,
        });
        (Self { entries: entries.collect() }, rules)
    }

    /// A span of services cut where another entry matches, each with the first one that does.
    pub(super) fn pieces(&self, row: &Row, span: Span<u32>) -> Vec<Piece<'_>> {
        let edges = self.service_edges(row, span);
        let mut matching: BTreeSet<u32> = BTreeSet::new();
        let mut pieces = Vec::new();
        let mut low = span.low;
        for here in edges.chunk_by(|a, b| a.0 == b.0) {
            let at = here[0].0;
            if at > low {
                pieces.push((Span { low, high: at - 1 }, self.first(&matching)));
                low = at;
            }
            for &(_, entry, begins) in here {
                if begins {
                    matching.insert(entry)
                } else {
                    matching.remove(&entry)
                };
            }
        }
        pieces.push((Span { low, high: span.high }, self.first(&matching)));
        pieces
    }

    fn first(&self, matching: &BTreeSet<u32>) -> Option<&WayEntry> {
        matching.first().map(|&entry| &self.entries[entry as usize])
    }

    /// Where entries of a row begin to match inside a span, and where they end: service, entry, and which of the two.
    fn service_edges(&self, row: &Row, span: Span<u32>) -> Vec<(u32, u32, bool)> {
        let touching = |services: &&Span<u32>| services.low <= span.high && span.low <= services.high;
        let of_entry = |&entry: &u32| {
            let services = self.entries[entry as usize].services.iter().filter(touching);
            services.flat_map(move |services| {
                let end = services.high.checked_add(1).filter(|end| *end <= span.high);
                [Some((services.low.max(span.low), entry, true)), end.map(|end| (end, entry, false))]
            })
        };
        let mut edges: Vec<_> = row.iter().flat_map(of_entry).flatten().collect();
        edges.sort_unstable();
        edges
    }

    /// What denies a part of a span; `None`: all of it is allowed.
    pub(super) fn denial(&self, row: &Row, span: Span<u32>) -> Option<Denied> {
        let pieces = self.pieces(row, span);
        let denied = pieces.iter().map(|&(_, entry)| entry).filter(|&entry| !is_allowed(entry));
        let mut denied = denied.map(|entry| Denied {
            by: entry.map_or(By::End, |entry| By::Entry(entry.place)),
            meant: entry.is_some_and(|entry| !entry.anywhere),
        });
        let first = denied.next()?;
        let meant = first.meant && denied.all(|other| other.meant);
        Some(Denied { by: first.by, meant })
    }
}

/// What is not decided by an entry is denied.
pub(super) fn is_allowed(entry: Option<&WayEntry>) -> bool {
    entry.is_some_and(|entry| entry.action == AclAction::Allow)
}

impl<T: Field> Stretches<T> {
    /// `forward` is the list that the opening packet meets, `back` the one that its answer meets.
    pub(super) fn new(forward: &[AclEntry], back: &[AclEntry]) -> Self {
        let (forward, forth_rules) = Way::new::<T>(forward);
        let (back, back_rules) = Way::new::<T>(back);
        let mut edges = edges(&forth_rules, false);
        edges.extend(self::edges(&back_rules, true));
        edges.sort_unstable();
        let mut stretches =
            Self { forward, back, starts: Vec::new(), class_of: Vec::new(), classes: Vec::new() };
        stretches.sweep(&edges);
        stretches
    }

    /// Every class that some spans touch, with the first addresses of them in it.
    pub(super) fn touched(&self, spans: &[Span<T>]) -> Vec<(Span<T>, &Class)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for span in spans {
            let first = self.starts.partition_point(|start| *start <= span.low) - 1;
            let stretches = (first..self.starts.len()).take_while(|&at| self.starts[at] <= span.high);
            for at in stretches.filter(|&at| seen.insert(self.class_of[at])) {
                let end = self.starts.get(at + 1).and_then(|next| next.predecessor()).unwrap_or(T::MAX);
                let addresses = Span { low: self.starts[at].max(span.low), high: end.min(span.high) };
                found.push((addresses, &self.classes[self.class_of[at]]));
            }
        }
        found
    }

    fn sweep(&mut self, edges: &[(T, bool, u32, bool)]) {
        let mut active = [BTreeSet::new(), BTreeSet::new()];
        let mut known: HashMap<(Row, Row), usize> = HashMap::new();
        let mut push = |stretches: &mut Self, start, active: &[BTreeSet<u32>; 2]| {
            let [forward, back] = active.each_ref().map(|row| row.iter().copied().collect::<Row>());
            let next = known.len();
            let class = *known.entry((forward, back)).or_insert_with_key(|(forward, back)| {
                let clients = [0, 1].map(|plane| Clients::of(&stretches.back, back, plane));
                let (forward, back) = (forward.clone(), back.clone());
                stretches.classes.push(Class { forward, back, clients });
                next
            });
            stretches.starts.push(start);
            stretches.class_of.push(class);
        };
        if edges.first().is_none_or(|edge| edge.0 != T::ZERO) {
            push(self, T::ZERO, &active);
        }
        for here in edges.chunk_by(|a, b| a.0 == b.0) {
            for &(_, back, entry, begins) in here {
                let row = &mut active[usize::from(back)];
                if begins {
                    row.insert(entry)
                } else {
                    row.remove(&entry)
                };
            }
            push(self, here[0].0, &active);
        }
    }
}

/// Address, way, entry, and whether it begins there to match.
fn edges<T: Field>(rules: &[Rule<T>], back: bool) -> Vec<(T, bool, u32, bool)> {
    let of_rule = |(at, rule): (u32, &Rule<T>)| {
        let spans = rule.addresses.clone().into_iter();
        spans.flat_map(move |span| {
            let end = span.high.successor().map(|end| (end, back, at, false));
            [Some((span.low, back, at, true)), end].into_iter().flatten()
        })
    };
    (0..).zip(rules).flat_map(of_rule).collect()
}
