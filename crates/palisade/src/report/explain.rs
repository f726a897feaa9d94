//! `palisade explain`: the walk of one packet.

use std::io::{self, Write};

use anstyle::Style;
use palisade_engine::Explanation;
use serde::{Deserialize, Serialize};

use crate::screen::{BAD, FAINT, GOOD, HEADING, NOTABLE};

/// An [`Explanation`] that can be read back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ExplainReport {
    /// Generation of the policy that was asked.
    pub(crate) generation: u64,
    /// Name of the port the packet comes in by.
    pub(crate) from: String,
    /// The packet in one line.
    pub(crate) packet: String,
    /// Every stage it meets, in order.
    pub(crate) stages: Vec<Stage>,
    /// Where it ends.
    pub(crate) outcome: End,
}

/// What one stage does with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Which stage.
    #[serde(rename = "stage")]
    pub(crate) name: String,
    /// Where.
    pub(crate) at: String,
    /// `ingress` or `egress`, where that matters.
    pub(crate) direction: Option<String>,
    /// `allowed`, `denied`, `passed` or `not-consulted`.
    pub(crate) result: String,
    /// The rule or entry that decided.
    pub(crate) rule: Option<String>,
    /// What was looked at.
    pub(crate) consulted: Vec<String>,
    /// Why, in words.
    pub(crate) note: String,
}

/// Where a packet ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// `delivered`, `consumed` or `dropped`.
    pub(crate) verdict: String,
    /// Port it is delivered to.
    pub(crate) to: Option<String>,
    /// Why it is dropped, or what consumed it.
    pub(crate) reason: Option<String>,
    /// The same in words.
    pub(crate) detail: String,
    /// What goes back to the sender.
    pub(crate) reply: Option<String>,
}

impl From<Explanation> for ExplainReport {
    fn from(explanation: Explanation) -> Self {
        let Explanation { generation, from, packet, stages, outcome } = explanation;
        let stages = stages.into_iter().map(|stage| Stage {
            name: stage.stage.to_string(),
            at: stage.at,
            direction: stage.direction.map(str::to_owned),
            result: stage.result.to_owned(),
            rule: stage.rule,
            consulted: stage.consulted,
            note: stage.note,
        });
        let outcome = End {
            verdict: outcome.verdict.to_owned(),
            to: outcome.to,
            reason: outcome.reason.map(str::to_owned),
            detail: outcome.detail,
            reply: outcome.reply,
        };
        Self { generation, from, packet, stages: stages.collect(), outcome }
    }
}

impl ExplainReport {
    /// Whether the packet arrives.
    pub(crate) fn is_delivered(&self) -> bool {
        self.outcome.verdict == "delivered"
    }

    /// Writes every stage, and the outcome.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { generation, from, packet, stages, outcome } = self;
        writeln!(out, "{HEADING}{packet}{HEADING:#}  (from {from}, generation {generation})")?;
        stages.iter().try_for_each(|stage| stage.write(out))?;
        outcome.write(out)
    }
}

impl Stage {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { name, at, direction, result, rule, consulted, note } = self;
        let name = direction.as_ref().map_or_else(|| name.clone(), |direction| format!("{name} {direction}"));
        let style = style(result);
        write!(out, "  {name:<24} {at:<16} {style}{result:<13}{style:#}")?;
        if let Some(rule) = rule {
            write!(out, " {HEADING}{rule}{HEADING:#};")?;
        }
        writeln!(out, " {note}")?;
        if consulted.is_empty() {
            return Ok(());
        }
        writeln!(out, "  {:<24} {FAINT}looked at: {}{FAINT:#}", "", consulted.join(", "))
    }
}

impl End {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { verdict, reason, detail, reply, .. } = self;
        let style = style(verdict);
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(out, "=> {style}{verdict}{style:#}{reason}: {detail}")?;
        reply.iter().try_for_each(|reply| writeln!(out, "   sent back: {reply}"))
    }
}

fn style(result: &str) -> Style {
    match result {
        "allowed" | "delivered" => GOOD,
        "denied" | "dropped" => BAD,
        "consumed" | "held" => NOTABLE,
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, direction: Option<&str>, result: &str, rule: Option<&str>) -> Stage {
        Stage {
            name: name.to_owned(),
            at: "web-1".to_owned(),
            direction: direction.map(str::to_owned),
            result: result.to_owned(),
            rule: rule.map(str::to_owned),
            consulted: rule.map(|_| "web (sg-1), 1 egress rule".to_owned()).into_iter().collect(),
            note: "because".to_owned(),
        }
    }

    fn report() -> ExplainReport {
        let stages = vec![
            stage("admission", None, "passed", None),
            stage("security-group", Some("egress"), "denied", Some("sgr-1 of sg-1")),
        ];
        let outcome = End {
            verdict: "dropped".to_owned(),
            to: None,
            reason: Some("group-egress".to_owned()),
            detail: "No rule matches.".to_owned(),
            reply: Some("ICMP error".to_owned()),
        };
        ExplainReport {
            generation: 3,
            from: "web-1".to_owned(),
            packet: "tcp a > b".to_owned(),
            stages,
            outcome,
        }
    }

    fn written(report: &ExplainReport) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn every_stage_is_told() {
        let expected = "\
tcp a > b  (from web-1, generation 3)
  admission                web-1            passed        because
  security-group egress    web-1            denied        sgr-1 of sg-1; because
                           looked at: web (sg-1), 1 egress rule
=> dropped (group-egress): No rule matches.
   sent back: ICMP error
";
        assert_eq!(written(&report()), expected);
    }

    #[test]
    fn it_survives_the_way_through_the_socket() {
        let there = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<ExplainReport>(&there).unwrap(), report());
        assert!(!report().is_delivered());
    }
}
