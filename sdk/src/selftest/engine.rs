//! Judges which engine ran: what was loaded onto a board for its NPU must run there, and not pass because the CPU did its work.

use std::path::PathBuf;

use artifact::BackendKind;
use artifact::rknn::ToolkitVersion;

use super::{Judged, Plan};
use crate::pipeline::PipelineReport;

/// What a board's file says of its NPU, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Npu {
    /// File name of the library that runs models.
    pub runtime_library: String,
    /// The oldest version of it that will do, such as `2.5`.
    pub minimum_runtime: String,
    /// Where the kernel tells how busy the cores are.
    pub load_file: Option<PathBuf>,
}

/// The engine that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Engine {
    /// The one that was due.
    Due(BackendKind),
    /// Another one, in place of the board's NPU.
    InPlaceOfNpu {
        /// The engine that ran.
        ran: BackendKind,
        /// Why the NPU did not.
        fallback: String,
    },
}

impl Engine {
    /// The engine that `ran` on the board of `plan`, with the reason why a better one did not, if there is one.
    pub(super) fn of(ran: BackendKind, fallback: Option<&str>, plan: &Plan) -> Self {
        // Without an NPU on the board, the CPU is no fallback, whatever else the bundle holds.
        match fallback.filter(|_| plan.npu.is_some()) {
            Some(fallback) => Self::InPlaceOfNpu { ran, fallback: fallback.to_owned() },
            None => Self::Due(ran),
        }
    }

    /// The engine that ran, and why the NPU did not, where it ran in its place.
    pub(super) fn told(self) -> (BackendKind, Option<String>) {
        match self {
            Self::Due(ran) => (ran, None),
            Self::InPlaceOfNpu { ran, fallback } => (ran, Some(fallback)),
        }
    }
}

/// Judges `engine`, and the `runtime` that the NPU ran by, where it tells its version, by the board of `plan`.
pub(super) fn judge(plan: &Plan, engine: &Engine, runtime: Option<&str>) -> Judged {
    match (&plan.npu, engine) {
        (Some(npu), Engine::InPlaceOfNpu { ran, fallback }) => {
            Judged::Failed(passed_over(plan, npu, *ran, fallback))
        }
        (Some(_), Engine::Due(BackendKind::Tract)) => Judged::NotJudged(format!(
            "the NPU of {} is not judged: the bundle has no model for it, or the CPU was asked for",
            plan.board
        )),
        (Some(npu), Engine::Due(BackendKind::Rknn)) => {
            runtime.and_then(|runtime| too_old(plan, npu, runtime)).map_or(Judged::Passed, Judged::Failed)
        }
        (None, _) => Judged::Passed,
    }
}

/// What went wrong with `engine` in the pipeline of which `report` tells, if anything did.
pub(super) fn failed_in_pipeline(plan: &Plan, engine: &Engine, report: &PipelineReport) -> Option<String> {
    if let Judged::Failed(how) = judge(plan, engine, None) {
        return Some(how);
    }
    let left_out = report.npu.map_or(0, |npu| npu.left_out);
    (left_out > 0).then(|| {
        format!(
            "{left_out} of {} cores of the NPU of {} take no frames: see the notes above, and the kernel's log",
            report.lanes, plan.board
        )
    })
}

/// What is wrong with `runtime`, if it is older than the board's file asks.
fn too_old(plan: &Plan, npu: &Npu, runtime: &str) -> Option<String> {
    let Npu { runtime_library, minimum_runtime, .. } = npu;
    let [found, least]: [ToolkitVersion; 2] = [runtime.parse().ok()?, minimum_runtime.parse().ok()?];
    (found < least).then(|| {
        format!(
            "the NPU of {} ran by {runtime_library} {found}, which is older than {least}: install that or a newer one",
            plan.board
        )
    })
}

fn passed_over(plan: &Plan, npu: &Npu, ran: BackendKind, fallback: &str) -> String {
    let Npu { runtime_library, minimum_runtime, .. } = npu;
    format!(
        "{ran} ran in place of the NPU of {}, because {fallback}; it takes {runtime_library}, as new as the model and at \
         least {minimum_runtime}: install that, or see what `--backend rknn` says; `--backend tract` tests the CPU instead",
        plan.board
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::rknn::PoolReport;
    use crate::selftest::Length;

    fn plan(npu: Option<Npu>) -> Plan {
        Plan { board: "rk3588".into(), length: Length::Quick, budget_fps: None, npu }
    }

    fn npu() -> Option<Npu> {
        let (runtime_library, minimum_runtime) = ("librknnrt.so".into(), "2.5".into());
        Some(Npu { runtime_library, minimum_runtime, load_file: None })
    }

    fn in_place_of_npu() -> Engine {
        Engine::InPlaceOfNpu { ran: BackendKind::Tract, fallback: "no NPU runtime on this machine".into() }
    }

    #[test]
    fn a_board_whose_npu_was_passed_over_fails_and_says_what_to_do() {
        let Judged::Failed(how) = judge(&plan(npu()), &in_place_of_npu(), None) else { panic!() };
        for part in [
            "tract ran",
            "the NPU of rk3588",
            "no NPU runtime",
            "takes librknnrt.so",
            "at least 2.5",
            "--backend rknn",
        ] {
            assert!(how.contains(part), "no {part:?} in {how}");
        }
    }

    #[test]
    fn a_core_that_is_left_out_in_the_pipeline_fails() {
        let left_out = |left_out| {
            let npu = Some(PoolReport { left_out, ..PoolReport::default() });
            PipelineReport { lanes: 3, npu, ..PipelineReport::default() }
        };
        let failed = |report| failed_in_pipeline(&plan(npu()), &Engine::Due(BackendKind::Rknn), &report);
        assert_eq!(failed(left_out(0)), None);
        assert!(failed(left_out(1)).unwrap().starts_with("1 of 3 cores of the NPU of rk3588"));
    }

    #[test]
    fn the_npu_passes_and_so_does_the_cpu_where_there_is_no_other() {
        for runtime in [None, Some("what?"), Some("2.5.0 (c6b7)"), Some("2.10.0")] {
            let judged = judge(&plan(npu()), &Engine::Due(BackendKind::Rknn), runtime);
            assert_eq!(judged, Judged::Passed, "{runtime:?}");
        }
        assert_eq!(judge(&plan(None), &Engine::Due(BackendKind::Tract), None), Judged::Passed);
    }

    #[test]
    fn a_runtime_older_than_the_board_asks_fails_with_both_versions() {
        let judged = judge(&plan(npu()), &Engine::Due(BackendKind::Rknn), Some("2.3.2 (429f)"));
        let Judged::Failed(how) = judged else { panic!() };
        assert!(how.contains("librknnrt.so 2.3.2") && how.contains("older than 2.5.0: install"), "{how}");
    }

    #[test]
    fn an_npu_that_nothing_was_to_run_on_is_not_judged() {
        let judged = judge(&plan(npu()), &Engine::Due(BackendKind::Tract), None);
        assert!(matches!(judged, Judged::NotJudged(why) if why.contains("no model for it")));
    }
}
