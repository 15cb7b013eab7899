//! The cores of a chip, as bits: each works for one run at a time, and a run on several has all of them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lock;

/// What a mask says that leaves the choice to the driver.
const ANY: u32 = 0;
/// What a mask says that asks for all cores there are.
const ALL: u32 = 0xffff;

pub(crate) struct Cores {
    count: u32,
    busy: Mutex<u32>,
    freed: Condvar,
}

/// Cores that work for one run, until this is dropped.
pub(crate) struct Taken<'c> {
    owner: &'c Cores,
    cores: u32,
    /// How long they were busy with others.
    pub(crate) waited: Duration,
}

impl Cores {
    /// So many, and at least one.
    pub(crate) fn new(count: u32) -> Self {
        Self { count: count.clamp(1, 16), busy: Mutex::default(), freed: Condvar::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether there are all cores of `mask`.
    pub(crate) fn has_all(&self, mask: u32) -> bool {
        mask == ALL || mask & !self.all() == 0
    }

    /// The cores of `mask`, once all of them are free; none where they are not within `patience`.
    pub(crate) fn take(&self, mask: u32, patience: Option<Duration>) -> Option<Taken<'_>> {
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        let mut busy = lock(&self.busy);
        loop {
            if let Some(cores) = self.free(mask, *busy) {
                *busy |= cores;
                return Some(Taken { owner: self, cores, waited });
            }
            busy = match patience {
                None => self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let left = patience.checked_sub(waited).filter(|left| !left.is_zero())?;
                    self.freed.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            waited = began.elapsed();
        }
    }

    /// The cores that `mask` asks for, where none of them is busy.
    fn free(&self, mask: u32, busy: u32) -> Option<u32> {
        let cores = match mask {
            ANY => (0..self.count).map(|core| 1_u32 << core).find(|core| core & busy == 0)?,
            mask => mask & self.all(),
        };
        (cores & busy == 0).then_some(cores)
    }

    fn all(&self) -> u32 {
        (1 << self.count) - 1
    }
}

impl Taken<'_> {
    /// The first of them.
    pub(crate) fn first(&self) -> usize {
        self.cores.trailing_zeros() as usize
    }

    /// Whether this core is one of them.
    pub(crate) fn has(&self, core: usize) -> bool {
        (self.cores >> core) & 1 == 1
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(&self.owner.busy) &= !self.cores;
        self.owner.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Option<Duration> = Some(Duration::from_millis(10));

    #[test]
    fn a_run_has_all_its_cores_and_others_have_none_of_them() {
        let cores = Cores::new(3);
        let two = cores.take(0b110, None).unwrap();
        assert_eq!((two.first(), [0, 1, 2].map(|core| two.has(core))), (1, [false, true, true]));
        for mask in [0b10, 0b100, 0b111, ALL] {
            assert!(cores.take(mask, MOMENT).is_none(), "{mask:#b}");
        }
        let one = cores.take(0b1, None).unwrap();
        assert_eq!((one.first(), one.waited), (0, Duration::ZERO));
        assert!(cores.take(ANY, MOMENT).is_none());
        drop(two);
        assert_eq!(cores.take(ANY, None).unwrap().first(), 1);
        drop(one);
        assert!((0..3).all(|core| cores.take(ALL, None).unwrap().has(core)));
    }

    #[test]
    fn who_waits_gets_them_when_they_are_free() {
        let cores = Cores::new(1);
        let first = cores.take(1, None).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| cores.take(1, Some(Duration::from_secs(600))).is_some());
            std::thread::yield_now();
            drop(first);
            assert!(second.join().unwrap());
        });
    }

    #[test]
    fn cores_that_there_are_not_are_known() {
        let cores = Cores::new(2);
        assert!([ANY, 1, 2, 3, ALL].into_iter().all(|mask| cores.has_all(mask)));
        assert!(!cores.has_all(4) && !cores.has_all(7));
    }
}
