//! What was counted of a flow in each of the last seconds.

/// Seconds that are remembered: the longest interval, the second that goes on, and the one whose counts are still coming.
const SECONDS: u32 = 12;

/// Packets, and their bytes.
pub(super) type Volume = (u64, u64);

/// Counts of the last seconds; older ones are forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// By second, modulo their number.
    seconds: [Volume; SECONDS as usize],
    /// The newest second.
    newest: u32,
}

impl Rates {
    /// Nothing counted before a second.
    pub(super) const fn from(second: u32) -> Self {
        Self { seconds: [(0, 0); SECONDS as usize], newest: second }
    }

    /// Counts what came from the second `first` to the second `last`, evenly: a flow is told of once a second, at no
    /// particular time, so that a steady one would look unsteady otherwise.
    pub(super) fn count(&mut self, (first, last): (u32, u32), (packets, bytes): Volume) {
        self.reach(last);
        let seconds = u64::from(last.saturating_sub(first)) + 1;
        let share = (packets / seconds, bytes / seconds);
        let oldest = self.oldest();
        for second in first.max(oldest)..last {
            self.add(second, share);
        }
        if last >= oldest {
            let before = seconds - 1;
            self.add(last, (packets - share.0 * before, bytes - share.1 * before));
        }
    }

    /// What was counted in the seconds from `first` to `last`.
    pub(super) fn over(&self, first: u32, last: u32) -> Volume {
        let seconds = first.max(self.oldest())..=last.min(self.newest);
        let volumes = seconds.map(|second| self.seconds[place(second)]);
        volumes.fold((0, 0), |sum, volume| (sum.0 + volume.0, sum.1 + volume.1))
    }

    const fn oldest(&self) -> u32 {
        self.newest.saturating_sub(SECONDS - 1)
    }

    /// Forgets what has become too old when a second begins.
    fn reach(&mut self, second: u32) {
        let passed = second.saturating_sub(self.newest).min(SECONDS);
        self.newest = self.newest.max(second);
        for ago in 0..passed {
            self.seconds[place(self.newest.saturating_sub(ago))] = (0, 0);
        }
    }

    fn add(&mut self, second: u32, (packets, bytes): Volume) {
        let sum = &mut self.seconds[place(second)];
        sum.0 += packets;
        sum.1 += bytes;
    }
}

const fn place(second: u32) -> usize {
    (second % SECONDS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_spread_over_their_seconds_and_none_is_lost() {
        let mut rates = Rates::from(100);
        rates.count((100, 102), (10, 1000));
        assert_eq!(rates.over(100, 100), (3, 333));
        assert_eq!(rates.over(101, 101), (3, 333));
        assert_eq!(rates.over(102, 102), (4, 334));
        rates.count((102, 102), (1, 60));
        assert_eq!(rates.over(0, u32::MAX), (11, 1060));
        assert_eq!(rates.over(103, 200), (0, 0));
    }

    #[test]
    fn seconds_that_have_passed_are_forgotten() {
        let mut rates = Rates::from(100);
        rates.count((100, 100), (5, 500));
        rates.count((111, 111), (7, 700));
        assert_eq!(rates.over(100, 111), (12, 1200));
        rates.count((112, 112), (1, 100));
        assert_eq!(rates.over(100, 112), (8, 800));
        rates.count((100, 100), (5, 500));
        assert_eq!(rates.over(0, 200), (8, 800), "too old to be remembered");
        rates.count((500, 500), (2, 200));
        assert_eq!(rates.over(0, 500), (2, 200));
    }

    /// A clock that was set back, and a flow that was told of late.
    #[test]
    fn what_is_old_counts_where_it_belongs() {
        let mut rates = Rates::from(100);
        rates.count((40, 100), (61, 6100));
        assert_eq!(rates.over(0, 100), (12, 1200));
        rates.count((98, 99), (2, 20));
        assert_eq!(rates.over(98, 99), (4, 220));
        rates.count((u32::MAX, 0), (1, 1));
        assert_eq!(rates.over(0, u32::MAX), (14, 1220));
    }
}
