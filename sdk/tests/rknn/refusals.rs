//! Refusals that name what does not fit, and what to do.

use artifact::{Layout, Quant, TensorSpec};
use repedge::Error;
use repedge::backend::rknn::{Chip, Cores, IoPath, NpuFailure, RknnOptions, RknnSession};
use stand_in::control::{Control, library};
use stand_in::{Action, Kind, Mode, Model, Scenario};
use tempfile::NamedTempFile;

use crate::tensors::{assert_gives, expected, pixels, quantized, refusal, run};
use crate::{common, failure, frames, npu};

/// The stand-in of a runtime with each of `texts` spoiled by another second letter.
fn spoiled(kind: Kind, texts: &[&str]) -> NamedTempFile {
    let mut bytes = std::fs::read(library(kind)).unwrap();
    for text in texts {
        let starts = |at: &usize| bytes[*at..].starts_with(text.as_bytes());
        let at: Vec<usize> = (0..bytes.len() - text.len()).filter(starts).collect();
        assert!(!at.is_empty(), "{text:?} is not in the library");
        at.iter().for_each(|&at| bytes[at + 1] = b'x');
    }
    let file = tempfile::Builder::new().suffix(".so").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// The stand-in of a runtime without some functions: the dynamic linker finds them no more.
fn without(kind: Kind, names: &[&str]) -> NamedTempFile {
    let whole: Vec<String> = names.iter().map(|name| format!("\0{name}\0")).collect();
    spoiled(kind, &whole.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Options for the stand-in of a runtime in that file.
fn from(kind: Kind, file: &NamedTempFile) -> RknnOptions {
    RknnOptions { library: Some(file.path().into()), ..npu::options_of(kind) }
}

#[test]
fn the_small_runtime_runs_without_copies_only() {
    let scenario = npu::scenario_of(Kind::Rv, "rv1106");
    let options = npu::options_of(Kind::Rv);
    assert_gives(&scenario, &options, quantized);
    for cores in [Cores::One(0), Cores::Each(1)] {
        let scenario = npu::scenario_of(Kind::Rv, &format!("rv1106 {cores:?}"));
        let error = refusal(&scenario, &RknnOptions { cores, ..options.clone() });
        assert_eq!(failure(&error), NpuFailure::MissingFunction("rknn_set_core_mask"));
        let text = error.to_string();
        assert!(text.contains("`Cores::Driver`") && !text.contains("update"), "{text}");
    }
    let copied = RknnOptions { path: IoPath::Copied, ..options };
    let error = refusal(&npu::scenario_of(Kind::Rv, "rv1106 copied"), &copied);
    assert!(
        matches!(error, Error::Backend(_)) && error.to_string().contains("no functions that copy"),
        "{error}"
    );
}

#[test]
fn a_library_without_some_functions_is_used_as_far_as_it_goes() {
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    for (kind, missing, is_zero_copy) in [
        (Kind::Rk, &["rknn_mem_sync", "rknn_dup_context", "rknn_create_mem_from_fd"][..], true),
        (Kind::Rk, &["rknn_set_io_mem"], false),
        (Kind::Rk, &["rknn_inputs_set"], true),
        // Its caches are the caller's, who cannot do without `rknn_mem_sync`.
        (Kind::Rv, &["rknn_inputs_set", "rknn_dup_context", "rknn_create_mem_from_fd"], true),
    ] {
        let file = without(kind, missing);
        let mut session = npu::session(&npu::scenario_of(kind, "missing"), &from(kind, &file)).unwrap();
        assert_eq!(session.pool().is_zero_copy(), is_zero_copy, "{missing:?}");
        assert_eq!(run(&mut session, &pixels()).unwrap().concat(), expected);
    }
}

#[test]
fn a_library_without_functions_that_are_needed_is_refused() {
    for kind in npu::KINDS {
        let file = without(kind, &["rknn_query"]);
        let error = refusal(&npu::scenario_of(kind, "mute"), &from(kind, &file));
        assert_eq!(failure(&error), NpuFailure::MissingFunction("rknn_query"), "{error}");
        for missing in [&["rknn_set_io_mem", "rknn_inputs_set"][..], &["rknn_run"]] {
            let file = without(kind, missing);
            let error = refusal(&npu::scenario_of(kind, "no way in"), &from(kind, &file)).to_string();
            assert!(error.contains("no functions for inputs"), "{kind:?} {missing:?}: {error}");
        }
    }
}

#[test]
fn models_of_other_chips_and_newer_toolkits_are_refused_before_they_are_loaded() {
    for (kind, theirs, ours, library) in
        [(Kind::Rk, "rk3576", "rk3588", "librknnrt.so"), (Kind::Rv, "rv1103b", "rv1106", "librknnmrt.so")]
    {
        let other = Scenario { platforms: vec![theirs.into()], ..npu::scenario_of(kind, "other chip") };
        let error = refusal(&other, &npu::options_of(kind));
        assert_eq!(failure(&error), NpuFailure::WrongChip);
        let text = error.to_string();
        assert!(text.contains(theirs) && text.contains(&format!("--target {ours}")), "{text}");
        let newer = Scenario { toolkit: "9.8.7".into(), ..npu::scenario_of(kind, "newer") };
        let error = refusal(&newer, &npu::options_of(kind));
        assert_eq!(failure(&error), NpuFailure::OldRuntime);
        for part in ["9.8.7", "2.3.2", &format!("update {library} on this board to 9.8.7")] {
            assert!(error.to_string().contains(part), "no {part:?} in {error}");
        }
        assert_eq!(npu::counters(&other), npu::counters(&newer));
        assert_eq!(npu::counters(&newer).contexts_made, 0, "it was loaded");
    }
}

#[test]
fn a_chip_may_be_named_by_its_variant() {
    for name in ["rk3588s", "RK3588", "rk3588s2"] {
        let options = RknnOptions { chip: Chip::Named(name.into()), ..npu::options() };
        npu::session(&npu::scenario(&format!("on {name}")), &options).unwrap();
    }
    let options = RknnOptions { chip: Chip::Named("rk3576".into()), ..npu::options() };
    assert_eq!(failure(&refusal(&npu::scenario("on another"), &options)), NpuFailure::WrongChip);
}

/// Its contexts stay, and that is told: of a worker whose call returns late, while the pool is still there.
#[test]
fn contexts_of_a_library_that_destroys_none_are_counted() {
    for kind in npu::KINDS {
        let file = without(kind, &["rknn_destroy"]);
        let scenario = npu::scenario_of(kind, "no end").with_fault("rknn_run", 1, 1, Action::Stall);
        let options = RknnOptions { limits: npu::short_limits(), ..from(kind, &file) };
        let mut pool = npu::pool(&scenario, &options).unwrap();
        assert!(matches!(frames::run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]));
        assert_eq!(frames::run(&mut pool, 3), [None; 3]);
        assert_eq!(pool.report().unfreed, 0);
        Control::new(file.path(), &scenario.name).release();
        npu::wait_until("the late worker has ended", || pool.report().unfreed == 1);
    }
}

#[test]
fn a_runtime_that_turns_out_older_than_its_file_says_is_refused() {
    for kind in npu::KINDS {
        let runtime = "1.5.2 (c6b7)".into();
        let scenario = Scenario { runtime, ..npu::scenario_of(kind, "older than it looks") };
        let error = refusal(&scenario, &npu::options_of(kind));
        assert_eq!(failure(&error), NpuFailure::OldRuntime);
        assert!(error.to_string().contains("1.5.2") && error.to_string().contains("0.9.8"), "{error}");
        assert_eq!(npu::counters(&scenario).contexts, 0);
    }
}

/// What users know as "Invalid RKNN model version 6": where neither library nor query tell a version, only the runtime
/// itself can refuse the model.
#[test]
fn a_model_that_the_runtime_cannot_read_is_told_with_all_versions() {
    for (kind, mark, newest_format) in
        [(Kind::Rk, "librknnrt version: ", 5), (Kind::Rv, "librknnmrt version: ", 0x1003)]
    {
        let file = spoiled(kind, &[mark]);
        let toolkit = "7.0.0".into();
        let scenario = Scenario { newest_format, toolkit, ..npu::scenario_of(kind, "one version too new") };
        let error = refusal(&scenario, &from(kind, &file));
        assert_eq!(failure(&error), NpuFailure::InvalidModel);
        for part in
            ["rknn_init", "code -6", "toolkit2 7.0.0", "the runtime is unknown", "as new as the toolkit"]
        {
            assert!(error.to_string().contains(part), "no {part:?} in {error}");
        }
    }
}

#[test]
fn cores_that_there_are_not_are_refused() {
    for cores in [
        Cores::Each(0),
        Cores::Together(0),
        Cores::Each(4),
        Cores::Together(4),
        Cores::One(3),
        Cores::One(40),
    ] {
        let error = refusal(&npu::scenario("no such cores"), &RknnOptions { cores, ..npu::options() });
        assert!(matches!(error, Error::Input(_)), "{cores:?}: {error}");
        assert!(error.to_string().contains("Cores::Driver"), "{error}");
    }
    // As on RK3576.
    let scenario = Scenario { cores: 2, ..npu::scenario("two cores") };
    for cores in [Cores::Each(3), Cores::Together(3), Cores::One(2)] {
        let error = refusal(&scenario, &RknnOptions { cores, ..npu::options() });
        assert_eq!(failure(&error), NpuFailure::InvalidParameter);
        let text = error.to_string();
        assert!(text.contains("does not have the cores") && text.contains("fewer cores"), "{text}");
        assert!(!text.contains("report it"), "{text}");
    }
    npu::wait_until("everything is freed", || npu::counters(&scenario).contexts == 0);
    npu::session(&scenario, &RknnOptions { cores: Cores::Each(2), ..npu::options() }).unwrap();
}

#[test]
fn a_small_runtime_is_not_asked_for_the_copies_that_it_refuses() {
    let file = npu::rknn(&npu::scenario_of(Kind::Rv, "rv1106 floats"));
    let options = npu::options_of(Kind::Rv);
    let opened = RknnSession::from_rknn(file, common::input(), npu::outputs(), &options);
    let error = opened.map(drop).expect_err("was opened");
    assert!(matches!(error, Error::Backend(_)), "{error}");
    assert!(error.to_string().contains("floats need a model that is not quantized"), "{error}");
}

#[test]
fn a_model_with_more_tensors_than_we_take_is_no_fault_of_its_file() {
    let mut scenario = npu::scenario("outputs");
    let output = scenario.outputs[0].clone();
    let named = |at: usize| stand_in::Output { name: format!("o{at}"), ..output.clone() };
    scenario.outputs = (0..65).map(named).collect();
    scenario.mode = Mode::Replay { latencies_us: vec![0] };
    let file = Model { scenario, onnx: Vec::new(), recordings: Vec::new() }.pack();
    let opened = RknnSession::from_rknn(file, npu::input(), npu::outputs(), &npu::options());
    let error = opened.map(drop).expect_err("was opened");
    assert!(matches!(error, Error::Backend(_)) && error.to_string().contains("65 outputs"), "{error}");
}

#[test]
fn files_that_are_no_models_are_refused() {
    let whole = npu::rknn(&npu::scenario("whole"));
    let open = |file: Vec<u8>| {
        RknnSession::from_rknn(file, npu::input(), npu::outputs(), &npu::options()).map(drop).unwrap_err()
    };
    assert!(matches!(open(Vec::new()), Error::Artifact(_)));
    assert!(matches!(open(whole[..whole.len() - 1].to_vec()), Error::Artifact(_)));
    let mut other_payload = whole;
    other_payload[64..72].fill(0xff);
    assert_eq!(failure(&open(other_payload)), NpuFailure::InvalidModel);
}

#[test]
fn bundles_that_describe_another_model_are_refused() {
    let file = npu::rknn(&npu::scenario("described"));
    let open = |input: TensorSpec, outputs: Vec<TensorSpec>| {
        let session = RknnSession::from_rknn(file.clone(), input, outputs, &npu::options());
        session.map(drop).expect_err("was opened").to_string()
    };
    let narrow = TensorSpec { shape: [1, 64, 32, 3], ..npu::input() };
    assert!(open(narrow, npu::outputs()).contains("images"));
    assert!(open(npu::input(), npu::outputs()[..2].to_vec()).contains("3 outputs"));
    let mut outputs = npu::outputs();
    outputs[1].shape[1] = 8;
    assert!(open(npu::input(), outputs).contains("output1"));
    let mut outputs = npu::outputs();
    outputs[2].quant = Some(Quant { scale: 0.3, zero_point: 0 });
    assert!(open(npu::input(), outputs).contains("scale 0.3125"));
    let blocked =
        TensorSpec { layout: Layout::Nc1hwc2 { c2: 4, plane: 4096 }, shape: [1, 3, 64, 64], ..npu::input() };
    assert!(open(blocked, npu::outputs()).contains("Nc1hwc2"));
}

#[test]
fn a_machine_without_a_runtime_says_how_to_get_it() {
    let options = RknnOptions { library: Some("/nowhere/librknnrt.so".into()), ..npu::options() };
    let error = refusal(&npu::scenario("nowhere"), &options);
    assert_eq!(failure(&error), NpuFailure::MissingLibrary);
    assert!(error.to_string().contains("/nowhere/librknnrt.so"), "{error}");
}
