//! Gathers times, a histogram a step. Recording one allocates nothing.

use std::collections::BTreeMap;

use artifact::Fault;
use hdrhistogram::Histogram;

use super::{Percentiles, Stages, Step};
use crate::Error;

/// Longer than any frame that is still one.
const MAX_US: u64 = 600_000_000;

/// Times of some steps.
pub(super) struct Recorder {
    times: BTreeMap<Step, Histogram<u64>>,
}

impl Recorder {
    /// Times of `steps` will be recorded.
    pub(super) fn of(steps: &[Step]) -> Result<Self, Error> {
        let histogram = |step: &Step| Ok((*step, Histogram::new_with_bounds(1, MAX_US, 3)?));
        let times: Result<_, hdrhistogram::CreationError> = steps.iter().map(histogram).collect();
        let times = times.map_err(|e| {
            let hint = "report this: they are constants";
            Error::Input(Fault::new(e.to_string(), "bounds of a histogram", hint))
        })?;
        Ok(Self { times })
    }

    /// A frame took so long for `step`.
    pub(super) fn record(&mut self, step: Step, time_us: u64) {
        if let Some(times) = self.times.get_mut(&step) {
            times.saturating_record(time_us);
        }
    }

    /// The steps for which there were times.
    pub(super) fn stages(&self) -> Stages {
        let known = self.times.iter().filter(|(_, times)| !times.is_empty());
        known.map(|(step, times)| (*step, Percentiles::of(times))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut recorder = Recorder::of(&[Step::Inference, Step::Npu, Step::Preprocess]).unwrap();
        for us in 1..=100 {
            recorder.record(Step::Preprocess, us);
            recorder.record(Step::Inference, 10 * us);
            recorder.record(Step::Draw, 7);
        }
        let stages = recorder.stages();
        let names: Vec<_> = stages.keys().map(|step| step.name()).collect();
        assert_eq!(names, ["preprocess", "inference"], "in order, and no step without times");
        let Percentiles { p50_us, p90_us, p95_us, p99_us, max_us } = stages[&Step::Preprocess];
        assert_eq!([p50_us, p90_us, p95_us, p99_us, max_us], [50, 90, 95, 99, 100]);
        recorder.record(Step::Npu, 70);
        assert_eq!(recorder.stages()[&Step::Npu].p50_us, 70);
    }

    #[test]
    fn steps_have_the_same_names_in_json_and_for_people() {
        let mut recorder = Recorder::of(&[Step::EndToEnd, Step::Capture]).unwrap();
        recorder.record(Step::EndToEnd, 1);
        recorder.record(Step::Capture, 1);
        let stages = recorder.stages();
        let json = serde_json::to_string(&stages).unwrap();
        for step in stages.keys() {
            assert!(json.contains(&format!("\"{step}\":")), "{json}");
        }
        assert_eq!(serde_json::from_str::<Stages>(&json).unwrap(), stages);
    }
}
