//! Minutes since 1970: what workers count by.

/// A minute of Unix time. Workers count by minutes whatever intervals are asked for: each interval is a whole number of
/// them (FL-12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Window(pub u32);

impl Window {
    /// Its length in seconds.
    pub const SECONDS: u32 = 60;

    /// The one that holds a second since 1970.
    #[must_use]
    pub const fn of(second: u32) -> Self {
        Self(second / Self::SECONDS)
    }

    /// Its first second; that of the last minute before 2106 if it is later.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.0.saturating_mul(Self::SECONDS)
    }

    /// The first second after it.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.start().saturating_add(Self::SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FL-12: aligned to multiples of the interval since the epoch.
    #[test]
    fn windows_are_whole_minutes_since_the_epoch() {
        assert_eq!([Window::of(0), Window::of(59), Window::of(60)], [Window(0), Window(0), Window(1)]);
        assert_eq!((Window(1).start(), Window(1).end()), (60, 120));
        assert_eq!(Window::of(Window(7).end() - 1), Window(7));
        assert_eq!(Window(u32::MAX).end(), u32::MAX, "no arithmetic wraps");
    }
}
