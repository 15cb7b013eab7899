//! Hyper-parameters: YOLOv5's names and `scratch-low` defaults, read from a YAML file that may leave any out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dataset::augment::Strength;
use crate::{Error, Result, yaml};

/// Training hyper-parameters. Keys and defaults are those of YOLOv5's `hyp.scratch-low`; a key that asks for what is
/// not built here (mixup, copy-paste, perspective, focal loss) must stay 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "hyper-parameters, one `key: number` a line")]
pub struct Hyper {
    /// Initial learning rate.
    pub lr0: f64,
    /// Final learning rate as a fraction of `lr0`.
    pub lrf: f64,
    /// SGD momentum.
    pub momentum: f64,
    /// L2 penalty of convolution weights, at a nominal batch.
    pub weight_decay: f64,
    /// Epochs of warm-up (at least 100 iterations).
    pub warmup_epochs: f64,
    /// Momentum at the first iteration.
    pub warmup_momentum: f64,
    /// Learning rate of biases at the first iteration.
    pub warmup_bias_lr: f64,
    /// Weight of the box loss.
    #[serde(rename = "box")]
    pub box_gain: f64,
    /// Weight of the class loss (at 80 classes and 3 outputs).
    pub cls: f64,
    /// Positive weight of the class loss.
    pub cls_pw: f64,
    /// Weight of the objectness loss (at 640 px).
    pub obj: f64,
    /// Positive weight of the objectness loss.
    pub obj_pw: f64,
    /// Largest ratio of side between an object and an anchor it is assigned to.
    pub anchor_t: f32,
    /// Label smoothing of classes.
    pub label_smoothing: f64,
    /// Hue gain.
    pub hsv_h: f32,
    /// Saturation gain.
    pub hsv_s: f32,
    /// Value gain.
    pub hsv_v: f32,
    /// Rotation, ± degrees.
    pub degrees: f32,
    /// Translation, ± fraction.
    pub translate: f32,
    /// Scale, ± gain.
    pub scale: f32,
    /// Shear, ± degrees.
    pub shear: f32,
    /// Probability of an upside-down flip.
    pub flipud: f32,
    /// Probability of a left-right flip.
    pub fliplr: f32,
    /// Probability of a mosaic.
    pub mosaic: f32,
    /// Not built: must be 0.
    pub perspective: f32,
    /// Not built: must be 0.
    pub mixup: f32,
    /// Not built: must be 0.
    pub copy_paste: f32,
    /// Not built (focal loss): must be 0.
    pub fl_gamma: f32,
    /// Ignored by YOLOv5 and here; accepted because its files carry it.
    pub iou_t: f32,
}

impl Default for Hyper {
    fn default() -> Self {
        Self {
            lr0: 0.01,
            lrf: 0.01,
            momentum: 0.937,
            weight_decay: 0.0005,
            warmup_epochs: 3.0,
            warmup_momentum: 0.8,
            warmup_bias_lr: 0.1,
            box_gain: 0.05,
            cls: 0.5,
            cls_pw: 1.0,
            obj: 1.0,
            obj_pw: 1.0,
            anchor_t: 4.0,
            label_smoothing: 0.0,
            hsv_h: 0.015,
            hsv_s: 0.7,
            hsv_v: 0.4,
            degrees: 0.0,
            translate: 0.1,
            scale: 0.5,
            shear: 0.0,
            flipud: 0.0,
            fliplr: 0.5,
            mosaic: 1.0,
            perspective: 0.0,
            mixup: 0.0,
            copy_paste: 0.0,
            fl_gamma: 0.0,
            iou_t: 0.2,
        }
    }
}

impl Hyper {
    /// Reads a YAML file; keys left out keep their defaults.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown key, a value out of range, or a feature that is not built.
    pub fn read(path: &Path) -> Result<Self> {
        let hyper: Self = yaml::parse(&yaml::read(path)?).map_err(|e| {
            Error::input(
                format!("{}: {e}", path.display()),
                "YOLOv5 hyper-parameters, one `key: number` a line",
                "remove or correct the key named above",
            )
        })?;
        hyper.validate()?;
        Ok(hyper)
    }

    fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("perspective", self.perspective),
            ("mixup", self.mixup),
            ("copy_paste", self.copy_paste),
            ("fl_gamma", self.fl_gamma),
        ] {
            if value != 0.0 {
                return Err(refused(name, f64::from(value), "0: this augmentation or loss is not built"));
            }
        }
        for (name, value) in [("lr0", self.lr0), ("anchor_t", f64::from(self.anchor_t))] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(refused(name, value, "a positive number"));
            }
        }
        for (name, value) in [
            ("lrf", self.lrf),
            ("momentum", self.momentum),
            ("warmup_momentum", self.warmup_momentum),
            ("label_smoothing", self.label_smoothing),
            ("hsv_h", self.hsv_h.into()),
            ("hsv_s", self.hsv_s.into()),
            ("hsv_v", self.hsv_v.into()),
            ("translate", self.translate.into()),
            ("scale", self.scale.into()),
            ("flipud", self.flipud.into()),
            ("fliplr", self.fliplr.into()),
            ("mosaic", self.mosaic.into()),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(refused(name, value, "a number from 0 to 1"));
            }
        }
        for (name, value) in [
            ("weight_decay", self.weight_decay),
            ("warmup_epochs", self.warmup_epochs),
            ("warmup_bias_lr", self.warmup_bias_lr),
            ("box", self.box_gain),
            ("cls", self.cls),
            ("cls_pw", self.cls_pw),
            ("obj", self.obj),
            ("obj_pw", self.obj_pw),
            ("degrees", self.degrees.into()),
            ("shear", self.shear.into()),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(refused(name, value, "a number of at least 0"));
            }
        }
        Ok(())
    }

    /// The augmentation part.
    pub fn strength(&self) -> Strength {
        Strength {
            hsv_h: self.hsv_h,
            hsv_s: self.hsv_s,
            hsv_v: self.hsv_v,
            degrees: self.degrees,
            translate: self.translate,
            scale: self.scale,
            shear: self.shear,
            flipud: self.flipud,
            fliplr: self.fliplr,
            mosaic: self.mosaic,
        }
    }
}

fn refused(name: &str, value: f64, expected: &str) -> Error {
    Error::input(
        format!("hyper-parameter {name} is {value}"),
        expected,
        "correct it in the file of hyper-parameters",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Hyper> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hyp.yaml");
        std::fs::write(&path, text).unwrap();
        Hyper::read(&path)
    }

    #[test]
    fn keys_left_out_keep_their_defaults() {
        let hyper = read("box: 0.1\nmosaic: 0.5\n").unwrap();
        assert_eq!(hyper, Hyper { box_gain: 0.1, mosaic: 0.5, ..Hyper::default() });
    }

    #[test]
    fn unknown_unbuilt_and_impossible_values_are_named() {
        for (text, name) in
            [("lr_zero: 1", "lr_zero"), ("mixup: 0.1", "mixup"), ("scale: -1", "scale"), ("lr0: .nan", "lr0")]
        {
            assert!(read(text).unwrap_err().to_string().contains(name), "{text}");
        }
    }
}
