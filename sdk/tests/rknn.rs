//! The NPU backend over the stand-in library, one frame at a time: the same numbers as tract, whatever the memory order
//! and element type, and refusals that name what does not fit.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec, TensorView, ViewData};
use npu::QUANT;
use prost::Message;
use repedge::Error;
use repedge::backend::Session;
use repedge::backend::rknn::{
    Chip, Cores, DmaBuffer, IoPath, LayerTiming, NpuFailure, Priority, RknnOptions, RknnSession, Sram,
};
use repedge::backend::tract::TractSession;
use stand_in::{Action, Caches, Element, Order, Scenario};

/// Pixels that give every value a chance.
fn pixels() -> Tensor {
    let mut input = Tensor::zeroed(&npu::input());
    let TensorData::U8(data) = &mut input.data else { unreachable!() };
    for (at, byte) in data.iter_mut().enumerate() {
        *byte = u8::try_from((at * 7 + at / 192 * 31) % 256).unwrap();
    }
    input
}

/// The same pixels as tract takes them.
fn floats(pixels: &Tensor) -> Tensor {
    let TensorData::U8(data) = &pixels.data else { unreachable!() };
    let cells = data.len() / 3;
    let real = |at: usize| f32::from(data[at % cells * 3 + at / cells]) / 255.0;
    Tensor { data: TensorData::F32((0..data.len()).map(real).collect()), ..Tensor::zeroed(&common::input()) }
}

/// What tract gives for these pixels.
fn expected(pixels: &Tensor) -> Vec<Vec<f32>> {
    let onnx = common::onnx().encode_to_vec();
    let mut session = TractSession::from_onnx(&onnx, common::input(), common::outputs()).unwrap();
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&floats(pixels), &mut outputs).unwrap();
    outputs.iter().map(|output| planes(output.view())).collect()
}

/// The real values of an output, channels outermost, whatever its layout.
fn planes(output: TensorView<'_>) -> Vec<f32> {
    let real = |at: usize| match (output.data, output.quant) {
        (ViewData::F32(values), _) => values[at],
        (ViewData::I8(values), Some(q)) => (f32::from(values[at]) - q.zero_point as f32) * q.scale,
        (ViewData::U8(values), Some(q)) => (f32::from(values[at]) - q.zero_point as f32) * q.scale,
        _ => panic!("{output:?}"),
    };
    let (channels, height, width) = match output.layout {
        Layout::Nhwc => (output.shape[3], output.shape[1], output.shape[2]),
        _ => (output.shape[1], output.shape[2], output.shape[3]),
    };
    let cells = height * width;
    let at = |channel: usize, cell: usize| match output.layout {
        Layout::Nchw => channel * cells + cell,
        Layout::Nhwc => cell * channels + channel,
        Layout::Nc1hwc2 { c2, plane } => (channel / c2 * plane + cell) * c2 + channel % c2,
    };
    (0..channels * cells).map(|index| real(at(index / cells, index % cells))).collect()
}

/// The value that an int8 output with [`QUANT`] has for a real one.
fn quantized(real: f32) -> f32 {
    (real / QUANT.scale).round_ties_even().clamp(-128.0, 127.0) * QUANT.scale
}

fn run(session: &mut dyn Session, input: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(input, &mut outputs)?;
    Ok(outputs.iter().map(|output| planes(output.view())).collect())
}

/// Asserts that a session of `scenario` gives `expected` twice, and leaves nothing behind in the stand-in.
fn assert_gives(scenario: &Scenario, options: &RknnOptions, real: impl Fn(f32) -> f32) {
    let (input, expected) = (pixels(), expected(&pixels()));
    let mut session = npu::session(scenario, options).unwrap();
    for _ in 0..2 {
        let found = run(&mut session, &input).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - real(*expected)).abs() < 1e-3, "{}: {found}, not {expected}", scenario.name);
            }
        }
    }
    drop(session);
    let counters = npu::counters(scenario);
    assert_eq!(counters.violations, [""; 0]);
    assert_eq!((counters.contexts, counters.memories, counters.outputs), (0, 0, 0), "{}", scenario.name);
    assert_eq!(counters.runs, 2);
}

fn with_order(name: &str, order: Order) -> Scenario {
    let mut scenario = npu::scenario(name);
    scenario.outputs.iter_mut().for_each(|output| output.order = order);
    scenario
}

fn with_element(name: &str, element: Element) -> Scenario {
    let mut scenario = npu::scenario(name);
    scenario.outputs.iter_mut().for_each(|output| output.element = element);
    scenario
}

fn refusal(scenario: &Scenario, options: &RknnOptions) -> Error {
    npu::session(scenario, options).map(drop).expect_err("was opened")
}

fn failure(error: &Error) -> NpuFailure {
    match error {
        Error::Npu { failure, .. } => *failure,
        other => panic!("another kind of error: {other}"),
    }
}

#[test]
fn every_memory_order_gives_the_numbers_of_tract() {
    let orders = [
        npu::BLOCKS,
        Order::Nc1hwc2 { c2: 8, align: 1 },
        Order::Nc1hwc2 { c2: 4, align: 24 },
        Order::Nhwc { row_stride: 0 },
        Order::Nhwc { row_stride: 16 },
        Order::Nchw,
    ];
    for (at, order) in orders.into_iter().enumerate() {
        assert_gives(&with_order(&format!("order {at}"), order), &npu::options(), quantized);
    }
}

#[test]
fn copied_outputs_give_the_same_numbers() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    assert_gives(&npu::scenario("copied"), &copied, quantized);
    assert_gives(&with_element("copied halves", Element::F16), &copied, half);
}

fn half(real: f32) -> f32 {
    half::f16::from_f32(real).to_f32()
}

#[test]
fn the_paths_are_what_was_asked_for() {
    let mut session = npu::session(&npu::scenario("path 1"), &npu::options()).unwrap();
    assert!(session.pool().is_zero_copy());
    assert_eq!(session.outputs()[0].layout, Layout::Nc1hwc2 { c2: 16, plane: 64 });
    assert_eq!(session.outputs()[0].quant, Some(QUANT));
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    let mut session = npu::session(&npu::scenario("path 2"), &copied).unwrap();
    assert!(!session.pool().is_zero_copy());
    assert_eq!(session.outputs()[0].layout, Layout::Nchw);
}

#[test]
fn every_element_type_gives_the_numbers_of_tract() {
    let shifted = Quant { scale: QUANT.scale, zero_point: 128 };
    let unsigned = with_element("unsigned", Element::U8(shifted));
    let outputs: Vec<TensorSpec> = common::outputs();
    let open = |scenario: &Scenario| {
        RknnSession::from_rknn(npu::rknn(scenario), npu::input(), outputs.clone(), &npu::options()).unwrap()
    };
    let expected = expected(&pixels());
    let mut session = open(&unsigned);
    assert_eq!((session.outputs()[1].dtype, session.outputs()[1].quant), (DType::U8, Some(shifted)));
    let found = run(&mut session, &pixels()).unwrap();
    assert!(found.iter().flatten().zip(expected.iter().flatten()).all(|(a, b)| *a == quantized(*b)));
    for (at, element) in [Element::F16, Element::F32].into_iter().enumerate() {
        let real = |real| if element == Element::F16 { half(real) } else { real };
        let mut session = open(&with_element(&format!("floats {at}"), element));
        assert_eq!((session.outputs()[0].dtype, session.outputs()[0].quant), (DType::F32, None));
        let found = run(&mut session, &pixels()).unwrap();
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - real(*expected)).abs() < 1e-3, "{found}, not {expected}");
        }
    }
    let error = refusal(&with_element("strange", Element::I16), &npu::options()).to_string();
    assert!(error.contains("element type 4"), "{error}");
}

#[test]
fn every_input_type_gives_the_same_outputs() {
    let scenario = npu::scenario("int8 input");
    let Element::I8(quant) = scenario.input.element else { unreachable!() };
    let mut input = npu::input();
    (input.dtype, input.quant) = (DType::I8, Some(quant));
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    let stored = bytes.iter().map(|byte| (byte ^ 0x80).cast_signed()).collect();
    let tensor = Tensor { data: TensorData::I8(stored), ..Tensor::zeroed(&input) };
    for path in [IoPath::ZeroCopy, IoPath::Copied] {
        let options = RknnOptions { path, ..npu::options() };
        let mut session =
            RknnSession::from_rknn(npu::rknn(&scenario), input.clone(), npu::outputs(), &options).unwrap();
        assert_eq!(run(&mut session, &tensor).unwrap().concat(), expected, "{path:?}");
    }
    let mut scenario = with_element("float input", Element::F32);
    scenario.input.element = Element::F16;
    scenario.input.row_stride = 72;
    for (layout, shape) in [(Layout::Nchw, [1, 3, 64, 64]), (Layout::Nhwc, [1, 64, 64, 3])] {
        let input = TensorSpec { layout, shape, ..common::input() };
        for path in [IoPath::ZeroCopy, IoPath::Copied] {
            let options = RknnOptions { path, ..npu::options() };
            let file = npu::rknn(&scenario);
            let mut session =
                RknnSession::from_rknn(file, input.clone(), common::outputs(), &options).unwrap();
            let planar = floats(&pixels());
            let TensorData::F32(planes) = &planar.data else { unreachable!() };
            let order = |at: usize| if layout == Layout::Nchw { at } else { at % 3 * 4096 + at / 3 };
            let data = TensorData::F32((0..planes.len()).map(|at| planes[order(at)]).collect());
            let found = run(&mut session, &Tensor { data, ..Tensor::zeroed(&input) }).unwrap().concat();
            for (found, expected) in found.iter().zip(self::expected(&pixels()).concat()) {
                assert!((found - expected).abs() < 0.1, "{path:?} {layout:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn padded_input_rows_are_filled_row_by_row() {
    let mut scenario = npu::scenario("padded rows");
    scenario.input.row_stride = 80;
    assert_gives(&scenario, &npu::options(), quantized);
}

#[test]
fn caches_are_synchronized_where_that_is_the_callers_task() {
    let mut scenario = npu::scenario("manual caches");
    scenario.caches = Caches::Manual;
    assert_gives(&scenario, &npu::options(), quantized);
}

#[test]
fn the_small_runtime_runs_without_copies_only() {
    let scenario = npu::scenario("rv1106").on_rv1106();
    let chip = Chip::Named("rv1106".into());
    let options = RknnOptions { library: Some(npu::small_runtime()), chip, ..npu::options() };
    assert_gives(&scenario, &options, quantized);
    let cores = RknnOptions { cores: Cores::One(0), ..options.clone() };
    let error = refusal(&npu::scenario("rv1106 cores").on_rv1106(), &cores);
    assert_eq!(failure(&error), NpuFailure::MissingFunction("rknn_set_core_mask"));
    let copied = RknnOptions { path: IoPath::Copied, ..options };
    let mut session = npu::session(&npu::scenario("rv1106 copied").on_rv1106(), &copied).unwrap();
    assert_eq!(failure(&run(&mut session, &pixels()).unwrap_err()), NpuFailure::Failed);
}

#[test]
fn a_library_without_some_functions_is_used_as_far_as_it_goes() {
    let without = |names: &[&str]| {
        let mut bytes = std::fs::read(npu::runtime()).unwrap();
        for name in names {
            // In the table of names the first letter is changed, so that the dynamic linker finds it no more.
            let at: Vec<usize> = (0..bytes.len() - name.len())
                .filter(|&at| {
                    bytes[at..].starts_with(name.as_bytes())
                        && bytes[at - 1] == 0
                        && bytes[at + name.len()] == 0
                })
                .collect();
            assert!(!at.is_empty(), "{name} is not in the library");
            at.iter().for_each(|&at| bytes[at] = b'x');
        }
        let file = tempfile::Builder::new().suffix(".so").tempfile().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    };
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    for (missing, is_zero_copy) in [
        (&["rknn_mem_sync", "rknn_dup_context", "rknn_create_mem_from_fd"][..], true),
        (&["rknn_set_io_mem"][..], false),
        (&["rknn_inputs_set"][..], true),
    ] {
        let file = without(missing);
        let options = RknnOptions { library: Some(file.path().into()), ..npu::options() };
        let mut session = npu::session(&npu::scenario("missing"), &options).unwrap();
        assert_eq!(session.pool().is_zero_copy(), is_zero_copy, "{missing:?}");
        assert_eq!(run(&mut session, &pixels()).unwrap().concat(), expected);
    }
    let file = without(&["rknn_query"]);
    let options = RknnOptions { library: Some(file.path().into()), ..npu::options() };
    assert_eq!(
        failure(&refusal(&npu::scenario("mute"), &options)),
        NpuFailure::MissingFunction("rknn_query")
    );
    for missing in [&["rknn_set_io_mem", "rknn_inputs_set"][..], &["rknn_run"]] {
        let file = without(missing);
        let options = RknnOptions { library: Some(file.path().into()), ..npu::options() };
        let error = refusal(&npu::scenario("no way in"), &options).to_string();
        assert!(error.contains("without functions for inputs"), "{missing:?}: {error}");
    }
}

#[test]
fn models_of_other_chips_and_newer_toolkits_are_refused_before_they_are_loaded() {
    let other = Scenario { platforms: vec!["rk3576".into()], ..npu::scenario("other chip") };
    let error = refusal(&other, &npu::options());
    assert_eq!(failure(&error), NpuFailure::WrongChip);
    assert!(error.to_string().contains("rk3576") && error.to_string().contains("--target rk3588"), "{error}");
    let newer = Scenario { toolkit: "9.8.7".into(), ..npu::scenario("newer") };
    let error = refusal(&newer, &npu::options());
    assert_eq!(failure(&error), NpuFailure::OldRuntime);
    for part in ["9.8.7", "2.3.2", "update librknnrt.so on this board to 9.8.7"] {
        assert!(error.to_string().contains(part), "no {part:?} in {error}");
    }
    assert_eq!(npu::counters(&other), npu::counters(&newer));
    assert_eq!(npu::counters(&newer).contexts_made, 0, "it was loaded");
}

#[test]
fn a_runtime_that_turns_out_older_than_its_file_says_is_refused() {
    let scenario = Scenario { runtime: "1.5.2 (c6b7)".into(), ..npu::scenario("older than it looks") };
    let error = refusal(&scenario, &npu::options());
    assert_eq!(failure(&error), NpuFailure::OldRuntime);
    assert!(error.to_string().contains("1.5.2") && error.to_string().contains("0.9.8"), "{error}");
    assert_eq!(npu::counters(&scenario).contexts, 0);
}

#[test]
fn versions_and_memory_are_told() {
    let timing =
        RknnOptions { timing: LayerTiming::On, priority: Priority::Medium, sram: Sram::On, ..npu::options() };
    let scenario = npu::scenario("told");
    let mut session = npu::session(&scenario, &timing).unwrap();
    run(&mut session, &pixels()).unwrap();
    let versions = session.pool().versions().map(|(_, version)| version.unwrap());
    assert_eq!(versions, ["2.3.2", "2.3.2 (stand-in)", "0.9.8"]);
    let usage = session.pool().usage().unwrap();
    assert_eq!((usage.weight_bytes, usage.internal_bytes, usage.dma_bytes), (1000, 2000, 3000));
    assert!(usage.layers.unwrap().contains("ConvRelu") && usage.last_run_us.is_some());
    assert_eq!(npu::counters(&scenario).flags, 0x1 | 0x8 | 0x800);
}

#[test]
fn every_error_of_loading_is_typed() {
    for code in 1..=14 {
        let scenario =
            npu::scenario(&format!("loading {code}")).with_fault("rknn_init", 1, 1, Action::Error(-code));
        let error = refusal(&scenario, &npu::options());
        let text = error.to_string();
        assert!(text.contains("rknn_init") && text.contains(&format!("-{code}")), "{text}");
        // The next attempt finds nothing broken.
        npu::session(&scenario, &npu::options()).unwrap();
    }
    for call in ["rknn_query", "rknn_create_mem"] {
        let scenario = npu::scenario(&format!("loading {call}")).with_fault(call, 2, 1, Action::Error(-4));
        let error = refusal(&scenario, &npu::options());
        assert!(matches!(failure(&error), NpuFailure::OutOfMemory), "{error}");
        let counters = npu::counters(&scenario);
        assert_eq!((counters.contexts, counters.memories), (0, 0), "{call}");
    }
    let scenario = npu::scenario("short memory").with_fault("rknn_create_mem", 3, 1, Action::Short(1));
    assert_eq!(failure(&refusal(&scenario, &npu::options())), NpuFailure::OutOfMemory);
    assert_eq!(npu::counters(&scenario).memories, 0);
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
fn outputs_are_matched_by_name() {
    let scenario = npu::scenario("by name");
    let mut outputs = npu::outputs();
    outputs.reverse();
    let expected: Vec<Vec<f32>> = expected(&pixels());
    for path in [IoPath::ZeroCopy, IoPath::Copied] {
        let options = RknnOptions { path, ..npu::options() };
        let mut session =
            RknnSession::from_rknn(npu::rknn(&scenario), npu::input(), outputs.clone(), &options).unwrap();
        let found = run(&mut session, &pixels()).unwrap();
        for (found, expected) in found.iter().rev().flatten().zip(expected.iter().flatten()) {
            assert_eq!(*found, quantized(*expected), "{path:?}");
        }
    }
}

#[test]
fn tensors_of_other_shapes_are_refused_and_the_next_frame_is_fine() {
    let mut session = npu::session(&npu::scenario("other shapes"), &npu::options()).unwrap();
    let wrong = Tensor::zeroed(&common::input());
    assert!(matches!(run(&mut session, &wrong), Err(Error::Backend(_))));
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    assert!(session.run(&pixels(), &mut outputs[..2]).is_err());
    outputs.swap(0, 1);
    assert!(session.run(&pixels(), &mut outputs).is_err());
    run(&mut session, &pixels()).unwrap();
}

#[test]
fn a_machine_without_a_runtime_says_how_to_get_it() {
    let options = RknnOptions { library: Some("/nowhere/librknnrt.so".into()), ..npu::options() };
    let error = refusal(&npu::scenario("nowhere"), &options);
    assert_eq!(failure(&error), NpuFailure::MissingLibrary);
    assert!(error.to_string().contains("/nowhere/librknnrt.so"), "{error}");
}

#[test]
fn pixels_of_another_device_are_read_in_place() {
    use std::io::{Seek, SeekFrom, Write};

    let scenario = npu::scenario("imported");
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    let black = vec![0; bytes.len()];
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&black).unwrap();
    let buffer = DmaBuffer::new(&file, 0, bytes.len()).unwrap();
    for round in 0..3 {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&bytes).unwrap();
        let slot = pool.slot().unwrap().unwrap();
        pool.submit_imported(slot, &buffer);
        let found = pool.next().unwrap().result.unwrap();
        let found: Vec<f32> = found.outputs().flat_map(planes).collect();
        assert!(found == expected, "round {round}");
    }
    let short = DmaBuffer::new(&file, 0, bytes.len() - 1).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &short);
    let error = pool.next().unwrap().result.map(drop).unwrap_err();
    assert_eq!(failure(&error), NpuFailure::InvalidInput);
    // Imported once, beside the three memories of each of two sets and their inputs.
    assert_eq!(npu::counters(&scenario).memories_made, 1 + 2 * 4);
    drop(pool);
    assert_eq!(npu::counters(&scenario).memories, 0);
    let beyond = DmaBuffer::new(&file, 1, bytes.len()).map(drop).unwrap_err();
    assert!(matches!(beyond, Error::Input(_)), "{beyond}");
    assert!(DmaBuffer::new(&file, usize::MAX, 2).is_err());
}

#[test]
fn imported_rows_lie_as_far_apart_as_the_npu_wants_them() {
    use std::os::unix::fs::FileExt;

    const OFFSET: u64 = 4096;
    let mut scenario = npu::scenario("imported rows");
    scenario.input.row_stride = 80;
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    let row_bytes = pool.import_row_bytes();
    assert_eq!(row_bytes, 80 * 3);
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    let file = tempfile::tempfile().unwrap();
    file.set_len(OFFSET + 64 * 80 * 3).unwrap();
    for (start, row) in (OFFSET..).step_by(row_bytes).zip(bytes.chunks(64 * 3)) {
        file.write_all_at(row, start).unwrap();
    }
    let buffer = DmaBuffer::new(&file, usize::try_from(OFFSET).unwrap(), 64 * row_bytes).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &buffer);
    let found = pool.next().unwrap().result.unwrap();
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    assert!(found.outputs().flat_map(planes).eq(expected));
}

#[test]
fn memory_of_another_device_is_refused_where_inputs_are_copied() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    let mut pool = npu::pool(&npu::scenario("imported copies"), &copied).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let buffer = DmaBuffer::new(&file, 0, 1 << 20).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &buffer);
    let error = pool.next().unwrap().result.map(drop).unwrap_err();
    assert_eq!(failure(&error), NpuFailure::NotZeroCopy);
    assert!(pool.slot().unwrap().is_some());
}
