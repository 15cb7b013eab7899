//! Engines behind one trait. Engine types never leave their own file; a missing engine is an error that says how to
//! get it, never a silent fallback.

use std::io::{Read, Seek};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::{BackendKind, Bundle, Fault, Payload, Tensor, TensorSpec};

use crate::Error;
use rknn::RknnOptions;

mod engine;
pub mod rknn;
#[cfg(feature = "tract")]
pub mod tract;

pub use engine::{Engine, InTurn, Outcome, Room, Seat, SharedEngine};

/// A model loaded into an engine, ready to run frame after frame. Not shared between threads.
pub trait Session: Send {
    /// What [`Session::run`] expects.
    fn input(&self) -> &TensorSpec;

    /// What [`Session::run`] fills, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs one frame. `outputs` holds one tensor for each of [`Session::outputs`] (see [`Tensor::zeroed`]) and is
    /// overwritten in place; int8 outputs stay quantized and carry their scale and zero point.
    ///
    /// # Errors
    /// [`Error::Backend`] when the engine fails or `input` has another type or shape than [`Session::input`].
    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error>;

    /// How long the NPU took for the last frame, by its own clock; none where another engine runs, or where it does not tell.
    fn npu_time(&mut self) -> Option<Duration> {
        None
    }

    /// What happened on the NPU so far; none where another engine runs.
    fn npu_report(&self) -> Option<rknn::PoolReport> {
        None
    }

    /// Version of the NPU's runtime library; none where another engine runs, or where it does not tell.
    fn npu_runtime(&self) -> Option<String> {
        None
    }
}

/// Which engine may run a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The NPU where the bundle and this build have it, else the CPU.
    #[default]
    Auto,
    /// Only tract, on the CPU.
    Tract,
    /// Only the Rockchip NPU.
    Rknn,
}

/// A session, or another form of engine, and how it was chosen.
pub struct Opened<E = Box<dyn Session>> {
    /// Ready to run.
    pub session: E,
    /// The engine that runs.
    pub backend: BackendKind,
    /// Name of the payload that runs.
    pub payload: String,
    /// Why a better engine than `backend` was passed over, under [`BackendChoice::Auto`].
    pub fallback: Option<String>,
}

/// Loads the payload of `bundle` that `choice` asks for; `npu` says how, should it be the NPU's.
///
/// # Errors
/// [`Error::Backend`] when the bundle has no such payload, this build has no such engine, or the engine refuses the
/// model; [`Error::Npu`] when the NPU's runtime is missing or fails; [`Error::Artifact`] when the payload cannot be read.
pub fn open<S: Read + Seek>(
    bundle: &mut Bundle<S>,
    choice: BackendChoice,
    npu: &RknnOptions,
) -> Result<Opened, Error> {
    open_as(bundle, choice, npu)
}

/// As [`open`], as any form of engine.
///
/// # Errors
/// As [`open`].
pub fn open_as<E: Load, S: Read + Seek>(
    bundle: &mut Bundle<S>,
    choice: BackendChoice,
    npu: &RknnOptions,
) -> Result<Opened<E>, Error> {
    match choice {
        BackendChoice::Tract => open_kind(bundle, BackendKind::Tract, npu),
        BackendChoice::Rknn => open_kind(bundle, BackendKind::Rknn, npu),
        BackendChoice::Auto => open_best(bundle, npu),
    }
}

fn open_best<E: Load, S: Read + Seek>(bundle: &mut Bundle<S>, npu: &RknnOptions) -> Result<Opened<E>, Error> {
    if !has_payload(bundle, BackendKind::Rknn) {
        return open_kind(bundle, BackendKind::Tract, npu);
    }
    let best = open_kind(bundle, BackendKind::Rknn, npu);
    match best.as_ref().err().and_then(of_this_machine) {
        Some(reason) if has_payload(bundle, BackendKind::Tract) => {
            let opened = open_kind(bundle, BackendKind::Tract, npu)?;
            Ok(Opened { fallback: Some(reason), ..opened })
        }
        _ => best,
    }
}

/// What was found, where `error` says that the NPU is given up.
pub(crate) fn given_up(error: &Error) -> Option<String> {
    match error {
        Error::Npu { failure, fault } if failure.is_final() => Some(fault.found.clone()),
        _ => None,
    }
}

/// Whether `bundle` has a payload for `backend`.
pub(crate) fn has_payload<S: Read + Seek>(bundle: &Bundle<S>, backend: BackendKind) -> bool {
    find(bundle, backend).is_some()
}

/// What was found, where an engine cannot be used on this machine; none where the bundle itself is at fault.
fn of_this_machine(error: &Error) -> Option<String> {
    match error {
        Error::Backend(fault) => Some(fault.found.clone()),
        Error::Npu { fault, .. } => Some(fault.found.clone()),
        _ => None,
    }
}

fn open_kind<E: Load, S: Read + Seek>(
    bundle: &mut Bundle<S>,
    backend: BackendKind,
    npu: &RknnOptions,
) -> Result<Opened<E>, Error> {
    let load = loader(backend)?;
    let Some((index, payload)) = find(bundle, backend) else {
        return Err(no_payload(bundle, backend));
    };
    let session = load(bundle.read_payload(index)?, &payload, npu)?;
    Ok(Opened { session, backend, payload: payload.name, fallback: None })
}

/// A form in which a payload is ready to run.
pub trait Load: Sized {
    /// Loads a payload's bytes into the CPU's engine.
    ///
    /// # Errors
    /// [`Error::Backend`] when the engine refuses the model.
    #[cfg(feature = "tract")]
    fn on_cpu(bytes: Vec<u8>, payload: &Payload, npu: &RknnOptions) -> Result<Self, Error>;

    /// Loads a payload's bytes into the NPU's runtime.
    ///
    /// # Errors
    /// [`Error::Npu`] when the runtime is missing or refuses the model.
    fn on_npu(bytes: Vec<u8>, payload: &Payload, npu: &RknnOptions) -> Result<Self, Error>;

    /// What happened on the NPU so far; none where another engine runs.
    fn npu_report(&self) -> Option<rknn::PoolReport>;
}

type Loader<E> = fn(Vec<u8>, &Payload, &RknnOptions) -> Result<E, Error>;

/// What loads payloads for `backend`, where this build has it.
fn loader<E: Load>(backend: BackendKind) -> Result<Loader<E>, Error> {
    match backend {
        #[cfg(feature = "tract")]
        BackendKind::Tract => Ok(E::on_cpu),
        #[cfg(not(feature = "tract"))]
        BackendKind::Tract => Err(Error::Backend(Fault::new(
            "this build has no tract backend",
            "a build of repedge with its feature `tract`",
            "build without `--no-default-features`, or choose another backend",
        ))),
        BackendKind::Rknn => Ok(E::on_npu),
    }
}

fn find<S: Read + Seek>(bundle: &Bundle<S>, backend: BackendKind) -> Option<(usize, Payload)> {
    let mut payloads = bundle.manifest().payloads.iter().enumerate();
    payloads.find(|(_, payload)| payload.backend == backend).map(|(index, payload)| (index, payload.clone()))
}

impl Load for Box<dyn Session> {
    #[cfg(feature = "tract")]
    fn on_cpu(bytes: Vec<u8>, payload: &Payload, _npu: &RknnOptions) -> Result<Self, Error> {
        let (input, outputs) = (payload.input.clone(), payload.outputs.clone());
        Ok(Box::new(tract::TractSession::from_onnx(&bytes, input, outputs)?))
    }

    fn on_npu(bytes: Vec<u8>, payload: &Payload, npu: &RknnOptions) -> Result<Self, Error> {
        let (input, outputs) = (payload.input.clone(), payload.outputs.clone());
        Ok(Box::new(rknn::RknnSession::from_rknn(bytes, input, outputs, npu)?))
    }

    fn npu_report(&self) -> Option<rknn::PoolReport> {
        self.as_ref().npu_report()
    }
}

/// Frames for which there is memory at each lane of an engine: one that runs, one that is filled, and those whose outputs are read.
pub(crate) const FRAMES_PER_LANE: usize = 4;

impl Load for SharedEngine {
    #[cfg(feature = "tract")]
    fn on_cpu(bytes: Vec<u8>, payload: &Payload, npu: &RknnOptions) -> Result<Self, Error> {
        let session = <Box<dyn Session> as Load>::on_cpu(bytes, payload, npu)?;
        Ok(Arc::new(Mutex::new(InTurn::new(session, FRAMES_PER_LANE))))
    }

    fn on_npu(bytes: Vec<u8>, payload: &Payload, npu: &RknnOptions) -> Result<Self, Error> {
        let (input, outputs) = (payload.input.clone(), payload.outputs.clone());
        let npu = RknnOptions { frames_per_core: npu.frames_per_core.max(FRAMES_PER_LANE), ..npu.clone() };
        Ok(Arc::new(Mutex::new(rknn::Pool::open(bytes, input, outputs, &npu)?)))
    }

    /// None also while a call to the engine does not return.
    fn npu_report(&self) -> Option<rknn::PoolReport> {
        self.try_lock().ok()?.npu_report()
    }
}

fn no_payload<S: Read + Seek>(bundle: &Bundle<S>, backend: BackendKind) -> Error {
    let present: Vec<String> = bundle.manifest().payloads.iter().map(|p| p.backend.to_string()).collect();
    let hint = match backend {
        BackendKind::Tract => "add one with `train-host convert --target host`, or choose another backend",
        BackendKind::Rknn => {
            "add one with `train-host convert --target` and the name of your board, or use `--backend tract`"
        }
    };
    Error::Backend(Fault::new(
        format!("the bundle has payloads for {} only", present.join(", ")),
        format!("a payload for {backend}"),
        hint,
    ))
}
