//! Every scenario of the published corpus passes.

use std::path::{Path, PathBuf};

use palisade_scenario::run_file;

fn corpus() -> std::io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

#[test]
fn every_scenario_passes() {
    let files = corpus().expect("the corpus is part of the source tree");
    assert!(files.len() >= 14, "the corpus is incomplete: {files:?}");
    let mut failed = Vec::new();
    for file in files {
        match run_file(&file) {
            Ok(report) if report.failures.is_empty() => {}
            Ok(report) => failed.extend(report.failures.iter().map(|failure| {
                let walk = failure.walk.as_ref().map(ToString::to_string).unwrap_or_default();
                let (step, expected, seen) =
                    (failure.step.unwrap_or_default(), &failure.expected, &failure.seen);
                format!("{}, step {step}: expected {expected}, saw {seen}\n{walk}", file.display())
            })),
            Err(error) => failed.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
