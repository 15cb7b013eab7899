//! Every fault that the stand-in can play, in each of its functions, early and late, on every way that pixels can take:
//! no call takes longer than is promised of it, frames come back in order, each with its own outputs or an error that says
//! what to do, and in the end nothing is left. All of it on both runtimes. The table is the stand-in's own, so that a function
//! that is added to it is tested here.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use repedge::Error;
use repedge::backend::rknn::{Cores, DmaBuffer, IoPath, Pool, RknnOptions, TimeLimits};
use stand_in::{Action, FAULTY, Fault, Kind, Scenario};

use crate::bounded::{Steps, bounded};
use crate::frames::{is_of_frame, number, number_of};
use crate::{CODES, common, npu};

const FRAMES: u64 = 24;
/// Which call of a function has the fault: an early one, and one of those that frames make.
const CALLS: [u64; 2] = [1, 9];
/// Stalls that are played at a time on an emulator.
const FEW: usize = 6;
/// The frame that is shown where pixels come from another device, whose memory does not change.
const SHOWN: u64 = 7;

/// How pixels reach the NPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As the backend chooses, which is in place.
    Auto,
    InPlace,
    Copied,
    Imported,
}

/// Functions that the backend has no use for.
fn unused(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Rk => &["rknn_wait", "rknn_set_batch_core_num", "rknn_create_mem2"],
        // Its chips have one core.
        Kind::Rv => &[
            "rknn_wait",
            "rknn_set_batch_core_num",
            "rknn_create_mem2",
            "rknn_set_core_mask",
            "rknn_dup_context",
        ],
    }
}

/// Functions that are called a few times only, so that a late fault never comes.
fn rare(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Rk => &[
            "rknn_init",
            "rknn_dup_context",
            "rknn_set_core_mask",
            "rknn_destroy",
            "rknn_create_mem_from_fd",
        ],
        // One context's memories are eight.
        Kind::Rv => {
            &["rknn_init", "rknn_destroy", "rknn_create_mem", "rknn_destroy_mem", "rknn_create_mem_from_fd"]
        }
    }
}

/// The ways that a runtime has.
fn ways(kind: Kind) -> &'static [Way] {
    match kind {
        Kind::Rk => &[Way::Auto, Way::InPlace, Way::Copied, Way::Imported],
        Kind::Rv => &[Way::Auto, Way::InPlace, Way::Imported],
    }
}

/// The ways of all runtimes.
fn all_ways() -> impl Iterator<Item = (Kind, Way)> {
    npu::KINDS.into_iter().flat_map(|kind| ways(kind).iter().map(move |&way| (kind, way)))
}

impl Way {
    /// Whether frames that go this way, or the contexts that they go to, call the function at all.
    fn calls(self, kind: Kind, call: &str) -> bool {
        let copies = ["rknn_inputs_set", "rknn_outputs_get", "rknn_outputs_release"].contains(&call);
        let shares =
            ["rknn_create_mem", "rknn_destroy_mem", "rknn_mem_sync", "rknn_set_io_mem"].contains(&call);
        match self {
            _ if unused(kind).contains(&call) => false,
            Self::Copied => !shares && call != "rknn_create_mem_from_fd",
            Self::Auto | Self::InPlace => !copies && call != "rknn_create_mem_from_fd",
            Self::Imported => !copies,
        }
    }

    fn options(self, options: RknnOptions) -> RknnOptions {
        let path = match self {
            Self::Auto => IoPath::Auto,
            Self::Copied => IoPath::Copied,
            Self::InPlace | Self::Imported => IoPath::ZeroCopy,
        };
        RknnOptions { path, ..options }
    }
}

/// How long the calls of a pool may take by what is promised of them.
struct Promised {
    open: Duration,
    slot: Duration,
    next: Duration,
    end: Duration,
}

impl Promised {
    /// Of a pool with these options, whose limits end.
    fn of(options: &RknnOptions) -> Self {
        let TimeLimits { run, grace, open, .. } = options.limits;
        let cores = if options.cores == Cores::Each(3) { 3 } else { 1 };
        let frames = u32::try_from(options.frames_per_core).unwrap();
        // Workers end one after the other, each within the time of its frames and of its end.
        let end = ((run + grace) * frames + grace) * cores;
        Self { open: open * cores + end, slot: open, next: run + grace, end }
    }
}

/// One fault, on one way.
#[derive(Clone)]
struct Case {
    kind: Kind,
    way: Way,
    scenario: Scenario,
    fault: Fault,
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// Whether the fault came.
    came: bool,
    /// Whether the model could be opened.
    is_open: bool,
    failed: u64,
}

/// Every case of every possible fault among `actions`, at the first call and at the ninth.
fn cases(what: &str, actions: impl Fn(usize) -> Action) -> Vec<Case> {
    let calls = FAULTY.iter().enumerate();
    let all = calls.flat_map(|(at, &call)| all_ways().map(move |(kind, way)| (at, call, kind, way)));
    let all = all.filter(|(_, call, kind, way)| way.calls(*kind, call));
    let calls = |at: usize| if is_emulated() { &CALLS[at % 2..=at % 2] } else { &CALLS };
    let all =
        all.flat_map(|(at, call, kind, way)| calls(at).iter().map(move |&from| (at, call, kind, way, from)));
    all.filter_map(|(at, call, kind, way, from)| case(what, call, (kind, way), from, actions(at))).collect()
}

/// Whether an emulator runs this, which needs half a minute for each few cases: it translates the runtime anew for each. Then every
/// fault comes either early or late.
fn is_emulated() -> bool {
    std::env::var_os("REPEDGE_EMULATED").is_some()
}

/// The case of `action` at the call number `from` of a function; none where it can never come.
fn case(what: &str, call: &str, (kind, way): (Kind, Way), from: u64, action: Action) -> Option<Case> {
    let fault = Fault { call: call.into(), from, count: 1, action };
    let scenario = npu::scenario_of(kind, &format!("{what} in {call} {from} {way:?}"));
    let is_possible = fault.is_possible();
    is_possible.then(|| Case { kind, way, scenario: scenario.with_fault(call, from, 1, action), fault })
}

/// A buffer of another device that shows one frame.
fn shown() -> (File, DmaBuffer) {
    let file = tempfile::tempfile().unwrap();
    let pixels = [number(SHOWN), 0, 0].repeat(common::SIDE_PX * common::SIDE_PX);
    file.write_all_at(&pixels, 0).unwrap();
    let buffer = DmaBuffer::new(&file, 0, pixels.len()).unwrap();
    (file, buffer)
}

fn submit_one(pool: &mut Pool, way: Way, frame: u64, buffer: &DmaBuffer) -> bool {
    let Some(mut slot) = pool.slot().unwrap() else { return false };
    let number = match way {
        Way::Imported => return pool.submit_imported(slot, buffer) == frame,
        Way::Auto | Way::InPlace | Way::Copied => number(frame),
    };
    slot.pixels().unwrap().as_chunks_mut::<3>().0.fill([number, 0, 0]);
    pool.submit(slot) == frame
}

/// Runs all frames and counts those that failed.
fn drive(pool: &mut Pool, case: &Case, (steps, promised): (&Steps, &Promised)) -> u64 {
    let name = &case.scenario.name;
    let (_file, buffer) = shown();
    let (mut submitted, mut failed) = (0, 0);
    for frame in 0..FRAMES {
        steps.next("a slot", promised.slot);
        while submitted < FRAMES && submit_one(pool, case.way, submitted, &buffer) {
            submitted += 1;
            steps.next("a slot", promised.slot);
        }
        steps.next("a frame", promised.next);
        let completed = pool.next().expect("a frame under way");
        assert_eq!(completed.frame, frame, "{name}: out of order");
        match completed.result {
            Ok(finished) => {
                let expected = if case.way == Way::Imported { SHOWN } else { frame };
                let found = number_of(finished.outputs());
                assert!(is_of_frame(found, expected), "{name}: frame {frame} has the outputs of {found}");
            }
            Err(error) => {
                assert_helps(&error);
                failed += 1;
            }
        }
    }
    assert!(pool.next().is_none(), "{name}: more frames than were given");
    failed
}

fn assert_helps(error: &Error) {
    let text = error.to_string();
    assert!(matches!(error, Error::Npu { .. } | Error::Backend(_)), "{text}");
    assert!(text.split("help: ").nth(1).is_some_and(|hint| hint.len() > 20), "no hint in {text}");
}

/// Plays a case to its end, each call within the time that is promised of it. Asserts all that holds for every case.
fn play(case: &Case, limits: TimeLimits) -> Outcome {
    let case = case.clone();
    bounded(&case.scenario.name.clone(), move |steps| play_watched(&case, limits, steps))
}

fn play_watched(case: &Case, limits: TimeLimits, steps: &Steps) -> Outcome {
    let Case { kind, way, scenario, .. } = case;
    let options = way.options(RknnOptions { limits, ..npu::all_cores(*kind) });
    let promised = Promised::of(&options);
    steps.next("opening", promised.open);
    let (is_open, failed) = match npu::pool(scenario, &options) {
        Ok(mut pool) => {
            let failed = drive(&mut pool, case, (steps, &promised));
            let report = pool.report();
            assert_eq!((report.finished, report.failed), (FRAMES - failed, failed), "{}", scenario.name);
            steps.next("the end", promised.end);
            drop(pool);
            (true, failed)
        }
        Err(error) => {
            assert_helps(&error);
            (false, 0)
        }
    };
    // Which has a bound of its own.
    steps.next("what comes late", Duration::from_secs(60));
    npu::control(scenario).release();
    assert_nothing_left(case);
    Outcome { came: npu::counters(scenario).faults == [1], is_open, failed }
}

/// Nothing is left but what the runtime refused to destroy, and the context whose weights that uses.
fn assert_nothing_left(Case { kind, scenario, fault, .. }: &Case) {
    let refused = |call: &str| {
        let is_refused = fault.call == call && matches!(fault.action, Action::Error(_));
        if is_refused { npu::counters(scenario).faults[0] } else { 0 }
    };
    let with_owner = match kind {
        Kind::Rk => 2,
        Kind::Rv => 1,
    };
    let (contexts, memories) = (with_owner * refused("rknn_destroy"), refused("rknn_destroy_mem"));
    npu::wait_until(&scenario.name, || {
        let left = npu::counters(scenario);
        (left.contexts, left.memories) == (contexts, memories)
    });
    let counters = npu::counters(scenario);
    assert_eq!(counters.outputs, 0, "{}", scenario.name);
    let is_told = |text: &String| memories > 0 && text.contains("destroyed with 1 memories");
    assert!(counters.violations.iter().all(is_told), "{}: {:?}", scenario.name, counters.violations);
    let call = fault.call.as_str();
    let is_rare = (fault.from > 1 && rare(*kind).contains(&call)) || unused(*kind).contains(&call);
    assert!(is_rare || counters.faults == [1], "{}: the fault never came", scenario.name);
}

/// Whether the function is called while a frame is under way, and what it reports fails the frame.
fn is_of_frames(call: &str) -> bool {
    let all = ["rknn_run", "rknn_inputs_set", "rknn_outputs_get", "rknn_outputs_release"];
    let shared = ["rknn_mem_sync", "rknn_set_io_mem", "rknn_create_mem_from_fd"];
    all.contains(&call) || shared.contains(&call)
}

/// A time limit that no frame reaches, however busy the machine is.
fn patient() -> TimeLimits {
    TimeLimits { run: Duration::from_secs(100), ..TimeLimits::default() }
}

#[test]
fn an_error_of_any_function_fails_one_frame_at_most() {
    for case in cases("error", |at| Action::Error(CODES[at % CODES.len()].0)) {
        let Outcome { came, is_open, failed } = play(&case, patient());
        let expected = u64::from(came && is_of_frames(&case.fault.call));
        assert!(!is_open || failed == expected, "{}: {failed} frames failed", case.scenario.name);
        let is_of_loading = !is_of_frames(&case.fault.call) && !case.fault.call.starts_with("rknn_destroy");
        assert!(is_open || is_of_loading, "{} kept the model from being opened", case.scenario.name);
    }
}

/// Each context is asked for the versions, how many tensors there are, the input, three outputs, and the same four as the NPU
/// keeps them: of the first one, which a pool follows, and of the second. What is said to be unknown of the first decides how
/// all of them move frames; whatever else fails has the model not opened, and none is filled or read as another one is.
#[test]
fn a_query_that_fails_never_has_contexts_that_lie_otherwise_in_memory() {
    let contexts = [(Kind::Rk, 1), (Kind::Rk, 2), (Kind::Rv, 1)];
    let all = contexts.into_iter().flat_map(|(kind, nth)| (1..=10).map(move |query| (kind, nth, query)));
    for ((kind, nth, query), code) in all.flat_map(|case| [-1, -5].map(|code| (case, code))) {
        let what = format!("layout {code}");
        let from = (nth - 1) * 10 + query;
        let case = case(&what, "rknn_query", (kind, Way::Auto), from, Action::Error(code)).unwrap();
        let outcome = play(&case, patient());
        let is_unknown = code == -5 && query > 6 && nth == 1 && kind == Kind::Rk;
        assert!(outcome.came && outcome.failed == 0, "{}: {outcome:?}", case.scenario.name);
        assert_eq!(outcome.is_open, query == 1 || is_unknown, "{}", case.scenario.name);
    }
}

/// Every code of the two functions that fail most, on every way.
#[test]
fn every_code_of_loading_and_running_costs_what_it_must() {
    for (code, _) in CODES {
        for way in all_ways() {
            let of_call = |call| case(&format!("code {code}"), call, way, 1, Action::Error(code)).unwrap();
            let Outcome { is_open, .. } = play(&of_call("rknn_init"), patient());
            assert!(!is_open, "{code} {way:?}: a model that was not loaded was opened");
            let Outcome { is_open, failed, .. } = play(&of_call("rknn_run"), patient());
            assert!(is_open && failed == 1, "{code} {way:?}: {failed} frames failed");
        }
    }
}

/// Whatever the others would do, the backend does not ask them.
#[test]
fn functions_that_the_backend_has_no_use_for_are_never_called() {
    for (kind, way) in all_ways() {
        for call in unused(kind) {
            let case = case("unused", call, (kind, way), 1, Action::Error(-1)).unwrap();
            let Outcome { came, is_open, failed } = play(&case, patient());
            assert!(!came && is_open && failed == 0, "{}: it was called", case.scenario.name);
        }
    }
}

#[test]
fn a_late_answer_of_any_function_fails_nothing() {
    for case in cases("delay", |_| Action::Delay(30)) {
        let outcome = play(&case, patient());
        assert!(outcome.is_open && outcome.failed == 0, "{}: {outcome:?}", case.scenario.name);
    }
}

#[test]
fn memory_and_outputs_that_come_short_are_refused() {
    for case in cases("short", |_| Action::Short(7)) {
        let Outcome { came, is_open, failed } = play(&case, patient());
        let is_of_frame = case.fault.call == "rknn_outputs_get";
        let expected = (is_of_frame || !came, u64::from(is_of_frame));
        assert_eq!((is_open, failed), expected, "{}", case.scenario.name);
    }
}

#[test]
fn an_npu_that_takes_too_long_fails_one_frame() {
    let limits = TimeLimits {
        run: Duration::from_millis(1500),
        // So much that no busy machine has the call taken for one that does not return.
        grace: Duration::from_secs(100),
        ..TimeLimits::default()
    };
    for case in cases("slow", |_| Action::Slow(600_000)) {
        let outcome = play(&case, limits);
        assert!(outcome.is_open && outcome.failed == 1, "{}: {outcome:?}", case.scenario.name);
    }
}

/// A stall costs the frames of one core, of which there are two at a time, and the time limit.
fn assert_stalls_are_survived(way: Way) {
    // Long enough for a busy machine: whatever else exceeded a limit would be one more stall.
    let limits = TimeLimits {
        run: Duration::from_secs(10),
        grace: Duration::from_secs(2),
        open: Duration::from_secs(20),
        ..TimeLimits::default()
    };
    let cases: Vec<Case> =
        cases("stall", |_| Action::Stall).into_iter().filter(|case| case.way == way).collect();
    let survive = |case: &Case| {
        let Outcome { came, is_open, failed } = play(case, limits);
        let may_fail = if came && is_of_frames(&case.fault.call) { 1..=2 } else { 0..=0 };
        assert!(!is_open || may_fail.contains(&failed), "{}: {failed} frames failed", case.scenario.name);
    };
    // All at once: they only wait, but for an emulator.
    let survive = &survive;
    for cases in cases.chunks(if is_emulated() { FEW } else { cases.len().max(1) }) {
        std::thread::scope(|scope| {
            for case in cases {
                scope.spawn(move || survive(case));
            }
        });
    }
}

#[test]
fn a_stall_in_any_function_is_survived_as_the_backend_chooses() {
    assert_stalls_are_survived(Way::Auto);
}

#[test]
fn a_stall_in_any_function_is_survived_in_place() {
    assert_stalls_are_survived(Way::InPlace);
}

#[test]
fn a_stall_in_any_function_is_survived_with_copies() {
    assert_stalls_are_survived(Way::Copied);
}

#[test]
fn a_stall_in_any_function_is_survived_with_memory_of_other_devices() {
    assert_stalls_are_survived(Way::Imported);
}
