//! Unix seconds as dates (UTC), for keys.

/// A minute in the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
}

impl Stamp {
    /// The minute of a Unix second. Years are counted from March of year 0, so that leap days end them.
    pub(crate) const fn of(second: u32) -> Self {
        let (days, rest) = (second / 86_400 + 719_468, second % 86_400);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: era * 400 + year_of_era + (month <= 2) as u32,
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest % 3600 / 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: u32) -> String {
        let Stamp { year, month, day, hour, minute } = Stamp::of(second);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }

    #[test]
    fn dates() {
        assert_eq!(text(0), "1970-01-01 00:00");
        assert_eq!(text(951_782_399), "2000-02-28 23:59");
        assert_eq!(text(951_782_400), "2000-02-29 00:00");
        assert_eq!(text(1_795_702_800), "2026-11-26 14:20");
        assert_eq!(text(1_709_251_199), "2024-02-29 23:59");
        assert_eq!(text(1_735_689_599), "2024-12-31 23:59");
        assert_eq!(text(4_107_542_400), "2100-03-01 00:00", "2100 has no leap day");
        assert_eq!(text(u32::MAX), "2106-02-07 06:28");
    }
}
