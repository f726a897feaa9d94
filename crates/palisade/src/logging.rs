//! The daemon's log on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::{Log, LogFormat, When};
use crate::failure::{Exit, Failure};

/// Starts logging for the rest of the process's life.
///
/// # Errors
/// The levels cannot be understood.
pub(crate) fn start(log: &Log, color: When) -> Result<(), Failure> {
    let filter = filter(&log.log_level)?;
    let base = fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.log_format {
        LogFormat::Human => base.with_ansi(coloured(color)).with_target(false).init(),
        LogFormat::Json => {
            base.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
    Ok(())
}

fn filter(levels: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::builder().parse(levels).map_err(|error| {
        let help = "write error, warn, info, debug or trace, or a list such as `info,palisade_io=debug`";
        Failure::with(Exit::Failed, format_args!("--log-level `{levels}`: {error}"), help)
    })
}

fn coloured(color: When) -> bool {
    match color {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        assert!(filter("warn").is_ok());
        assert!(filter("info,palisade_io=debug").is_ok());
        assert!(filter("palisade_io=loud").is_err());
    }
}
