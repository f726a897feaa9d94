//! Times and amounts as people read them.

use std::time::Duration;

/// The two largest units, such as `4d23h`, `12m5s` or `0.4s`.
pub(crate) fn time(seconds: f64) -> String {
    // A negative or infinite time is shown as none; there are no such times.
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if time < Duration::from_secs(10) {
        return format!("{:.1}s", time.as_secs_f64());
    }
    let whole = time.as_secs();
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Bytes in a unit that keeps the number short, such as `1.5 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let found = UNITS.iter().find(|(size, _)| bytes >= *size);
    found.map_or_else(
        || format!("{bytes} B"),
        |(size, unit)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

/// Bits per second in a unit that keeps the number short, such as `1.5 M`.
pub(crate) fn bits(rate: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    match UNITS.iter().find(|(size, _)| rate >= *size) {
        Some((size, unit)) => format!("{:.1}{unit}", rate / size),
        None => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_at_most() {
        let cases = [
            (0.0, "0.0s"),
            (0.44, "0.4s"),
            (9.96, "10.0s"),
            (12.9, "12s"),
            (179.0, "2m59s"),
            (3600.0, "1h0m"),
            (431_999.0, "4d23h"),
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bits_are_short() {
        let cases = [
            (0.0, "0"),
            (999.4, "999"),
            (1500.0, "1.5 k"),
            (2e6, "2.0 M"),
            (40.1e9, "40.1 G"),
            (7e15, "7000.0 T"),
        ];
        for (rate, text) in cases {
            assert_eq!(bits(rate), text);
        }
    }

    #[test]
    fn bytes_are_short() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (2_000_000, "2.0 MB"),
            (u64::MAX, "18446744.0 TB"),
        ];
        for (amount, text) in cases {
            assert_eq!(bytes(amount), text);
        }
    }
}
