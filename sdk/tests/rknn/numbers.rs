//! The numbers of tract, whatever the memory order and element type.

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use repedge::Error;
use repedge::backend::Session;
use repedge::backend::rknn::{IoPath, LayerTiming, Priority, RknnOptions, RknnSession, Sram};
use stand_in::{Caches, Element, Order, Scenario};

use crate::common;
use crate::npu::{self, QUANT};
use crate::tensors::{
    assert_gives, expected, floats, half, pixels, quantized, refusal, run, with_element, with_order,
};

#[test]
fn every_memory_order_gives_the_numbers_of_tract() {
    let orders = [
        npu::BLOCKS,
        Order::Nc1hwc2 { c2: 8, align: 1 },
        Order::Nc1hwc2 { c2: 4, align: 24 },
        Order::PaddedNc1hwc2 { c2: 16, row_stride: 16 },
        Order::PaddedNc1hwc2 { c2: 4, row_stride: 9 },
        Order::Nhwc { row_stride: 0 },
        Order::Nhwc { row_stride: 16 },
        Order::Nchw,
    ];
    for (at, order) in orders.into_iter().enumerate() {
        assert_gives(&with_order(&format!("order {at}"), order), &npu::options(), quantized);
    }
}

/// That of RV110x copies nothing, so that there is no other way to read them.
#[test]
fn padded_rows_of_blocks_are_read_on_every_runtime_and_as_floats() {
    let order = Order::PaddedNc1hwc2 { c2: 4, row_stride: 12 };
    for kind in npu::KINDS {
        let mut scenario = npu::scenario_of(kind, "padded blocks");
        scenario.outputs.iter_mut().for_each(|output| output.order = order);
        assert_gives(&scenario, &npu::options_of(kind), quantized);
        scenario.name = "padded blocks of halves".into();
        scenario.outputs.iter_mut().for_each(|output| output.element = Element::F16);
        let options = RknnOptions { path: IoPath::ZeroCopy, ..npu::options_of(kind) };
        assert_gives(&scenario, &options, half);
    }
}

#[test]
fn copied_outputs_give_the_same_numbers() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    assert_gives(&npu::scenario("copied"), &copied, quantized);
    assert_gives(&with_element("copied halves", Element::F16), &copied, half);
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
            for (found, expected) in found.iter().zip(crate::tensors::expected(&pixels()).concat()) {
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
        assert_eq!(npu::counters(&scenario).violations, [""; 0]);
    }
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
