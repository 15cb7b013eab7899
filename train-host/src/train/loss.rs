//! YOLOv5's loss: CIoU for boxes, binary cross-entropy for objectness (target: the box's IoU) and classes.
//! Source of weights and balance: facts of YOLOv5 v6/v7; CIoU: Zheng et al., "Enhancing Geometric Factors…" (2020).

use tch::{Device, Kind, Reduction, Tensor};

use super::assign::{Level, Match, assign};
use super::hyper::Hyper;
use super::net::{to_i64, to_vec};
use crate::dataset::augment::PixelBox;
use crate::model::Head;
use crate::{Error, Result};

/// Weight of each output's objectness, finest first: for the usual three outputs, and for any other number.
const BALANCE_OF_THREE: [f64; 3] = [4.0, 1.0, 0.4];
const BALANCE: [f64; 5] = [4.0, 1.0, 0.25, 0.06, 0.02];
const EPS: f64 = 1e-7;

/// The loss of a batch and its parts, already weighted; `total` is multiplied by the batch size.
pub struct Loss {
    /// What to differentiate.
    pub total: Tensor,
    /// Box, objectness and class parts.
    pub parts: [f64; 3],
}

/// Computes the loss for one image size.
pub struct LossFunction {
    levels: Vec<Level>,
    classes: usize,
    gains: [f64; 3],
    hyper: Hyper,
}

impl LossFunction {
    /// Prepares grids and gains for square inputs of `imgsz` pixels.
    ///
    /// # Errors
    /// [`Error::Model`] when the head has no anchors.
    #[expect(clippy::cast_precision_loss, reason = "strides, classes and sides are small")]
    pub fn new(head: &Head, imgsz: usize, hyper: Hyper) -> Result<Self> {
        let levels: Vec<Level> = head
            .strides
            .iter()
            .zip(head.anchors_px()?)
            .map(|(&stride, anchors)| Level {
                width: imgsz / stride,
                height: imgsz / stride,
                stride: stride as f32,
                anchors: anchors.iter().map(|a| a.map(|side| side / stride as f32)).collect(),
            })
            .collect();
        let classes = head.classes.len();
        let per_level = 3.0 / levels.len() as f64;
        let gains = [
            hyper.box_gain * per_level,
            hyper.obj * (imgsz as f64 / 640.0).powi(2) * per_level,
            hyper.cls * classes as f64 / 80.0 * per_level,
        ];
        Ok(Self { levels, classes, gains, hyper })
    }

    /// Loss of the raw `outputs` against the boxes of each image (in pixels of the square input).
    ///
    /// # Errors
    /// [`Error::Backend`] when libtorch refuses or the loss is not finite.
    pub fn compute(&self, outputs: &[Tensor], targets: &[Vec<PixelBox>]) -> Result<Loss> {
        let device = outputs.first().map_or(Device::Cpu, Tensor::device);
        let zero = || Tensor::f_zeros([1], (Kind::Float, device));
        let (mut boxes, mut objectness, mut classes) = (zero()?, zero()?, zero()?);
        for (index, (output, level)) in outputs.iter().zip(&self.levels).enumerate() {
            let part = self.level(output, level, targets)?;
            boxes = boxes.f_add(&part.boxes)?;
            classes = classes.f_add(&part.classes)?;
            objectness = objectness.f_add(&part.objectness.f_mul_scalar(self.balance(index))?)?;
        }
        let weighted = [
            boxes.f_mul_scalar(self.gains[0])?,
            objectness.f_mul_scalar(self.gains[1])?,
            classes.f_mul_scalar(self.gains[2])?,
        ];
        let parts = [value(&weighted[0])?, value(&weighted[1])?, value(&weighted[2])?];
        let total =
            weighted[0].f_add(&weighted[1])?.f_add(&weighted[2])?.f_mul_scalar(to_i64(targets.len()))?;
        Ok(Loss { total, parts })
    }

    fn balance(&self, output: usize) -> f64 {
        let weights: &[f64] =
            if self.levels.len() == BALANCE_OF_THREE.len() { &BALANCE_OF_THREE } else { &BALANCE };
        weights[output.min(weights.len() - 1)]
    }

    fn level(&self, output: &Tensor, level: &Level, targets: &[Vec<PixelBox>]) -> Result<Parts> {
        let device = output.device();
        let values = to_i64(5 + self.classes);
        let anchors = to_i64(level.anchors.len());
        let (height, width) = (to_i64(level.height), to_i64(level.width));
        let grid = output.f_view([to_i64(targets.len()), anchors, values, height, width])?;
        let matches = assign(targets, level, self.hyper.anchor_t);
        let mut wanted = vec![0.0f32; targets.len() * level.anchors.len() * level.height * level.width];
        let zero = || Tensor::f_zeros([1], (Kind::Float, device));
        let (mut boxes, mut classes) = (zero()?, zero()?);
        if !matches.is_empty() {
            let rows = gather(&grid, level, &matches, values)?;
            let iou = ciou(&predicted(&rows, level, &matches)?, &target_boxes(&matches, device)?)?;
            boxes = iou.f_mul_scalar(-1)?.f_add_scalar(1)?.f_mean(Kind::Float)?;
            for (m, iou) in matches.iter().zip(to_vec(&iou)?) {
                wanted[m.flat_index(level)] = iou.max(0.0);
            }
            if self.classes > 1 {
                classes = self.class_loss(&rows, &matches)?;
            }
        }
        let wanted = Tensor::f_from_slice(&wanted)?
            .f_view([to_i64(targets.len()), anchors, height, width])?
            .f_to_device(device)?;
        let objectness = cross_entropy(&grid.f_select(2, 4)?, &wanted, self.hyper.obj_pw)?;
        Ok(Parts { boxes, objectness, classes })
    }

    fn class_loss(&self, rows: &Tensor, matches: &[Match]) -> Result<Tensor> {
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of 1")]
        let (low, high) =
            ((self.hyper.label_smoothing / 2.0) as f32, (1.0 - self.hyper.label_smoothing / 2.0) as f32);
        let mut wanted = vec![low; matches.len() * self.classes];
        for (row, m) in matches.iter().enumerate() {
            wanted[row * self.classes + m.class] = high;
        }
        let wanted = Tensor::f_from_slice(&wanted)?
            .f_view([to_i64(matches.len()), to_i64(self.classes)])?
            .f_to_device(rows.device())?;
        cross_entropy(&rows.f_narrow(1, 5, to_i64(self.classes))?, &wanted, self.hyper.cls_pw)
    }
}

struct Parts {
    boxes: Tensor,
    objectness: Tensor,
    classes: Tensor,
}

/// Rows `[matches, 5 + classes]` of the raw predictions. `index_select` rather than indexing: its backward adds up
/// rows in a fixed order, so that runs repeat bit for bit.
fn gather(grid: &Tensor, level: &Level, matches: &[Match], values: i64) -> Result<Tensor> {
    let index: Vec<i64> = matches.iter().map(|m| to_i64(m.flat_index(level))).collect();
    let index = Tensor::f_from_slice(&index)?.f_to_device(grid.device())?;
    Ok(grid.f_permute([0, 1, 3, 4, 2])?.f_reshape([-1, values])?.f_index_select(0, &index)?)
}

/// Center (relative to the cell) and size in cells: xy = 2σ − 0.5, wh = (2σ)²·anchor.
fn predicted(rows: &Tensor, level: &Level, matches: &[Match]) -> Result<Tensor> {
    let anchors: Vec<f32> = matches.iter().flat_map(|m| level.anchors[m.anchor]).collect();
    let anchors = Tensor::f_from_slice(&anchors)?.f_view([-1, 2])?.f_to_device(rows.device())?;
    let center = rows.f_narrow(1, 0, 2)?.f_sigmoid()?.f_mul_scalar(2)?.f_add_scalar(-0.5)?;
    let size = rows.f_narrow(1, 2, 2)?.f_sigmoid()?.f_mul_scalar(2)?.f_square()?.f_mul(&anchors)?;
    Ok(Tensor::f_cat(&[center, size], 1)?)
}

fn target_boxes(matches: &[Match], device: Device) -> Result<Tensor> {
    let flat: Vec<f32> = matches.iter().flat_map(|m| m.target).collect();
    Ok(Tensor::f_from_slice(&flat)?.f_view([-1, 4])?.f_to_device(device)?)
}

/// Complete IoU of boxes `[n, 4]` given as center and size; result `[n]`.
fn ciou(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let column = |t: &Tensor, i: i64| t.f_select(1, i);
    let (aw, ah, bw, bh) = (column(a, 2)?, column(a, 3)?, column(b, 2)?, column(b, 3)?);
    let edges = |t: &Tensor, center: i64, size: &Tensor| -> Result<(Tensor, Tensor)> {
        let (middle, half) = (column(t, center)?, size.f_mul_scalar(0.5)?);
        Ok((middle.f_sub(&half)?, middle.f_add(&half)?))
    };
    let ((ax0, ax1), (ay0, ay1)) = (edges(a, 0, &aw)?, edges(a, 1, &ah)?);
    let ((bx0, bx1), (by0, by1)) = (edges(b, 0, &bw)?, edges(b, 1, &bh)?);
    let overlap = |lo1: &Tensor, hi1: &Tensor, lo2: &Tensor, hi2: &Tensor| -> Result<Tensor> {
        Ok(hi1.f_minimum(hi2)?.f_sub(&lo1.f_maximum(lo2)?)?.f_clamp_min(0)?)
    };
    let intersection = overlap(&ax0, &ax1, &bx0, &bx1)?.f_mul(&overlap(&ay0, &ay1, &by0, &by1)?)?;
    let union = aw.f_mul(&ah)?.f_add(&bw.f_mul(&bh)?)?.f_sub(&intersection)?.f_add_scalar(EPS)?;
    let iou = intersection.f_div(&union)?;

    let span = |lo1: &Tensor, hi1: &Tensor, lo2: &Tensor, hi2: &Tensor| -> Result<Tensor> {
        Ok(hi1.f_maximum(hi2)?.f_sub(&lo1.f_minimum(lo2)?)?.f_square()?)
    };
    let diagonal = span(&ax0, &ax1, &bx0, &bx1)?.f_add(&span(&ay0, &ay1, &by0, &by1)?)?.f_add_scalar(EPS)?;
    let apart = |i: i64| -> Result<Tensor> { Ok(column(a, i)?.f_sub(&column(b, i)?)?.f_square()?) };
    let distance = apart(0)?.f_add(&apart(1)?)?.f_div(&diagonal)?;

    let angle = |w: &Tensor, h: &Tensor| w.f_div(&h.f_add_scalar(EPS)?)?.f_atan();
    let aspect = angle(&bw, &bh)?
        .f_sub(&angle(&aw, &ah)?)?
        .f_square()?
        .f_mul_scalar(4.0 / (std::f64::consts::PI * std::f64::consts::PI))?;
    let trade_off = tch::no_grad(|| aspect.f_div(&aspect.f_sub(&iou)?.f_add_scalar(1.0 + EPS)?))?;
    Ok(iou.f_sub(&distance)?.f_sub(&aspect.f_mul(&trade_off)?)?)
}

fn cross_entropy(logits: &Tensor, wanted: &Tensor, positive_weight: f64) -> Result<Tensor> {
    #[expect(clippy::cast_possible_truncation, reason = "a gain near 1")]
    let weight = Tensor::f_from_slice(&[positive_weight as f32])?.f_to_device(logits.device())?;
    Ok(logits.f_binary_cross_entropy_with_logits(wanted, None, Some(&weight), Reduction::Mean)?)
}

fn value(tensor: &Tensor) -> Result<f64> {
    let value = tensor.f_double_value(&[0])?;
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::backend(
        format!("the training loss became {value}"),
        "a finite loss",
        "check the labels with `train-host data inspect`; then start a new run with a lower lr0 or warmup_bias_lr in \
         --hyp, from this run's last whole epoch with --weights RUN if there is one",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 4])
    }

    #[test]
    fn ciou_of_equal_boxes_is_one() {
        let a = boxes(&[0.5, 0.5, 2.0, 3.0]);
        assert!((ciou(&a, &a).unwrap().double_value(&[0]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn ciou_matches_the_formula_by_hand() {
        // 2×2 boxes shifted by (1, 0): IoU 1/3, distance² 1, enclosing diagonal² 3² + 2² = 13, equal aspect.
        let found = ciou(&boxes(&[0.0, 0.0, 2.0, 2.0]), &boxes(&[1.0, 0.0, 2.0, 2.0])).unwrap();
        assert!((found.double_value(&[0]) - (1.0 / 3.0 - 1.0 / 13.0)).abs() < 1e-6);
        // Concentric 1×2 and 2×1: IoU 1/3, v = 4/π²·(atan 2 − atan ½)², α = v / (v − IoU + 1).
        let found = ciou(&boxes(&[0.0, 0.0, 1.0, 2.0]), &boxes(&[0.0, 0.0, 2.0, 1.0])).unwrap();
        let v = 4.0 / std::f64::consts::PI.powi(2) * (2f64.atan() - 0.5f64.atan()).powi(2);
        let expected = 1.0 / 3.0 - v * v / (v - 1.0 / 3.0 + 1.0);
        assert!((found.double_value(&[0]) - expected).abs() < 1e-6);
    }

    fn tiny() -> (LossFunction, Vec<Vec<PixelBox>>) {
        let head = Head::with_anchors(vec!["a".into(), "b".into()], vec![8], vec![vec![[16.0, 16.0]]]);
        let target = vec![vec![PixelBox { class: 1, x0: 3.0, y0: 6.0, x1: 21.0, y1: 20.0 }]];
        (LossFunction::new(&head, 32, Hyper::default()).unwrap(), target)
    }

    #[test]
    fn background_loss_is_the_cross_entropy_of_silence() {
        let (function, _) = tiny();
        let loss =
            function.compute(&[Tensor::zeros([1, 7, 4, 4], (Kind::Float, Device::Cpu))], &[vec![]]).unwrap();
        let expected = 2f64.ln() * 4.0 * 3.0 * (32.0f64 / 640.0).powi(2);
        assert!((loss.parts[1] - expected).abs() < 1e-6);
        assert_eq!((loss.parts[0], loss.parts[2]), (0.0, 0.0));
    }

    #[test]
    fn descending_the_loss_finds_the_object() {
        let (function, target) = tiny();
        let mut raw = Tensor::zeros([1, 7, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let first = function.compute(&[raw.shallow_clone()], &target).unwrap().parts;
        for round in 0..400 {
            let loss = function.compute(&[raw.shallow_clone()], &target).unwrap();
            raw.zero_grad();
            loss.total.backward();
            // Smaller and smaller: where edges meet, IoU has a kink that a constant step jumps over.
            let step = raw.grad() * (20.0 / (1.0 + f64::from(round) / 20.0));
            tch::no_grad(|| raw -= step);
        }
        let last = function.compute(&[raw.shallow_clone()], &target).unwrap().parts;
        assert!(last[0] < 0.2 * first[0] && last[2] < 0.3 * first[2], "{first:?} → {last:?}");
    }

    #[test]
    fn not_a_number_is_refused_with_a_hint() {
        let (function, target) = tiny();
        let raw = Tensor::full([1, 7, 4, 4], f64::NAN, (Kind::Float, Device::Cpu));
        let error = function.compute(&[raw], &target).err().unwrap().to_string();
        assert!(error.contains("NaN") && error.contains("lr0"), "{error}");
    }
}
