//! The whole way from a frame to detections over one bundle, each stage timed. Where the caller lets it choose the engine,
//! an NPU that is given up is followed by the CPU.

use std::path::Path;
use std::time::{Duration, Instant};

use artifact::{BackendKind, Bundle, Manifest, Tensor, Trust};

use crate::backend::rknn::{PoolReport, RknnOptions};
use crate::backend::{self, BackendChoice, Opened};
use crate::decode::{Decoder, Detection, Limits};
use crate::preprocess::{LetterboxMap, Preprocessor};
use crate::{Error, Image, Picture, frame};

/// How a bundle is run, and whether it may be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which engine may run it.
    pub backend: BackendChoice,
    /// What is kept; the bundle's own thresholds where absent.
    pub limits: Option<Limits>,
    /// How the NPU is used, should it be the engine.
    pub npu: RknnOptions,
    /// Whose bundles are accepted; nobody's, unless it is said.
    pub trust: Trust,
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
    engine: Engine,
    bundle: Bundle,
    limits: Limits,
    options: Options,
    /// What happened on an NPU that the CPU has taken over from.
    past_npu: Option<PoolReport>,
}

/// A session and everything made for its tensors.
struct Engine {
    opened: Opened,
    preprocessor: Preprocessor,
    decoder: Decoder,
    input: Tensor,
    outputs: Vec<Tensor>,
}

impl Detector {
    /// Opens the bundle at `path` and loads its model.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the bundle is damaged or not trusted, [`Error::Backend`] or [`Error::Npu`] when no engine can run it,
    /// [`Error::Input`] when a limit is out of range.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let mut bundle = Bundle::open(path, &options.trust)?;
        let opened = backend::open(&mut bundle, options.backend, &options.npu)?;
        let manifest = bundle.manifest();
        let limits = options.limits.unwrap_or(Limits::device(manifest.confidence, manifest.iou));
        let engine = Engine::new(opened, manifest, limits)?;
        Ok(Self { engine, bundle, limits, options, past_npu: None })
    }

    /// Finds objects in `picture`, a [`Frame`](crate::Frame) or what a camera gives. Under [`BackendChoice::Auto`], once the NPU is given up, a bundle with a CPU model goes
    /// on with that, from this frame on: see [`Detector::fallback`].
    ///
    /// # Errors
    /// [`Error::Input`] when the picture's sides and bytes do not fit together; [`Error::Backend`] or [`Error::Npu`] when
    /// the engine fails.
    pub fn detect<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Detections<'_>, Error> {
        let started = Instant::now();
        let picture = picture.into();
        let inferred = match self.engine.infer(picture) {
            Err(error) if self.cpu_takes_over(&error)? => self.engine.infer(picture)?,
            outcome => outcome?,
        };
        let Inferred { map, preprocessed, inferred } = inferred;
        let boxes = self.engine.decoder.detect(&self.engine.outputs, &map)?;
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
        self.engine.decoder = decoder(&self.engine.opened, self.bundle.manifest(), limits)?;
        self.limits = limits;
        Ok(())
    }

    /// What the bundle says about its model.
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// Name of the trusted key that signed the bundle; none where [`Options::trust`] asks for none.
    pub fn signer(&self) -> Option<&str> {
        self.bundle.signer()
    }

    /// The picture of [`Manifest::check_images`] at `index`.
    ///
    /// # Errors
    /// [`Error::Artifact`] when there is none or the file has changed since it was opened; [`Error::Input`] when it is no
    /// image.
    pub fn check_image(&mut self, index: usize) -> Result<Image, Error> {
        let bytes = self.bundle.read_check_image(index)?;
        let name = self.manifest().check_images.get(index).map_or("check image", |image| image.name.as_str());
        frame::parse_image(name, &bytes)
    }

    /// Class names by [`Detection::class`].
    pub fn classes(&self) -> &[String] {
        &self.manifest().classes
    }

    /// The engine that runs.
    pub fn backend(&self) -> BackendKind {
        self.engine.opened.backend
    }

    /// Name of the payload that runs.
    pub fn payload(&self) -> &str {
        &self.engine.opened.payload
    }

    /// Why [`BackendChoice::Auto`] passed over a better engine, or left it, if it did.
    pub fn fallback(&self) -> Option<&str> {
        self.engine.opened.fallback.as_deref()
    }

    /// How long the NPU took for the last frame, by its own clock; none where another engine runs, or where it does not tell.
    pub fn npu_time(&mut self) -> Option<Duration> {
        self.engine.opened.session.npu_time()
    }

    /// What happened on the NPU so far, whether it still runs or the CPU has taken over; none where it never ran.
    pub fn npu_report(&self) -> Option<PoolReport> {
        self.engine.opened.session.npu_report().or(self.past_npu)
    }

    /// Changes to the CPU where `error` is the NPU's last and the caller leaves the choice to us; says whether it did.
    fn cpu_takes_over(&mut self, error: &Error) -> Result<bool, Error> {
        let Some(reason) = backend::given_up(error).filter(|_| self.options.backend == BackendChoice::Auto)
        else {
            return Ok(false);
        };
        if !backend::has_payload(&self.bundle, BackendKind::Tract) {
            return Ok(false);
        }
        let opened = backend::open(&mut self.bundle, BackendChoice::Tract, &self.options.npu)?;
        self.past_npu = self.engine.opened.session.npu_report();
        let opened = Opened { fallback: Some(reason), ..opened };
        self.engine = Engine::new(opened, self.bundle.manifest(), self.limits)?;
        Ok(true)
    }
}

/// A frame whose outputs are there.
struct Inferred {
    map: LetterboxMap,
    preprocessed: Instant,
    inferred: Instant,
}

impl Engine {
    fn new(opened: Opened, manifest: &Manifest, limits: Limits) -> Result<Self, Error> {
        let session = &opened.session;
        let preprocessor = Preprocessor::new(&manifest.preprocess, session.input())?;
        let input = Tensor::zeroed(session.input());
        let outputs = session.outputs().iter().map(Tensor::zeroed).collect();
        let decoder = decoder(&opened, manifest, limits)?;
        Ok(Self { preprocessor, decoder, input, outputs, opened })
    }

    fn infer(&mut self, picture: Picture<'_>) -> Result<Inferred, Error> {
        let map = self.preprocessor.run(picture, &mut self.input)?;
        let preprocessed = Instant::now();
        self.opened.session.run(&self.input, &mut self.outputs)?;
        Ok(Inferred { map, preprocessed, inferred: Instant::now() })
    }
}

fn decoder(opened: &Opened, manifest: &Manifest, limits: Limits) -> Result<Decoder, Error> {
    Decoder::new(&manifest.decode, manifest.classes.len(), opened.session.outputs(), limits)
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX)
}
