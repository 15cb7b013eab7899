//! Engines behind one trait. Engine types never leave their own file; a missing engine is an error that says how to
//! get it, never a silent fallback.

use std::io::{Read, Seek};

use artifact::{BackendKind, Bundle, Fault, Payload, Tensor, TensorSpec};

use crate::Error;

#[cfg(feature = "tract")]
pub mod tract;

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

/// A session and how it was chosen.
pub struct Opened {
    /// Ready to run.
    pub session: Box<dyn Session>,
    /// The engine that runs.
    pub backend: BackendKind,
    /// Name of the payload that runs.
    pub payload: String,
    /// Why a better engine than `backend` was passed over, under [`BackendChoice::Auto`].
    pub fallback: Option<String>,
}

/// Loads the payload of `bundle` that `choice` asks for.
///
/// # Errors
/// [`Error::Backend`] when the bundle has no such payload, this build has no such engine, or the engine refuses the
/// model; [`Error::Artifact`] when the payload cannot be read.
pub fn open<S: Read + Seek>(bundle: &mut Bundle<S>, choice: BackendChoice) -> Result<Opened, Error> {
    match choice {
        BackendChoice::Tract => open_kind(bundle, BackendKind::Tract),
        BackendChoice::Rknn => open_kind(bundle, BackendKind::Rknn),
        BackendChoice::Auto => open_best(bundle),
    }
}

fn open_best<S: Read + Seek>(bundle: &mut Bundle<S>) -> Result<Opened, Error> {
    if find(bundle, BackendKind::Rknn).is_none() {
        return open_kind(bundle, BackendKind::Tract);
    }
    match open_kind(bundle, BackendKind::Rknn) {
        Err(Error::Backend(reason)) if find(bundle, BackendKind::Tract).is_some() => {
            let opened = open_kind(bundle, BackendKind::Tract)?;
            Ok(Opened { fallback: Some(reason.found), ..opened })
        }
        outcome => outcome,
    }
}

fn open_kind<S: Read + Seek>(bundle: &mut Bundle<S>, backend: BackendKind) -> Result<Opened, Error> {
    let load = loader(backend)?;
    let Some((index, payload)) = find(bundle, backend) else {
        return Err(no_payload(bundle, backend));
    };
    let session = load(&bundle.read_payload(index)?, &payload)?;
    Ok(Opened { session, backend, payload: payload.name, fallback: None })
}

type Loader = fn(&[u8], &Payload) -> Result<Box<dyn Session>, Error>;

/// What loads payloads for `backend`, where this build has it.
fn loader(backend: BackendKind) -> Result<Loader, Error> {
    match backend {
        #[cfg(feature = "tract")]
        BackendKind::Tract => Ok(load_tract),
        #[cfg(not(feature = "tract"))]
        BackendKind::Tract => Err(Error::Backend(Fault::new(
            "this build has no tract backend",
            "a build of repedge with its feature `tract`",
            "build without `--no-default-features`, or choose another backend",
        ))),
        BackendKind::Rknn => Err(Error::Backend(Fault::new(
            "this build has no RKNN backend",
            "a build of repedge that can talk to a Rockchip NPU",
            "run on the CPU with `--backend tract`, or use a version of RepEdge with NPU support",
        ))),
    }
}

fn find<S: Read + Seek>(bundle: &Bundle<S>, backend: BackendKind) -> Option<(usize, Payload)> {
    let mut payloads = bundle.manifest().payloads.iter().enumerate();
    payloads.find(|(_, payload)| payload.backend == backend).map(|(index, payload)| (index, payload.clone()))
}

#[cfg(feature = "tract")]
fn load_tract(bytes: &[u8], payload: &Payload) -> Result<Box<dyn Session>, Error> {
    Ok(Box::new(tract::TractSession::from_onnx(bytes, payload.input.clone(), payload.outputs.clone())?))
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
