//! How raw outputs tell box logits, and whether that fits the anchors: stated once for who writes a bundle, reads one and
//! decodes. Never touches a model's outputs.

use serde::{Deserialize, Serialize};

/// What a raw output holds of a logit: `value = gain · logit + offset`. Where boxes and scores share one int8 scale, box
/// logits are spread over the range that scores need, so that a step of them is finer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Values a logit takes, above 0.
    pub gain: f32,
    /// Value of the logit 0.
    pub offset: f32,
}

impl Spread {
    /// Values that are logits.
    pub const NONE: Self = Self { gain: 1.0, offset: 0.0 };

    /// The logit that `value` tells.
    pub fn logit(self, value: f32) -> f32 {
        (value - self.offset) / self.gain
    }

    /// Checks that the box channels of all `anchors_px` of each output are spread so that they tell logits, or none are.
    ///
    /// # Errors
    /// What was found and what was expected; what to do about it only the caller knows.
    pub fn expect_fits(
        spread: &[Vec<[Self; 4]>],
        anchors_px: &[Vec<[f32; 2]>],
    ) -> Result<(), (String, &'static str)> {
        let found: Vec<usize> = spread.iter().map(Vec::len).collect();
        let anchors: Vec<usize> = anchors_px.iter().map(Vec::len).collect();
        if !found.is_empty() && found != anchors {
            return Err((
                format!("box channels spread for {found:?} anchors of outputs that have {anchors:?}"),
                "a spread for each anchor of each output, or none at all",
            ));
        }
        match spread.iter().flatten().flatten().find(|spread| !spread.tells_logits()) {
            Some(Self { gain, offset }) => Err((
                format!("box channels spread by a gain of {gain} and an offset of {offset}"),
                "finite gains above 0 and finite offsets",
            )),
            None => Ok(()),
        }
    }

    /// Subnormal gains are left out: dividing by them overflows.
    fn tells_logits(&self) -> bool {
        self.gain.is_normal() && self.gain > 0.0 && self.offset.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_value_tells_its_logit() {
        assert_eq!(Spread { gain: 4.0, offset: -2.0 }.logit(6.0), 2.0);
        assert_eq!(Spread::NONE.logit(-0.3), -0.3);
    }

    #[test]
    fn all_anchors_are_spread_or_none() {
        let anchors_px = [vec![[1.0, 2.0]; 2], vec![[3.0, 4.0]]];
        let wide = [Spread { gain: 2.5, offset: -3.0 }; 4];
        for fits in [vec![], vec![vec![wide, [Spread::NONE; 4]], vec![wide]]] {
            Spread::expect_fits(&fits, &anchors_px).unwrap();
        }
        for misfit in [vec![vec![wide; 2]], vec![vec![wide], vec![wide; 2]], vec![vec![wide; 2], vec![]]] {
            let (found, expected) = Spread::expect_fits(&misfit, &anchors_px).unwrap_err();
            assert!(found.contains("anchors of outputs that have [2, 1]"), "{found}");
            assert!(expected.contains("or none"), "{expected}");
        }
        let (found, _) = Spread::expect_fits(&[vec![wide]], &[]).unwrap_err();
        assert!(found.contains("[1] anchors of outputs that have []"), "a head without anchors: {found}");
    }

    #[test]
    fn what_tells_no_logit_is_named() {
        let subnormal = f32::MIN_POSITIVE / 2.0;
        for (gain, offset) in [
            (0.0, 1.0),
            (-1.0, 1.0),
            (subnormal, 1.0),
            (f32::INFINITY, 1.0),
            (f32::NAN, 1.0),
            (2.0, f32::NAN),
            (2.0, f32::NEG_INFINITY),
        ] {
            let spoiled = [Spread::NONE, Spread::NONE, Spread { gain, offset }, Spread::NONE];
            let (found, expected) = Spread::expect_fits(&[vec![spoiled]], &[vec![[1.0, 2.0]]]).unwrap_err();
            assert!(found.contains(&format!("a gain of {gain} and an offset of {offset}")), "{found}");
            assert!(expected.contains("finite"), "{expected}");
        }
    }
}
