//! `palisade lint`: what in a configuration does nothing, or not what it seems to do.

use std::io::{self, Write as _};
use std::path::Path;

use palisade_policy::diagnostics::Style;
use palisade_policy::lint::{self, Finding, Findings, Severity};
use serde::Serialize;

use crate::check::{self, LoadError};
use crate::cli::{Format, Lint};
use crate::failure::{Exit, Failure};
use crate::screen::{BAD, GOOD, NOTABLE, Screen};
use crate::table::count;

/// Looks at the files of a command line.
pub(crate) fn lint(screen: &mut Screen, request: &Lint) -> io::Result<Exit> {
    if let Some(code) = request.allow.iter().find(|code| request.deny.contains(code)) {
        let what = format!("`{code}` is both allowed and denied");
        let failure = Failure::with(Exit::Usage, what, "leave out one of --allow and --deny");
        return screen.failure(&failure).map(|()| failure.exit);
    }
    let mut exit = Exit::Ok;
    for path in &request.configs {
        let ended = match find(path) {
            Ok(findings) => tell(screen, path, findings, request)?,
            Err(error) => check::refuse(screen, path, &error)?,
        };
        exit = check::worst(exit, ended);
    }
    Ok(exit)
}

fn find(path: &Path) -> Result<Findings, LoadError> {
    let text = check::text(path)?;
    lint::lint(&path.display().to_string(), &text).map_err(LoadError::Faulty)
}

fn tell(screen: &mut Screen, path: &Path, mut findings: Findings, request: &Lint) -> io::Result<Exit> {
    findings.retain(|finding| !request.allow.iter().any(|code| code == finding.code.as_str()));
    let denied = findings.iter().filter(|finding| is_denied(finding, &request.deny)).count();
    let report = Linted {
        file: path.display().to_string(),
        ok: denied == 0,
        warnings: findings.count(Severity::Warning),
        notes: findings.count(Severity::Note),
        denied,
        findings: &findings,
    };
    if screen.format == Format::Json {
        screen.json(&report)?;
    } else {
        draw(screen, &report)?;
    }
    Ok(if denied == 0 { Exit::Ok } else { Exit::No })
}

fn is_denied(finding: &Finding, deny: &[String]) -> bool {
    let all = match finding.severity {
        Severity::Warning => "warnings",
        Severity::Note => "notes",
    };
    deny.iter().any(|what| what == all || what == finding.code.as_str())
}

fn draw(screen: &mut Screen, report: &Linted<'_>) -> io::Result<()> {
    let Linted { file, warnings, notes, denied, findings, .. } = report;
    // Colour is removed by the stream where it is not wanted.
    let style = Style { colour: true, width: screen.width };
    write!(screen.out, "{}", findings.render(style))?;
    if findings.is_empty() {
        writeln!(screen.out, "{file}: {GOOD}no findings{GOOD:#}")?;
        return screen.out.flush();
    }
    let (mark, end) =
        if *denied > 0 { (BAD, format!(", {denied} denied")) } else { (NOTABLE, String::new()) };
    let (warnings, notes) = (count(*warnings, "warning"), count(*notes, "note"));
    writeln!(screen.out, "{file}: {mark}{warnings}, {notes}{end}{mark:#}")?;
    screen.out.flush()
}

/// The document of a file.
#[derive(Serialize)]
struct Linted<'a> {
    file: String,
    /// Whether nothing is denied.
    ok: bool,
    warnings: usize,
    notes: usize,
    denied: usize,
    findings: &'a Findings,
}
