//! The whole way from a frame to detections over one bundle, each stage timed.

use std::path::Path;
use std::time::Instant;

use artifact::{BackendKind, Bundle, Manifest, Tensor};

use crate::backend::{self, BackendChoice, Opened};
use crate::decode::{Decoder, Detection, Limits};
use crate::preprocess::Preprocessor;
use crate::{Error, Frame};

/// How a bundle is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Which engine may run it.
    pub backend: BackendChoice,
    /// What is kept; the bundle's own thresholds where absent.
    pub limits: Option<Limits>,
}

/// How long each stage of a frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct StageTimes {
    /// Letterbox and conversion.
    pub preprocess_us: u64,
    /// The engine.
    pub inference_us: u64,
    /// Decode and NMS.
    pub decode_us: u64,
}

/// What was found in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Detections<'a> {
    /// Best first, in source pixels.
    pub boxes: &'a [Detection],
    /// How long it took.
    pub times: StageTimes,
}

/// A bundle ready to look at frames.
pub struct Detector {
    preprocessor: Preprocessor,
    opened: Opened,
    decoder: Decoder,
    input: Tensor,
    outputs: Vec<Tensor>,
    manifest: Manifest,
}

impl Detector {
    /// Opens the bundle at `path` and loads its model.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the bundle is damaged, [`Error::Backend`] when no engine can run it, [`Error::Input`]
    /// when a limit is out of range.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let mut bundle = Bundle::open(path)?;
        let opened = backend::open(&mut bundle, options.backend)?;
        let manifest = bundle.into_manifest();
        let limits = options.limits.unwrap_or(Limits::device(manifest.confidence, manifest.iou));
        let session = &opened.session;
        let decoder = Decoder::new(&manifest.decode, manifest.classes.len(), session.outputs(), limits)?;
        let preprocessor = Preprocessor::new(&manifest.preprocess, session.input())?;
        let input = Tensor::zeroed(session.input());
        let outputs = session.outputs().iter().map(Tensor::zeroed).collect();
        Ok(Self { preprocessor, decoder, input, outputs, manifest, opened })
    }

    /// Finds objects in `frame`.
    ///
    /// # Errors
    /// [`Error::Input`] when the frame's sides and bytes do not fit together; [`Error::Backend`] when the engine fails.
    pub fn detect(&mut self, frame: Frame<'_>) -> Result<Detections<'_>, Error> {
        let started = Instant::now();
        let map = self.preprocessor.run(frame, &mut self.input)?;
        let preprocessed = Instant::now();
        self.opened.session.run(&self.input, &mut self.outputs)?;
        let inferred = Instant::now();
        let boxes = self.decoder.detect(&self.outputs, &map)?;
        let times = StageTimes {
            preprocess_us: micros(started, preprocessed),
            inference_us: micros(preprocessed, inferred),
            decode_us: micros(inferred, Instant::now()),
        };
        Ok(Detections { boxes, times })
    }

    /// Changes what is kept.
    ///
    /// # Errors
    /// [`Error::Input`] when a limit is out of range.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), Error> {
        let Manifest { decode, classes, .. } = &self.manifest;
        self.decoder = Decoder::new(decode, classes.len(), self.opened.session.outputs(), limits)?;
        Ok(())
    }

    /// What the bundle says about its model.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Class names by [`Detection::class`].
    pub fn classes(&self) -> &[String] {
        &self.manifest.classes
    }

    /// The engine that runs.
    pub fn backend(&self) -> BackendKind {
        self.opened.backend
    }

    /// Name of the payload that runs.
    pub fn payload(&self) -> &str {
        &self.opened.payload
    }

    /// Why [`BackendChoice::Auto`] passed over a better engine, if it did.
    pub fn fallback(&self) -> Option<&str> {
        self.opened.fallback.as_deref()
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX)
}
