//! The squares model for the NPU, played by the stand-in library: int8 outputs whose every value of the float model is a
//! step of the scale or saturates, so that both backends must find the same boxes.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::{BackendKind, DType, Layout, Manifest, Payload, Precision, Quant, TensorSpec, ViewData};
use prost::Message;
use repedge::Error;
use repedge::backend::SharedEngine;
use repedge::backend::rknn::{Chip, Cores, IoPath, Pool, RknnOptions, RknnSession, TimeLimits};
use repedge::pipeline::Analyzer;
use stand_in::control::{Control, Counters, library};
use stand_in::{Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, digest};

use crate::common::{self, SIDE_PX};

/// -40 to 39.7 in steps of 0.3125.
pub const QUANT: Quant = Quant { scale: 0.3125, zero_point: 0 };
/// How the real compiler quantizes pixels.
const PIXELS: Quant = Quant { scale: 1.0 / 255.0, zero_point: -128 };

/// The order in which RK3588 keeps int8 tensors.
pub const BLOCKS: Order = Order::Nc1hwc2 { c2: 16, align: 1 };

/// The squares model as a scenario called `name`, with int8 outputs in the NPU's order.
pub fn scenario(name: &str) -> Scenario {
    let output = |spec: TensorSpec| Output {
        name: spec.name,
        shape: spec.shape,
        element: Element::I8(QUANT),
        order: BLOCKS,
    };
    let outputs = common::outputs().into_iter().map(output).collect();
    let shape = [1, 3, SIDE_PX, SIDE_PX];
    let input = Input { name: "images".into(), shape, element: Element::I8(PIXELS), row_stride: 0 };
    Scenario::new(name, input, outputs)
}

/// The `.rknn` file of a scenario of the squares model.
pub fn rknn(scenario: &Scenario) -> Vec<u8> {
    let onnx = common::onnx().encode_to_vec();
    Model { scenario: scenario.clone(), onnx, recordings: Vec::new() }.pack()
}

/// What a bundle says the model takes: pixels.
pub fn input() -> TensorSpec {
    let shape = [1, SIDE_PX, SIDE_PX, 3];
    TensorSpec { name: "images".into(), dtype: DType::U8, layout: Layout::Nhwc, shape, quant: None }
}

/// What a bundle says the model gives: int8 planes.
pub fn outputs() -> Vec<TensorSpec> {
    let int8 = |spec: TensorSpec| TensorSpec { dtype: DType::I8, quant: Some(QUANT), ..spec };
    common::outputs().into_iter().map(int8).collect()
}

/// Describes `bytes` as the NPU payload of the model.
pub fn payload(bytes: &[u8]) -> Payload {
    Payload::new("npu", BackendKind::Rknn, "rk3588", Precision::Int8, input(), outputs(), bytes)
}

/// The stand-in of RK35xx.
pub fn runtime() -> PathBuf {
    library(Kind::Rk)
}

/// The runtimes that the stand-in plays.
pub const KINDS: [Kind; 2] = [Kind::Rk, Kind::Rv];

/// As [`scenario`], on a chip of that runtime.
pub fn scenario_of(kind: Kind, name: &str) -> Scenario {
    match kind {
        Kind::Rk => scenario(name),
        Kind::Rv => scenario(name).on_rv1106(),
    }
}

/// Options for the stand-in, with limits that a test can wait for but a busy machine does not exceed.
pub fn options() -> RknnOptions {
    options_of(Kind::Rk)
}

/// The same for the stand-in of that runtime.
pub fn options_of(kind: Kind) -> RknnOptions {
    let chip = match kind {
        Kind::Rk => "rk3588",
        Kind::Rv => "rv1106",
    };
    RknnOptions { library: Some(library(kind)), chip: Chip::Named(chip.into()), ..RknnOptions::default() }
}

/// The same on all cores that chips of that runtime have.
pub fn all_cores(kind: Kind) -> RknnOptions {
    let cores = match kind {
        Kind::Rk => Cores::Each(3),
        Kind::Rv => Cores::Driver,
    };
    RknnOptions { cores, ..options_of(kind) }
}

/// [`options`] with limits short enough to wait for a call that never returns.
pub fn impatient() -> RknnOptions {
    RknnOptions { limits: short_limits(), ..options() }
}

/// Limits short enough to wait for a call that never returns.
pub fn short_limits() -> TimeLimits {
    TimeLimits {
        run: Duration::from_millis(1500),
        grace: Duration::from_millis(500),
        ..TimeLimits::default()
    }
}

/// Opens a session for a scenario of the squares model.
pub fn session(scenario: &Scenario, options: &RknnOptions) -> Result<RknnSession, Error> {
    RknnSession::from_rknn(rknn(scenario), input(), outputs(), options)
}

/// Opens a pool for a scenario of the squares model.
pub fn pool(scenario: &Scenario, options: &RknnOptions) -> Result<Pool, Error> {
    Pool::open(rknn(scenario), input(), outputs(), options)
}

/// The squares model on the NPU, as the pipeline takes it; nothing takes over from it.
pub struct Squares {
    manifest: Manifest,
    engine: SharedEngine,
}

impl Squares {
    /// On `pool`.
    pub fn on(pool: Pool) -> Self {
        Self { manifest: common::manifest(Vec::new()), engine: Arc::new(Mutex::new(pool)) }
    }
}

impl Analyzer for Squares {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn engine(&self) -> SharedEngine {
        Arc::clone(&self.engine)
    }

    fn replace(&mut self, _error: &Error) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

/// What the stand-in counted for a scenario.
pub fn counters(scenario: &Scenario) -> Counters {
    control(scenario).counters()
}

/// How to talk to the stand-in about a scenario.
pub fn control(scenario: &Scenario) -> Control {
    let is_rv = scenario.platforms.iter().any(|platform| platform.starts_with("rv"));
    Control::new(&library(if is_rv { Kind::Rv } else { Kind::Rk }), &scenario.name)
}

/// Waits until `holds`, for what another thread does in its own time.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < end, "{what}: waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same model replaying what it computes for frames of one color, each of `reds`.
pub fn replay(scenario: Scenario, latencies_us: &[u64], reds: &[u8]) -> Model {
    // By the runtime that copies: what it gives is what every other one keeps in an order of its own.
    let computing = self::scenario(&format!("{} computed", scenario.name));
    let copied = RknnOptions { path: IoPath::Copied, ..options() };
    let mut pool = pool(&computing, &copied).unwrap();
    let recordings = reds.iter().map(|&red| {
        let mut slot = pool.slot().unwrap().unwrap();
        let pixels = slot.pixels().unwrap();
        pixels.as_chunks_mut::<3>().0.fill([red, 0, 0]);
        let input = digest(pixels);
        pool.submit(slot);
        let finished = pool.next().unwrap().result.unwrap();
        let stored = finished.outputs().map(|output| match output.data {
            ViewData::I8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
            _ => panic!("{output:?}"),
        });
        Recording { input, outputs: stored.collect() }
    });
    let recordings = recordings.collect();
    Model {
        scenario: Scenario { mode: Mode::Replay { latencies_us: latencies_us.to_vec() }, ..scenario },
        onnx: Vec::new(),
        recordings,
    }
}
