//! What a stand-in model is and how it behaves, as data that travels inside the model's file. Never runs anything.

use artifact::Quant;
use serde::{Deserialize, Serialize};

/// Everything about a model but its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Under which [`crate::control`] finds its counters; unique in a process.
    pub name: String,
    /// Chips it says it is compiled for, such as `rk3588`.
    pub platforms: Vec<String>,
    /// The chip it is run on.
    pub board: String,
    /// Version of the toolkit it says it is compiled by.
    pub toolkit: String,
    /// Version of the runtime that queries tell.
    pub runtime: String,
    /// The newest format of model files that the runtime reads: 6 for RK35xx, 0x1004 for RV110x, unless it is old.
    pub newest_format: u64,
    /// Version of the driver that queries tell.
    pub driver: String,
    /// What goes in.
    pub input: Input,
    /// What comes out.
    pub outputs: Vec<Output>,
    /// Where outputs come from.
    pub mode: Mode,
    /// Cores of the chip.
    pub cores: u32,
    /// Whether caches must be synchronized by the caller.
    pub caches: Caches,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// The input: pixels, or floats for a model that is not quantized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Name in the graph.
    pub name: String,
    /// Batch, channels, height, width.
    pub shape: [usize; 4],
    /// How the NPU keeps it; also what pass-through takes.
    pub element: Element,
    /// Pixels from one row to the next in the NPU's memory; 0 for as many as a row has.
    pub row_stride: usize,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Name in the graph.
    pub name: String,
    /// Batch, channels, height, width.
    pub shape: [usize; 4],
    /// Element type.
    pub element: Element,
    /// How the NPU keeps it.
    pub order: Order,
}

/// Element types of the NPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Element {
    /// Signed bytes with a scale and zero point.
    I8(Quant),
    /// Unsigned bytes with a scale and zero point.
    U8(Quant),
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
    /// Something that RepEdge does not take.
    I16,
}

/// Orders of a tensor in the NPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Blocks of `c2` channels, each plane filled up to a multiple of `align` cells.
    Nc1hwc2 {
        /// Channels of a block.
        c2: usize,
        /// What the number of cells of a plane is a multiple of.
        align: usize,
    },
    /// Blocks of `c2` channels whose rows are `row_stride` cells apart (0: as many as a row has).
    PaddedNc1hwc2 {
        /// Channels of a block.
        c2: usize,
        /// Cells from one row to the next.
        row_stride: usize,
    },
    /// Channels innermost, rows `row_stride` cells apart (0: as many as a row has).
    Nhwc {
        /// Cells from one row to the next.
        row_stride: usize,
    },
    /// Channels outermost.
    Nchw,
}

/// Where outputs come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Mode {
    /// The model's ONNX, run by tract on pixels divided by 255.
    Compute,
    /// The recording of the same input, after as long as the core takes for a frame.
    Replay {
        /// Microseconds of a frame on each core; the last is also that of the cores beyond.
        latencies_us: Vec<u64>,
    },
}

/// Who keeps caches consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caches {
    /// The runtime, at each run.
    Automatic,
    /// The caller, with `rknn_mem_sync`: without it the NPU reads and the host sees old bytes.
    Manual,
}

/// Something that goes wrong at certain calls of a function, counted over all contexts of the model from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The function, such as `rknn_run`.
    pub call: String,
    /// The first call that goes wrong.
    pub from: u64,
    /// How many do.
    pub count: u64,
    /// What happens.
    pub action: Action,
}

/// What happens at a call that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It gives this code, or no memory where it gives memory.
    Error(i32),
    /// It does not return before [`crate::control::Control::release`].
    Stall,
    /// It takes so many milliseconds longer, whatever time it was given.
    Delay(u64),
    /// The NPU takes so many milliseconds longer, and gives up after the time it was given. Of `rknn_run` only.
    Slow(u64),
    /// Every bit that this core computes comes out as its opposite, and no code says so. Of `rknn_run` only.
    Garble(u8),
    /// It gives memory or outputs that are so many bytes too short. Of `rknn_create_mem` and `rknn_outputs_get` only.
    Short(u32),
}

/// The functions that faults can be given.
pub const FAULTY: [&str; 17] = [
    "rknn_init",
    "rknn_dup_context",
    "rknn_destroy",
    "rknn_query",
    "rknn_inputs_set",
    "rknn_run",
    "rknn_wait",
    "rknn_outputs_get",
    "rknn_outputs_release",
    "rknn_set_core_mask",
    "rknn_set_batch_core_num",
    "rknn_create_mem",
    "rknn_create_mem2",
    "rknn_create_mem_from_fd",
    "rknn_destroy_mem",
    "rknn_mem_sync",
    "rknn_set_io_mem",
];

impl Fault {
    /// Whether the fault can ever come: its function is one, and can fail in this way.
    pub fn is_possible(&self) -> bool {
        let may_be = match self.action {
            Action::Short(_) => matches!(self.call.as_str(), "rknn_create_mem" | "rknn_outputs_get"),
            Action::Slow(_) => self.call == "rknn_run",
            // No chip has more.
            Action::Garble(core) => self.call == "rknn_run" && core < 16,
            Action::Error(code) => code < 0,
            Action::Stall | Action::Delay(_) => true,
        };
        may_be && FAULTY.contains(&self.call.as_str()) && self.from > 0 && self.count > 0
    }
}

impl Scenario {
    /// A model of RK3588 that computes, without faults.
    pub fn new(name: impl Into<String>, input: Input, outputs: Vec<Output>) -> Self {
        Self {
            name: name.into(),
            platforms: vec!["rk3588".into()],
            board: "rk3588".into(),
            toolkit: "2.3.2".into(),
            runtime: "2.3.2 (stand-in)".into(),
            newest_format: 6,
            driver: "0.9.8".into(),
            input,
            outputs,
            mode: Mode::Compute,
            cores: 3,
            caches: Caches::Automatic,
            faults: Vec::new(),
        }
    }

    /// The same for RV1106: memory of the NPU only, caches left to the caller, one core.
    #[must_use]
    pub fn on_rv1106(self) -> Self {
        let board = String::from("rv1106");
        let platforms = vec![board.clone()];
        Self { platforms, board, newest_format: 0x1004, caches: Caches::Manual, cores: 1, ..self }
    }

    /// The same with one fault more.
    ///
    /// # Panics
    /// When the fault can never come, such as one of a function that there is not.
    #[must_use]
    pub fn with_fault(mut self, call: &str, from: u64, count: u64, action: Action) -> Self {
        let fault = Fault { call: call.into(), from, count, action };
        assert!(fault.is_possible(), "{fault:?} can never come");
        self.faults.push(fault);
        self
    }
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8(_) | Self::U8(_) => 1,
            Self::F16 | Self::I16 => 2,
            Self::F32 => 4,
        }
    }
}

impl Input {
    /// Pixels from one row to the next in the NPU's memory.
    pub fn stride(&self) -> usize {
        self.row_stride.max(self.shape[3])
    }
}
