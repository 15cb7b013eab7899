//! The chip that all contexts of a model share: its cores, what its callers did wrong, and what they hold. Kept under the
//! model's name until the process ends.

mod cores;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::{Action, Scenario};
use cores::Cores;
pub(crate) use cores::Taken;

/// What callers did and hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Contexts that are not destroyed.
    pub contexts: u64,
    /// Contexts that ever were.
    pub contexts_made: u64,
    /// Contexts that share another one's weights, ever.
    pub duplicates: u64,
    /// Memories that are not destroyed.
    pub memories: u64,
    /// Memories that ever were.
    pub memories_made: u64,
    /// Outputs that were got and not released.
    pub outputs: u64,
    /// Frames finished.
    pub runs: u64,
    /// Frames finished by core; one that several work for together counts for each.
    pub runs_by_core: Vec<u64>,
    /// What a real runtime would take silently and wrongly.
    pub violations: Vec<String>,
    /// Flags of the last `rknn_init`.
    pub flags: u32,
    /// How often each of the scenario's faults came.
    pub faults: Vec<u64>,
}

pub(crate) struct Device {
    counters: Mutex<Counters>,
    calls: Mutex<HashMap<&'static str, u64>>,
    cores: Cores,
    is_released: Mutex<bool>,
    released: Condvar,
}

/// What a function with a fault does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoiled {
    /// Nothing: it works.
    No,
    /// It gives this code.
    Error(i32),
    /// It gives so many bytes too few.
    Short(u32),
    /// The NPU takes so much longer.
    Slow(Duration),
    /// What this core computes is wrong.
    Garbled(usize),
}

static DEVICES: LazyLock<Mutex<HashMap<String, Arc<Device>>>> = LazyLock::new(Mutex::default);

/// The device of models with this name.
pub(crate) fn of(scenario: &Scenario) -> Arc<Device> {
    let mut devices = lock(&DEVICES);
    Arc::clone(devices.entry(scenario.name.clone()).or_insert_with(|| {
        let cores = Cores::new(scenario.cores);
        let (runs_by_core, faults) = (vec![0; cores.count()], vec![0; scenario.faults.len()]);
        let counters = Counters { runs_by_core, faults, ..Counters::default() };
        Arc::new(Device {
            counters: Mutex::new(counters),
            calls: Mutex::default(),
            cores,
            is_released: Mutex::default(),
            released: Condvar::new(),
        })
    }))
}

/// The device of that name, if a model of it was ever loaded.
pub(crate) fn named(name: &str) -> Option<Arc<Device>> {
    lock(&DEVICES).get(name).cloned()
}

impl Device {
    /// The counters, to be changed or read.
    pub(crate) fn counters(&self) -> MutexGuard<'_, Counters> {
        lock(&self.counters)
    }

    /// Notes something that a real runtime would not notice.
    pub(crate) fn violation(&self, text: String) {
        eprintln!("stand-in: violation: {text}");
        self.counters().violations.push(text);
    }

    /// Counts a call and does what the scenario says of it; a stall is over when it is released.
    pub(crate) fn call(&self, scenario: &Scenario, name: &'static str) -> Spoiled {
        let nth = {
            let mut calls = lock(&self.calls);
            let count = calls.entry(name).or_default();
            *count += 1;
            *count
        };
        let due = scenario.faults.iter().position(|fault| {
            fault.call == name && (fault.from..fault.from.saturating_add(fault.count)).contains(&nth)
        });
        let Some(at) = due else { return Spoiled::No };
        // Models of one name share a device; the first one's faults are counted.
        if let Some(count) = self.counters().faults.get_mut(at) {
            *count += 1;
        }
        match scenario.faults[at].action {
            Action::Error(code) => Spoiled::Error(code),
            Action::Short(bytes) => Spoiled::Short(bytes),
            Action::Slow(ms) => Spoiled::Slow(Duration::from_millis(ms)),
            Action::Garble(core) => Spoiled::Garbled(core.into()),
            Action::Delay(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                Spoiled::No
            }
            Action::Stall => {
                let is_released = lock(&self.is_released);
                drop(self.released.wait_while(is_released, |is_released| !*is_released));
                Spoiled::No
            }
        }
    }

    /// Lets every stalled call return, those to come among them.
    pub(crate) fn release(&self) {
        *lock(&self.is_released) = true;
        self.released.notify_all();
    }

    /// The cores that work for a context with this mask, once all of them are free; none where they are not within
    /// `patience`.
    pub(crate) fn take(&self, mask: u32, patience: Option<Duration>) -> Option<Taken<'_>> {
        self.cores.take(mask, patience)
    }

    /// Counts a frame that those cores have finished.
    pub(crate) fn count_run(&self, cores: &Taken<'_>) {
        let mut counters = self.counters();
        counters.runs += 1;
        for (core, runs) in counters.runs_by_core.iter_mut().enumerate() {
            *runs += u64::from(cores.has(core));
        }
    }

    /// Whether the chip has all cores of `mask`.
    pub(crate) fn has_cores(&self, mask: u32) -> bool {
        self.cores.has_all(mask)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
