//! Reads published flow logs of text, as `gzip -dc` gives them on standard input, with VRL's `parse_aws_vpc_flow_log`, and holds
//! each field that VRL finds against the words of its line. `scripts/check-vrl.sh` runs it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, BufRead as _};
use std::process::ExitCode;

use vrl::compiler::state::RuntimeState;
use vrl::compiler::{Context, Program, TargetValue, TimeZone, compile};
use vrl::value::{Secrets, Value};

/// Fields of the default format that are numbers; the others are text.
const NUMBERS: [&str; 8] = ["version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end"];

/// The names of its fields, which is how an object begins.
const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";

fn main() -> ExitCode {
    match read() {
        Ok(lines) if lines > 0 => {
            println!("VRL reads {lines} records as they are meant");
            ExitCode::SUCCESS
        }
        Ok(_) => fail("there are no lines"),
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

/// Every line of standard input; how many records there are.
fn read() -> Result<u64, String> {
    let program = compile("parse_aws_vpc_flow_log!(string!(.line))", &vrl::stdlib::all())
        .map_err(|errors| format!("VRL does not compile: {errors:?}"))?
        .program;
    let mut records = 0;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        // Each object begins with the names of its fields.
        if line.starts_with("version ") {
            (line == DEFAULT).then_some(()).ok_or(format!("this is not the default format: {line}"))?;
            continue;
        }
        let found = parse(&program, &line).map_err(|why| format!("{line}: {why}"))?;
        let expected = expected(&line).map_err(|why| format!("{line}: {why}"))?;
        if found != expected {
            return Err(format!("{line}:\n  VRL reads {found}\n  there is  {expected}"));
        }
        records += 1;
    }
    Ok(records)
}

/// What VRL makes of a line.
fn parse(program: &Program, line: &str) -> Result<Value, String> {
    let mut target = TargetValue {
        value: Value::Object(BTreeMap::from([("line".into(), Value::from(line))])),
        metadata: Value::Object(BTreeMap::new()),
        secrets: Secrets::default(),
    };
    let (mut state, zone) = (RuntimeState::default(), TimeZone::default());
    program.resolve(&mut Context::new(&mut target, &mut state, &zone)).map_err(|error| error.to_string())
}

/// What a line says, word by word: nothing for `-`.
fn expected(line: &str) -> Result<Value, String> {
    let (names, words): (Vec<_>, Vec<_>) = (DEFAULT.split(' ').collect(), line.split(' ').collect());
    if names.len() != words.len() {
        return Err(format!("{} words for {} fields", words.len(), names.len()));
    }
    let value = |name: &str, word: &str| match word {
        "-" => Ok(Value::Null),
        number if NUMBERS.contains(&name) => {
            number.parse().map(Value::Integer).map_err(|error| format!("{name}: {error}"))
        }
        text => Ok(Value::from(text)),
    };
    let fields = names
        .into_iter()
        .zip(words)
        .map(|(name, word)| Ok((name.replace('-', "_").into(), value(name, word)?)));
    fields.collect::<Result<BTreeMap<_, _>, String>>().map(Value::Object)
}
