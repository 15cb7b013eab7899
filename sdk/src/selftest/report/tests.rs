//! Verdicts of runs that are made up.

use std::time::Duration;

use super::*;
use crate::selftest::laps::Lap;
use crate::selftest::witness::Seen;
use crate::selftest::{Npu, Percentiles, PictureAccuracy};

const TIMES: Percentiles = Percentiles { p50_us: 1, p90_us: 2, p95_us: 3, p99_us: 4, max_us: 5 };

fn laps(laps_fps: [f64; LAPS]) -> [Lap; LAPS] {
    laps_fps.map(|fps| Lap { frames: 3, fps })
}

fn timing(laps_fps: [f64; LAPS]) -> Timing {
    let stages = [(Step::Npu, TIMES), (Step::Total, TIMES)].into();
    let inference_fps = laps_fps.map(|fps| 2.0 * fps);
    Timing { stages, dropped: 1, laps: laps(laps_fps), inference_fps, readings: Readings::default() }
}

fn plan(length: Length, budget_fps: Option<f64>) -> Plan {
    Plan { board: "rk3588".into(), length, budget_fps, npu: None }
}

const LONG: Length = Length::Lasting(Duration::from_secs(30));
const NOISY: [f64; LAPS] = [28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0];

fn judge(plan: &Plan, accuracy: Option<Accuracy>, laps_fps: [f64; LAPS]) -> Outcome {
    Outcome::judge(plan, Engine::Due(BackendKind::Rknn), None, accuracy, timing(laps_fps))
}

fn accuracy(verdict: Verdict) -> Option<Accuracy> {
    let pictures = vec![picture("a.jpg"), picture("b.jpg"), picture("c.jpg")];
    Some(Accuracy {
        images: 3,
        expected: 9,
        found: 2,
        unexpected: 1,
        agreement: 0.2,
        bar: 0.8,
        verdict,
        pictures,
    })
}

fn picture(name: &str) -> PictureAccuracy {
    PictureAccuracy { name: name.into(), expected: 3, found: 3, unexpected: 0, frames: 0, wrong: 0 }
}

fn npu() -> Option<Npu> {
    Some(Npu { runtime_library: "librknnrt.so".into(), minimum_runtime: "2.5".into(), load_file: None })
}

fn in_place_of_npu() -> Engine {
    Engine::InPlaceOfNpu { ran: BackendKind::Tract, fallback: "of its age".into() }
}

fn played(laps_fps: [f64; LAPS], report: PipelineReport) -> Played {
    let stages = [(Step::Capture, TIMES), (Step::EndToEnd, TIMES)].into();
    let readings = Readings { temperature_c: Some(61.0), ..Readings::default() };
    Played { stages, laps: laps(laps_fps), seen: Vec::new(), report, readings }
}

#[test]
fn a_board_below_its_budget_fails_only_beyond_noise() {
    let verdict =
        |length, budget| judge(&plan(length, Some(budget)), accuracy(Verdict::Pass), NOISY).report.verdict;
    // 60 inferences a second; the standard error of these laps is 4.22 / √10 = 1.33.
    assert_eq!(verdict(LONG, 60.0), Verdict::Pass);
    assert_eq!(verdict(LONG, 62.6), Verdict::Pass);
    assert_eq!(verdict(LONG, 62.7), Verdict::Fail);
    assert_eq!(verdict(Length::Quick, 900.0), Verdict::Pass);
}

#[test]
fn a_fast_wrong_answer_fails_and_says_so() {
    let outcome = judge(&plan(LONG, Some(10.0)), accuracy(Verdict::Fail), [100.0; LAPS]);
    assert_eq!(outcome.report.verdict, Verdict::Fail);
    let text = outcome.to_string();
    assert!(text.contains("2 of 9 known boxes") && text.ends_with("verdict: fail"), "{text}");
}

#[test]
fn what_is_not_judged_is_told() {
    let outcome = judge(&plan(Length::Quick, None), None, NOISY);
    assert_eq!((outcome.report.verdict, outcome.report.throttled), (Verdict::Pass, None));
    let results: Vec<_> = outcome.judgements.iter().map(|it| (it.name, &it.result)).collect();
    assert!(
        matches!(
            results[..],
            [("engine", Judged::Passed), ("accuracy", Judged::NotJudged(_)), ("speed", Judged::NotJudged(_))]
        ),
        "{results:?}"
    );
    let text = outcome.to_string();
    assert!(text.contains("no check images") && text.contains("no budget"), "{text}");
}

#[test]
fn a_right_answer_of_the_cpu_in_place_of_the_npu_fails() {
    let plan = Plan { npu: npu(), ..plan(LONG, Some(10.0)) };
    let outcome =
        Outcome::judge(&plan, in_place_of_npu(), None, accuracy(Verdict::Pass), timing([100.0; LAPS]));
    assert_eq!(outcome.report.verdict, Verdict::Fail);
    let text = outcome.to_string();
    assert!(text.starts_with("rk3588, tract: ") && text.contains("because of its age"), "{text}");
}

#[test]
fn a_device_that_slows_down_is_throttled() {
    let mut laps = [100.0; LAPS];
    laps[LAPS - 1] = 89.0;
    assert_eq!(judge(&plan(LONG, None), None, laps).report.throttled, Some(true));
    laps[LAPS - 1] = 91.0;
    assert_eq!(judge(&plan(LONG, None), None, laps).report.throttled, Some(false));
}

#[test]
fn the_pipelines_figures_are_the_reports_and_the_budget_is_about_frames_one_by_one() {
    let plan = plan(LONG, Some(150.0));
    let mut slower = [300.0; LAPS];
    slower[LAPS - 1] = 200.0;
    let report =
        PipelineReport { lanes: 3, shown: 900, dropped: 1, broken: 2, lost: 4, ..PipelineReport::default() };
    let outcome = judge(&plan, None, [80.0; LAPS]).with_pipeline(
        &plan,
        Engine::Due(BackendKind::Rknn),
        played(slower, report),
    );
    let report = &outcome.report;
    assert_eq!((report.fps, report.dropped, report.throttled), (290.0, 1 + 1 + 2 + 4, Some(true)));
    assert_eq!(report.pipeline, Some(PipelineRun { frames: 30, lanes: 3 }));
    let names: Vec<_> = report.stages.keys().map(|step| step.name()).collect();
    assert_eq!(names, ["capture", "npu", "end_to_end"]);
    assert_eq!(report.temperature_c, Some(61.0));
    let one_by_one = report.one_by_one.as_ref().unwrap();
    assert_eq!((one_by_one.fps, one_by_one.inference_fps, one_by_one.budget_fps), (80.0, 160.0, Some(150.0)));
    assert_eq!(one_by_one.stages.keys().next_back(), Some(&Step::Total));
    assert_eq!(report.verdict, Verdict::Pass, "three cores make up for nothing, and one is fast enough");
    let text = outcome.to_string();
    assert!(text.contains("290.0 frames/s through the pipeline, 3 at a time in the engine"), "{text}");
    assert!(text.contains("one by one: 80.0 frames/s, 160.0 ± 0.0 inferences/s, budget 150.0"), "{text}");
}

#[test]
fn a_fast_pipeline_is_no_answer_to_a_budget_that_one_core_misses() {
    let plan = plan(LONG, Some(150.0));
    let outcome = judge(&plan, None, [70.0; LAPS]).with_pipeline(
        &plan,
        Engine::Due(BackendKind::Rknn),
        played([300.0; LAPS], PipelineReport::default()),
    );
    assert_eq!(outcome.report.verdict, Verdict::Fail);
}

#[test]
fn a_cpu_that_takes_over_in_the_pipeline_fails() {
    let plan = Plan { npu: npu(), ..plan(LONG, Some(10.0)) };
    let one_by_one = judge(&plan, None, [100.0; LAPS]);
    assert_eq!(one_by_one.report.verdict, Verdict::Pass);
    let outcome =
        one_by_one.with_pipeline(&plan, in_place_of_npu(), played([9.0; LAPS], PipelineReport::default()));
    let Report { verdict, backend, fallback, .. } = &outcome.report;
    assert_eq!((*verdict, *backend), (Verdict::Fail, BackendKind::Tract));
    assert_eq!(fallback.as_deref(), Some("of its age"));
    assert!(outcome.to_string().contains("failed: tract ran in place of the NPU of rk3588"), "{outcome}");
}

/// Judged by frames one by one and by the pipeline, which gave so many wrong answers on ten frames of each picture.
fn with_wrong_frames(one_by_one: Verdict, wrong: [u64; 3]) -> Outcome {
    let plan = plan(LONG, None);
    let seen = wrong.map(|wrong| Seen { frames: 10, wrong }).to_vec();
    let played = Played { seen, ..played([300.0; LAPS], PipelineReport::default()) };
    judge(&plan, accuracy(one_by_one), [100.0; LAPS]).with_pipeline(
        &plan,
        Engine::Due(BackendKind::Rknn),
        played,
    )
}

#[test]
fn a_wrong_answer_of_the_pipeline_alone_fails_the_accuracy_and_names_the_pictures() {
    let outcome = with_wrong_frames(Verdict::Pass, [4, 0, 1]);
    let accuracy = outcome.report.accuracy.as_ref().unwrap();
    assert_eq!((outcome.report.verdict, accuracy.verdict), (Verdict::Fail, Verdict::Fail));
    assert_eq!((accuracy.pictures[0].frames, accuracy.pictures[0].wrong), (10, 4));
    let failed = outcome.judgements.iter().filter(|it| matches!(it.result, Judged::Failed(_)));
    assert_eq!(failed.map(|it| it.name).collect::<Vec<_>>(), ["accuracy"]);
    let text = outcome.to_string();
    assert!(
        text.contains("something else than is known on 4 of 10 frames of a.jpg, 1 of 10 frames of c.jpg,"),
        "{text}"
    );
    assert!(text.contains("in the pipeline 5 of 30 frames wrong"), "{text}");

    let outcome = with_wrong_frames(Verdict::Pass, [0; 3]);
    let accuracy = outcome.report.accuracy.as_ref().unwrap();
    assert_eq!((outcome.report.verdict, accuracy.verdict), (Verdict::Pass, Verdict::Pass));
    assert!(outcome.to_string().contains("in the pipeline 0 of 30 frames wrong"), "{outcome}");
}

#[test]
fn what_is_wrong_one_by_one_stays_the_cause() {
    let text = with_wrong_frames(Verdict::Fail, [10; 3]).to_string();
    assert!(text.contains("failed: the model finds 2 of 9 known boxes"), "{text}");
    assert!(!text.contains("something else"), "{text}");
}

#[test]
fn reports_of_versions_that_told_of_no_pictures_are_read() {
    let report = judge(&plan(LONG, None), accuracy(Verdict::Pass), NOISY).report;
    let mut json = serde_json::to_value(report).unwrap();
    json["accuracy"].as_object_mut().unwrap().remove("pictures").unwrap();
    let report: Report = serde_json::from_value(json).unwrap();
    assert_eq!(report.accuracy.unwrap().pictures, []);
}

#[test]
fn an_npu_that_was_passed_over_before_the_pipeline_stays_the_reason() {
    let plan = Plan { npu: npu(), ..plan(LONG, None) };
    let first = Outcome::judge(&plan, in_place_of_npu(), None, None, timing([100.0; LAPS]));
    let later = first.with_pipeline(
        &plan,
        Engine::Due(BackendKind::Rknn),
        played([9.0; LAPS], PipelineReport::default()),
    );
    assert_eq!((later.report.verdict, later.report.backend), (Verdict::Fail, BackendKind::Tract));
    assert_eq!(later.report.fallback.as_deref(), Some("of its age"));
}

#[test]
fn a_pipeline_that_loses_more_than_two_frames_and_one_in_a_hundred_fails() {
    let plan = plan(LONG, None);
    let judged = |shown, broken, lost| {
        let report = PipelineReport { shown, broken, lost, ..PipelineReport::default() };
        let played = played([100.0; LAPS], report);
        judge(&plan, None, [100.0; LAPS]).with_pipeline(&plan, Engine::Due(BackendKind::Rknn), played)
    };
    for (shown, broken, lost) in [(900, 0, 0), (10, 1, 1), (297, 0, 3), (990, 5, 5)] {
        let outcome = judged(shown, broken, lost);
        assert_eq!(outcome.report.verdict, Verdict::Pass, "{shown} {broken} {lost}");
        let passed = Judgement { name: "pipeline", result: Judged::Passed };
        assert_eq!(outcome.judgements.last(), Some(&passed));
    }
    for (shown, broken, lost) in [(10, 2, 1), (296, 0, 3), (989, 5, 6), (0, 0, 3)] {
        assert_eq!(judged(shown, broken, lost).report.verdict, Verdict::Fail, "{shown} {broken} {lost}");
    }
    let text = judged(989, 5, 6).to_string();
    assert!(
        text.contains("failed: 11 of 1000 frames were broken or lost in the pipeline, at most 10"),
        "{text}"
    );
}

#[test]
fn a_pipeline_that_did_not_run_fails_and_leaves_the_figures_of_frames_one_by_one() {
    let before = judge(&plan(LONG, Some(10.0)), None, [100.0; LAPS]);
    let outcome = before.clone().without_pipeline("no core took the model");
    assert_eq!(outcome.report, Report { verdict: Verdict::Fail, ..before.report });
    assert_eq!(outcome.report.pipeline, None);
    let text = outcome.to_string();
    assert!(text.contains("failed: the pipeline did not run: no core took the model"), "{text}");
}
