//! Judges an int8 model by how near it comes to its float model on some images: whether it finds the same objects, and the
//! error of what decoding sees. Needs no labels; never changes a model.

use repedge::backend::Session;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::agreement::Agreement;
use super::error::{OutputError, Reference, total};
use super::images::Images;
use crate::model::FusedModel;
use crate::{Error, Result};

/// Agreements this near to each other are taken for the same, and the error decides, which is steadier: on a dozen
/// images and their copies single objects move agreement by as much.
const MARGIN: f64 = 0.01;

/// How near an int8 model comes to its float model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// mAP, 0..1, with what the float model finds for labels; none where it finds nothing.
    pub agreement: Option<f64>,
    /// Error over all groups of output channels.
    pub total: f64,
    /// Error by group of output channels.
    pub outputs: Vec<OutputError>,
}

impl Verdict {
    /// Whether it finds clearly less than a model whose agreement is `other`.
    pub(super) fn finds_less_than(&self, other: f64) -> bool {
        self.agreement.is_some_and(|agreement| agreement < other - MARGIN)
    }

    /// Whether it is the better of two: it finds more, or as much with less error.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        match (self.agreement, other.agreement) {
            (Some(own), Some(theirs)) if (own - theirs).abs() > MARGIN => own > theirs,
            _ => self.total < other.total,
        }
    }
}

/// What the float model gives for some images, and finds on them and on altered copies of them.
pub(super) struct Judge<'a> {
    reference: Reference<'a>,
    agreement: Option<Agreement>,
    /// Where the copies are.
    _copies: TempDir,
}

impl<'a> Judge<'a> {
    /// Runs `model` over `images`.
    ///
    /// # Errors
    /// As [`Reference::of`], [`Agreement::of`] and [`Images::with_copies`]; an I/O error when there is no place for copies.
    pub fn new(model: &'a FusedModel, images: &Images) -> Result<Self> {
        let copies = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let agreement = Agreement::of(model, &images.with_copies(copies.path(), model.imgsz)?)?;
        Ok(Self { reference: Reference::of(model, images)?, agreement, _copies: copies })
    }

    /// Runs `session` over the same images.
    ///
    /// # Errors
    /// As [`Reference::errors`] and [`Agreement::measure`].
    pub fn measure(&self, session: &mut dyn Session) -> Result<Verdict> {
        let outputs = self.reference.errors(session)?;
        let agreement = self.agreement.as_ref().map(|agreement| agreement.measure(session)).transpose()?;
        Ok(Verdict { agreement, total: total(&outputs), outputs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(agreement: Option<f64>, total: f64) -> Verdict {
        Verdict { agreement, total, outputs: Vec::new() }
    }

    #[test]
    fn what_finds_more_is_better_and_error_decides_between_equals() {
        let base = verdict(Some(0.9), 0.2);
        assert!(verdict(Some(0.95), 0.3).is_better_than(&base));
        assert!(!verdict(Some(0.85), 0.1).is_better_than(&base));
        assert!(verdict(Some(0.895), 0.1).is_better_than(&base));
        assert!(!verdict(Some(0.905), 0.2).is_better_than(&base));
        assert!(verdict(None, 0.1).is_better_than(&verdict(None, 0.2)));
        assert!(base.finds_less_than(0.93) && !base.finds_less_than(0.91));
        assert!(!verdict(None, 9.0).finds_less_than(1.0));
    }
}
