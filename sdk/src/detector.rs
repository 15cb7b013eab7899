//! The whole way from a frame to detections over one bundle, each stage timed. Where the caller lets it choose the engine,
//! an NPU that is given up is followed by the CPU.

use std::path::Path;
use std::time::{Duration, Instant};

use artifact::{BackendKind, Manifest, Tensor, TensorSpec, Trust};

use crate::backend::rknn::{PoolReport, RknnOptions};
use crate::backend::{BackendChoice, Session};
use crate::decode::{Decoder, Detection, Limits};
use crate::model::Model;
use crate::preprocess::{LetterboxMap, Preprocessor};
use crate::{Error, Image, Picture};

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
    model: Model<Box<dyn Session>>,
    desk: Desk,
    limits: Limits,
}

/// Everything made for the tensors of a session.
struct Desk {
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
        let limits = options.limits;
        let model = Model::open(path, options)?;
        let manifest = model.manifest();
        let limits = limits.unwrap_or(Limits::device(manifest.confidence, manifest.iou));
        Ok(Self { desk: Desk::new(&model, limits)?, model, limits })
    }

    /// Finds objects in `picture`, a [`Frame`](crate::Frame) or what a camera gives. Under [`BackendChoice::Auto`], once the
    /// NPU is given up, a bundle with a CPU model goes on with that, from this frame on: see [`Detector::fallback`].
    ///
    /// # Errors
    /// [`Error::Input`] when the picture's sides and bytes do not fit together; [`Error::Backend`] or [`Error::Npu`] when
    /// the engine fails.
    pub fn detect<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Detections<'_>, Error> {
        let started = Instant::now();
        let picture = picture.into();
        let inferred = match self.infer(picture) {
            Err(error) if self.cpu_takes_over(&error)? => self.infer(picture)?,
            outcome => outcome?,
        };
        let Inferred { map, preprocessed, inferred } = inferred;
        let boxes = self.desk.decoder.detect(&self.desk.outputs, &map)?;
        let times = StageTimes {
            preprocess_us: micros(preprocessed - started),
            inference_us: micros(inferred - preprocessed),
            decode_us: micros(inferred.elapsed()),
        };
        Ok(Detections { boxes, times })
    }

    fn infer(&mut self, picture: Picture<'_>) -> Result<Inferred, Error> {
        let Desk { preprocessor, input, outputs, .. } = &mut self.desk;
        let map = preprocessor.run(picture, input)?;
        let preprocessed = Instant::now();
        self.model.opened.session.run(input, outputs)?;
        Ok(Inferred { map, preprocessed, inferred: Instant::now() })
    }

    /// Changes what is kept.
    ///
    /// # Errors
    /// [`Error::Input`] when a limit is out of range.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), Error> {
        self.desk.decoder = decoder(self.model.manifest(), self.model.opened.session.outputs(), limits)?;
        self.limits = limits;
        Ok(())
    }

    /// What the bundle says about its model.
    pub fn manifest(&self) -> &Manifest {
        self.model.manifest()
    }

    /// Name of the trusted key that signed the bundle; none where [`Options::trust`] asks for none.
    pub fn signer(&self) -> Option<&str> {
        self.model.signer()
    }

    /// The picture of [`Manifest::check_images`] at `index`.
    ///
    /// # Errors
    /// As [`Model::check_image`].
    pub fn check_image(&mut self, index: usize) -> Result<Image, Error> {
        self.model.check_image(index)
    }

    /// Class names by [`Detection::class`].
    pub fn classes(&self) -> &[String] {
        &self.manifest().classes
    }

    /// The engine that runs.
    pub fn backend(&self) -> BackendKind {
        self.model.backend()
    }

    /// Name of the payload that runs.
    pub fn payload(&self) -> &str {
        self.model.payload()
    }

    /// Why [`BackendChoice::Auto`] passed over a better engine, or left it, if it did.
    pub fn fallback(&self) -> Option<&str> {
        self.model.fallback()
    }

    /// How long the NPU took for the last frame, by its own clock; none where another engine runs, or where it does not tell.
    pub fn npu_time(&mut self) -> Option<Duration> {
        self.model.opened.session.npu_time()
    }

    /// What happened on the NPU so far, whether it still runs or the CPU has taken over; none where it never ran.
    pub fn npu_report(&self) -> Option<PoolReport> {
        self.model.npu_report()
    }

    /// Version of the NPU's runtime library; none where another engine runs, or where it does not tell.
    pub fn npu_runtime(&self) -> Option<String> {
        self.model.opened.session.npu_runtime()
    }

    /// As [`Model::cpu_takes_over`], with everything made anew for the CPU's tensors.
    fn cpu_takes_over(&mut self, error: &Error) -> Result<bool, Error> {
        let has_changed = self.model.cpu_takes_over(error)?;
        if has_changed {
            self.desk = Desk::new(&self.model, self.limits)?;
        }
        Ok(has_changed)
    }
}

/// A frame whose outputs are there.
struct Inferred {
    map: LetterboxMap,
    preprocessed: Instant,
    inferred: Instant,
}

impl Desk {
    fn new(model: &Model<Box<dyn Session>>, limits: Limits) -> Result<Self, Error> {
        let (session, manifest) = (&model.opened.session, model.manifest());
        Ok(Self {
            preprocessor: Preprocessor::new(&manifest.preprocess, session.input())?,
            decoder: decoder(manifest, session.outputs(), limits)?,
            input: Tensor::zeroed(session.input()),
            outputs: session.outputs().iter().map(Tensor::zeroed).collect(),
        })
    }
}

/// What decodes `outputs` of the model that `manifest` describes.
pub(crate) fn decoder(manifest: &Manifest, outputs: &[TensorSpec], limits: Limits) -> Result<Decoder, Error> {
    Decoder::new(&manifest.decode, manifest.classes.len(), outputs, limits)
}

/// `time` in whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
