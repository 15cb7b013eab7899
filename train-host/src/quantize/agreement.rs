//! How far an int8 model finds what its float model finds: mAP with the float model's detections for labels. Needs no
//! labels, and is far steadier than mAP against people's, which moves with every image that the float model has wrong.

use repedge::backend::Session;

use super::images::{Images, input_spec};
use super::objects;
use crate::Result;
use crate::evaluate::{Evaluator, Options};
use crate::export::bundle;
use crate::model::FusedModel;

/// What the float model finds on some images.
pub(super) struct Agreement(Evaluator);

impl Agreement {
    /// Runs `model` over `images`; none where it finds nothing.
    ///
    /// # Errors
    /// [`Error::Runtime`](crate::Error::Runtime) when tract refuses the model or an image cannot be read.
    pub fn of(model: &FusedModel, images: &Images) -> Result<Option<Self>> {
        let found = objects::found(model, images)?;
        if found.samples.iter().all(|sample| sample.boxes.is_empty()) {
            return Ok(None);
        }
        let options = Options { progress: images.progress(), ..Options::default() };
        let head = &model.architecture.head;
        let (preprocess, decode) = (bundle::preprocess(model.imgsz), bundle::decode(head));
        Ok(Some(Self(Evaluator::new(&found, &preprocess, &decode, &input_spec(model.imgsz), &options)?)))
    }

    /// mAP of `session` against the float model's detections, 0..1.
    ///
    /// # Errors
    /// As [`Evaluator::run`].
    pub fn measure(&self, session: &mut dyn Session) -> Result<f64> {
        // There are labels, so that there is a figure.
        Ok(self.0.run(session)?.metrics.map.unwrap_or(0.0))
    }
}
