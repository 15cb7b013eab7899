//! A verified bundle and the engine that runs it, whoever feeds that: what [`Detector`](crate::Detector) and
//! [`pipeline`](crate::pipeline) have in common.

use std::path::Path;

use artifact::{BackendKind, Bundle, Manifest};

use crate::backend::rknn::PoolReport;
use crate::backend::{self, BackendChoice, Load, Opened};
use crate::detector::Options;
use crate::{Error, Image, frame};

/// A bundle loaded into an engine of kind `E`.
pub struct Model<E> {
    pub(crate) opened: Opened<E>,
    bundle: Bundle,
    options: Options,
    /// What happened on an NPU that the CPU has taken over from.
    past_npu: Option<PoolReport>,
}

impl<E: Load> Model<E> {
    /// Opens the bundle at `path` and loads its model; [`Options::limits`] are for who decodes what comes out.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the bundle is damaged or not trusted, [`Error::Backend`] or [`Error::Npu`] when no engine can run it.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let mut bundle = Bundle::open(path, &options.trust)?;
        let opened = backend::open_as(&mut bundle, options.backend, &options.npu)?;
        Ok(Self { opened, bundle, options, past_npu: None })
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

    /// The engine that runs.
    pub fn backend(&self) -> BackendKind {
        self.opened.backend
    }

    /// Name of the payload that runs.
    pub fn payload(&self) -> &str {
        &self.opened.payload
    }

    /// Why [`BackendChoice::Auto`] passed over a better engine, or left it, if it did.
    pub fn fallback(&self) -> Option<&str> {
        self.opened.fallback.as_deref()
    }

    /// What happened on the NPU so far, whether it still runs or the CPU has taken over; none where it never ran.
    pub fn npu_report(&self) -> Option<PoolReport> {
        self.opened.session.npu_report().or(self.past_npu)
    }

    /// Changes to the CPU where `error` is the NPU's last and the caller leaves the choice to us; says whether it did.
    pub(crate) fn cpu_takes_over(&mut self, error: &Error) -> Result<bool, Error> {
        let Some(reason) = backend::given_up(error).filter(|_| self.options.backend == BackendChoice::Auto)
        else {
            return Ok(false);
        };
        if !backend::has_payload(&self.bundle, BackendKind::Tract) {
            return Ok(false);
        }
        let opened = backend::open_as(&mut self.bundle, BackendChoice::Tract, &self.options.npu)?;
        self.past_npu = self.opened.session.npu_report();
        self.opened = Opened { fallback: Some(reason), ..opened };
        Ok(true)
    }
}
