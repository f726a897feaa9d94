//! Sets what Palisade and Linux made of a trace against each other and against the list of intended differences.

use std::fmt::Write as _;

use palisade_engine::Explanation;

use crate::differences::{Known, Sight};
use crate::recording::Recording;
use crate::replay::Played;

/// What a comparison of one trace showed.
pub(crate) struct Comparison {
    /// Name of the trace.
    pub(crate) trace: String,
    /// Packets, and datagrams in fragments.
    pub(crate) packets: usize,
    /// Those with one fate.
    pub(crate) agreed: usize,
    /// Ids of the intended differences that occurred.
    pub(crate) intended: Vec<String>,
    /// What is not as it must be, in words.
    pub(crate) faults: Vec<String>,
    /// How often the trace was played, in vain but for the last time.
    pub(crate) plays: usize,
}

/// Compares.
pub(crate) fn compare(known: &Known, recording: &Recording, played: &Played) -> Comparison {
    let mut comparison = Comparison {
        trace: recording.name.clone(),
        packets: recording.units.len(),
        agreed: 0,
        intended: Vec::new(),
        faults: Vec::new(),
        plays: played.plays,
    };
    let listed: Vec<_> = known.sights().filter(|(_, sight)| sight.trace == recording.name).collect();
    for (number, linux) in played.fates.iter().enumerate() {
        let unit = &recording.units[number];
        let palisade = unit.fate();
        let here = listed.iter().find(|(_, sight)| sight.step == unit.step);
        comparison.agreed += usize::from(palisade == *linux);
        match here {
            Some((id, sight)) if sight.palisade == palisade && sight.linux == *linux => {
                comparison.intended.push((*id).to_owned());
            }
            Some((id, sight)) => {
                comparison.faults.push(other_than_listed(recording, number, id, sight, played));
            }
            None if palisade == *linux => {}
            None => comparison.faults.push(unlisted(recording, number, played)),
        }
    }
    let is_unit = |step| recording.units.iter().any(|unit| unit.step == step);
    let lost = listed.iter().filter(|(_, sight)| !is_unit(sight.step));
    let lost = lost
        .map(|(id, sight)| format!("{id} names step {}, which sends nothing that is compared", sight.step));
    comparison.faults.extend(lost);
    comparison.intended.dedup();
    comparison
}

fn other_than_listed(
    recording: &Recording,
    number: usize,
    id: &str,
    sight: &Sight,
    played: &Played,
) -> String {
    let (palisade, linux) = (recording.units[number].fate(), &played.fates[number]);
    let what = if palisade == *linux { "does not occur any more" } else { "is another" };
    let mut text = format!(
        "the intended difference {id} (Palisade: {}, Linux: {}) {what}:\n",
        sight.palisade, sight.linux
    );
    text.push_str(&unlisted(recording, number, played));
    text
}

/// All that is needed to judge a disagreement.
fn unlisted(recording: &Recording, number: usize, played: &Played) -> String {
    let unit = &recording.units[number];
    let mut text = format!(
        "step {} `{}`\n  Palisade: {}\n  Linux:    {}\n",
        unit.step,
        unit.text,
        unit.fate(),
        played.fates[number]
    );
    text.push_str(&walk(&unit.walk));
    if let Some(connections) = played.connections.get(&number) {
        let _ = writeln!(text, "  Linux tracks after it:");
        for line in connections.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn walk(walk: &Explanation) -> String {
    let mut text = String::from("  Palisade's walk:\n");
    for stage in &walk.stages {
        let rule = stage.rule.as_deref().unwrap_or("-");
        let _ = writeln!(text, "    {} {}: {} ({}; {rule})", stage.stage, stage.at, stage.result, stage.note);
    }
    let _ = writeln!(text, "    {}", walk.outcome.detail);
    text
}

/// One line per trace.
pub(crate) fn table(comparisons: &[Comparison]) -> String {
    let width = comparisons.iter().map(|it| it.trace.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}  packets  agreed  intended differences\n", "trace");
    for it in comparisons {
        let (trace, packets, agreed) = (&it.trace, it.packets, it.agreed);
        let _ = write!(text, "{trace:width$}  {packets:7}  {agreed:6}  {}", it.intended.join(" "));
        if !it.faults.is_empty() {
            let _ = write!(text, "  FAULTS: {}", it.faults.len());
        }
        if it.plays > 1 {
            let _ = write!(text, "  (play {}; in those before a packet was sent too late)", it.plays);
        }
        text.push('\n');
    }
    text
}
