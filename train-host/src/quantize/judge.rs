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

/// Agreements this near to each other, measured on one picture, are taken for the same, and the error decides, which is
/// steadier: single objects move agreement by as much. On more pictures it is less, by the root of their number: 0.03
/// on 16 images and their copies, by which agreement there was seen to differ from that on five times as many.
const MARGIN: f64 = 0.2;

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
    /// Whether it finds clearly less, by more than `margin`, than a model whose agreement is `other`.
    pub(super) fn finds_less_than(&self, other: f64, margin: f64) -> bool {
        self.agreement.is_some_and(|agreement| agreement < other - margin)
    }

    /// Whether it is to take the place of `best`, the choice among all those `seen`: it is better, and finds not clearly less
    /// than any of them, so that many small steps down do not add up.
    pub(super) fn replaces<'a>(
        &self,
        best: &Self,
        seen: impl Iterator<Item = &'a Self>,
        margin: f64,
    ) -> bool {
        let most = seen.filter_map(|verdict| verdict.agreement).fold(0.0, f64::max);
        self.is_better_than(best, margin) && !self.finds_less_than(most, margin)
    }

    /// Whether it is the better of two: it finds more, or within `margin` as much with less error.
    fn is_better_than(&self, other: &Self, margin: f64) -> bool {
        match (self.agreement, other.agreement) {
            (Some(own), Some(theirs)) if (own - theirs).abs() > margin => own > theirs,
            _ => self.total < other.total,
        }
    }
}

/// What the float model gives for some images, and finds on them and on altered copies of them.
pub(super) struct Judge<'a> {
    reference: Reference<'a>,
    agreement: Option<Agreement>,
    /// Agreements that differ by no more are the same.
    margin: f64,
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
        let pictures = images.with_copies(copies.path(), model.imgsz)?;
        let agreement = Agreement::of(model, &pictures)?;
        let margin = margin(pictures.paths().len());
        Ok(Self { reference: Reference::of(model, images)?, agreement, margin, _copies: copies })
    }

    /// By how much agreements have to differ for one to be the better.
    pub fn margin(&self) -> f64 {
        self.margin
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

#[expect(clippy::cast_precision_loss, reason = "pictures are few")]
fn margin(pictures: usize) -> f64 {
    MARGIN / (pictures.max(1) as f64).sqrt()
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
        let is_better = |agreement, total| verdict(agreement, total).is_better_than(&base, 0.01);
        assert!(is_better(Some(0.95), 0.3) && !is_better(Some(0.85), 0.1));
        assert!(is_better(Some(0.895), 0.1) && !is_better(Some(0.905), 0.2));
        assert!(verdict(Some(0.905), 0.3).is_better_than(&base, 0.004), "on more pictures it is clear");
        assert!(verdict(None, 0.1).is_better_than(&verdict(None, 0.2), 0.01));
        assert!(base.finds_less_than(0.93, 0.01) && !base.finds_less_than(0.905, 0.01));
        assert!(!verdict(None, 9.0).finds_less_than(1.0, 0.01));
    }

    #[test]
    fn small_steps_down_do_not_add_up() {
        let steps = [(0.900, 0.3), (0.892, 0.2), (0.884, 0.1)];
        let [first, second, third] = steps.map(|(agreement, total)| verdict(Some(agreement), total));
        assert!(second.replaces(&first, [&first].into_iter(), 0.01));
        assert!(
            !third.replaces(&second, [&first, &second].into_iter(), 0.01),
            "less than the first, clearly"
        );
        assert!(third.replaces(&second, [&second].into_iter(), 0.01));
        let blind = [0.2, 0.1].map(|total| verdict(None, total));
        assert!(blind[1].replaces(&blind[0], blind.iter(), 0.01));
    }

    #[test]
    fn more_pictures_tell_smaller_differences() {
        assert!((margin(48) - 0.0289).abs() < 1e-4 && (margin(96) - 0.0204).abs() < 1e-4);
        assert!(margin(0).is_finite());
    }
}
