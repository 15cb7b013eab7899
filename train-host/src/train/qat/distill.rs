//! How far an int8 student is from its float teacher, as a loss: what decoding sees of the raw outputs, where there are
//! objects, and every channel by itself, everywhere. Needs no labels.

use tch::{Kind, Tensor};

use crate::Result;
use crate::model::{Boxes, Head};
use crate::train::net::to_i64;

/// Least variance, in parts of the mean over the tensor's channels, that the errors of a channel are measured in: in a
/// channel that hardly varies any error would look large.
const LEAST_VARIANCE: f64 = 1e-2;
/// Least sum of scores, and least variance of what decoding sees: keeps batches without objects finite.
const LEAST: f64 = 1e-6;

/// Groups of output channels: boxes, objectness, classes.
const GROUPS: usize = 3;

/// The loss for models with a head.
pub(super) struct Distillation<'a> {
    head: &'a Head,
}

/// Some channels of what a level of the feature pyramid gives, `[N, anchors, channels, H, W]`, in logits.
struct Part {
    /// Place of its group: 0 for boxes, 1 for objectness, 2 for classes.
    group: usize,
    teacher: Tensor,
    student: Tensor,
}

impl<'a> Distillation<'a> {
    /// The loss for models with `head`.
    pub fn new(head: &'a Head) -> Self {
        Self { head }
    }

    /// The loss of `student` against `teacher`: the raw outputs of both, then any other tensors of the two graphs. Two
    /// parts, that at objects and that of every channel.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when libtorch refuses.
    pub fn loss(&self, teacher: &[Tensor], student: &[Tensor]) -> Result<[Tensor; 2]> {
        let outputs = self.head.strides.len() * self.of_level();
        let pairs = teacher.iter().zip(student).map(|(teacher, student)| channels(teacher, student));
        let channels = Tensor::f_stack(&pairs.collect::<Result<Vec<_>>>()?, 0)?.f_mean(Kind::Float)?;
        let seen = self.seen(&teacher[..outputs], &student[..outputs])?;
        Ok([seen, channels])
    }

    fn of_level(&self) -> usize {
        match self.head.boxes {
            Boxes::Anchors { .. } => 1,
            Boxes::Distances { .. } => 2,
        }
    }

    /// Mean squared error of the outputs' sigmoids in parts of their variance, where each counts by the score of its box,
    /// the teacher's or the student's. Not what judges: that counts boxes by their overlap, see `quantize::stakes`.
    fn seen(&self, teacher: &[Tensor], student: &[Tensor]) -> Result<Tensor> {
        let mut sums: [Vec<[Tensor; 4]>; GROUPS] = Default::default();
        let levels = teacher.chunks(self.of_level()).zip(student.chunks(self.of_level()));
        for (level, (teacher, student)) in levels.enumerate() {
            let parts = self.parts(level, teacher, student)?;
            let scores =
                [score(&parts, |part| &part.teacher)?, score(&parts, |part| &part.student)?.f_detach()?];
            let weight = scores[0].f_maximum(&scores[1])?;
            for part in parts {
                let (teacher, student) = (part.teacher.f_sigmoid()?, part.student.f_sigmoid()?);
                let weighted =
                    |values: &Tensor| -> Result<Tensor> { Ok(values.f_mul(&weight)?.f_sum(Kind::Float)?) };
                let weights = weighted(&teacher.f_ones_like()?)?;
                let error = weighted(&student.f_sub(&teacher)?.f_square()?)?;
                sums[part.group].push([weights, weighted(&teacher)?, weighted(&teacher.f_square()?)?, error]);
            }
        }
        let groups = sums.iter().filter(|group| !group.is_empty()).map(|group| relative(group));
        Ok(Tensor::f_stack(&groups.collect::<Result<Vec<_>>>()?, 0)?.f_mean(Kind::Float)?)
    }

    fn parts(&self, level: usize, teacher: &[Tensor], student: &[Tensor]) -> Result<Vec<Part>> {
        let classes = to_i64(self.head.classes.len());
        let spans: Vec<Vec<(usize, i64, i64)>> = match self.head.boxes {
            Boxes::Anchors { .. } => vec![vec![(0, 0, 4), (1, 4, 1), (2, 5, classes)]],
            Boxes::Distances { reg_max } => vec![vec![(0, 0, 4 * to_i64(reg_max))], vec![(2, 0, classes)]],
        };
        let mut parts = Vec::new();
        for ((teacher, student), spans) in teacher.iter().zip(student).zip(spans) {
            let channels: i64 = spans.iter().map(|&(_, _, length)| length).sum();
            let (batch, _, height, width) = teacher.size4()?;
            let by_anchor = |values: &Tensor| values.f_reshape([batch, -1, channels, height, width]);
            let (teacher, student) = (by_anchor(teacher)?, by_anchor(student)?);
            for (group, start, length) in spans {
                let [teacher, student] = [&teacher, &student].map(|values| {
                    let values = values.f_narrow(2, start, length)?;
                    if group == 0 { self.box_logits(level, values) } else { Ok(values) }
                });
                parts.push(Part { group, teacher: teacher?, student: student? });
            }
        }
        Ok(parts)
    }
}

impl Distillation<'_> {
    /// What the box channels of a level, `[N, anchors, channels, H, W]`, tell of their logits.
    fn box_logits(&self, level: usize, values: Tensor) -> Result<Tensor> {
        let Some(spread) = self.head.spread.get(level) else { return Ok(values) };
        let all = || spread.iter().flatten();
        let of_channel = |numbers: Vec<f32>| -> Result<Tensor> {
            let numbers = Tensor::f_from_slice(&numbers)?.f_to_device(values.device())?;
            Ok(numbers.f_reshape([1, to_i64(spread.len()), -1, 1, 1])?)
        };
        let offset = of_channel(all().map(|spread| spread.offset).collect())?;
        let gain = of_channel(all().map(|spread| spread.gain).collect())?;
        Ok(values.f_sub(&offset)?.f_div(&gain)?)
    }
}

/// The score of each box, `[N, anchors, 1, H, W]`: its best class, times its objectness where there is one.
fn score<'a>(parts: &'a [Part], logits: impl Fn(&'a Part) -> &'a Tensor) -> Result<Tensor> {
    let mut score: Option<Tensor> = None;
    let scoring = parts.iter().filter(|part| part.group > 0);
    for part in scoring {
        let best = logits(part).f_amax(2, true)?.f_sigmoid()?;
        score = Some(match score {
            Some(score) => score.f_mul(&best)?,
            None => best,
        });
    }
    score.ok_or_else(|| {
        crate::Error::model("a head without scores", "objectness or classes", "report this as a bug")
    })
}

/// The squared errors of a group in parts of the variance of its values.
fn relative(group: &[[Tensor; 4]]) -> Result<Tensor> {
    let sum = |at: usize| -> Result<Tensor> {
        let parts: Vec<&Tensor> = group.iter().map(|sums| &sums[at]).collect();
        Ok(Tensor::f_stack(&parts, 0)?.f_sum(Kind::Float)?)
    };
    let (weights, values, squares, errors) = (sum(0)?.f_add_scalar(LEAST)?, sum(1)?, sum(2)?, sum(3)?);
    let variance = squares.f_div(&weights)?.f_sub(&values.f_div(&weights)?.f_square()?)?;
    Ok(errors.f_div(&weights)?.f_div(&variance.f_clamp_min(LEAST)?)?)
}

/// Mean over the channels of `[N, C, H, W]` of the squared error in parts of the teacher's variance in that channel.
fn channels(teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
    let all: &[i64] = &[0, 2, 3];
    let mean = teacher.f_mean_dim(all, true, Kind::Float)?;
    let variance = teacher.f_sub(&mean)?.f_square()?.f_mean_dim(all, false, Kind::Float)?;
    let least = variance.f_mean(Kind::Float)?.f_mul_scalar(LEAST_VARIANCE)?.f_add_scalar(LEAST)?;
    let errors = student.f_sub(teacher)?.f_square()?.f_mean_dim(all, false, Kind::Float)?;
    Ok(errors.f_div(&variance.f_maximum(&least)?)?.f_mean(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(boxes: Boxes, levels: usize) -> Head {
        Head { classes: vec!["a".into(), "b".into()], strides: vec![8; levels], boxes, spread: Vec::new() }
    }

    fn values(shape: [i64; 4], seed: i64) -> Tensor {
        let count: i64 = shape.iter().product();
        let ramp = Tensor::arange(count, (Kind::Float, tch::Device::Cpu));
        ((ramp * 0.7 + seed).sin() * 3.0).view(shape)
    }

    #[test]
    fn what_is_alike_costs_nothing_and_more_error_costs_more() {
        let anchors = head(Boxes::Anchors { anchors_px: vec![vec![[1.0, 1.0]; 3]] }, 1);
        let split = head(Boxes::Distances { reg_max: 4 }, 1);
        let cases = [
            (anchors, vec![values([2, 21, 4, 4], 1), values([2, 5, 4, 4], 2)]),
            (split, vec![values([2, 16, 4, 4], 1), values([2, 2, 4, 4], 3), values([2, 5, 4, 4], 2)]),
        ];
        for (head, teacher) in cases {
            let loss = |offset: f64| {
                let student: Vec<Tensor> = teacher.iter().map(|values| values + offset).collect();
                Distillation::new(&head)
                    .loss(&teacher, &student)
                    .unwrap()
                    .map(|part| f64::try_from(part).unwrap())
            };
            assert_eq!(loss(0.0), [0.0; 2]);
            let (small, large) = (loss(0.05), loss(0.2));
            assert!((0..2).all(|part| 0.0 < small[part] && small[part] < large[part]), "{small:?} {large:?}");
        }
    }

    #[test]
    fn spread_boxes_are_seen_as_the_logits_that_they_tell() {
        use artifact::Spread;

        let plain = head(Boxes::Anchors { anchors_px: vec![vec![[1.0, 1.0]]] }, 1);
        let (gain, offset) = (4.0, -2.0);
        let spread = Head { spread: vec![vec![[Spread { gain, offset }; 4]]], ..plain.clone() };
        let (teacher, student) = (values([1, 7, 4, 4], 1), values([1, 7, 4, 4], 2));
        let stored = |logits: &Tensor| {
            let stored = logits.copy();
            let boxes = stored.narrow(1, 0, 4);
            stored.narrow(1, 0, 4).copy_(&(boxes * f64::from(gain) + f64::from(offset)));
            stored
        };
        let seen = |head: &Head, teacher: Tensor, student: Tensor| {
            f64::try_from(&Distillation::new(head).loss(&[teacher], &[student]).unwrap()[0]).unwrap()
        };
        let expected = seen(&plain, teacher.copy(), student.copy());
        let found = seen(&spread, stored(&teacher), stored(&student));
        assert!(expected > 0.0 && (found - expected).abs() < 1e-4 * expected, "{found} {expected}");
    }

    #[test]
    fn errors_where_neither_finds_anything_are_not_seen() {
        let head = head(Boxes::Anchors { anchors_px: vec![vec![[1.0, 1.0]]] }, 1);
        let teacher = values([1, 7, 4, 4], 0);
        // Objectness: an object at the first place only.
        let _ = teacher.narrow(1, 4, 1).fill_(-20.0);
        let _ = teacher.narrow(1, 4, 1).narrow(2, 0, 1).narrow(3, 0, 1).fill_(20.0);
        let moved = |row: i64| {
            let student = teacher.copy();
            let mut boxes = student.narrow(1, 0, 4).narrow(2, row, 1);
            let _ = boxes.g_add_scalar_(1.0);
            let [seen, _] = Distillation::new(&head).loss(&[teacher.copy()], &[student]).unwrap();
            f64::try_from(seen).unwrap()
        };
        assert!(moved(0) > 1e-3 && moved(2) < 1e-6, "{} {}", moved(0), moved(2));
    }

    #[test]
    fn channels_of_small_values_count_as_much_as_those_of_large_ones() {
        let scales = Tensor::from_slice(&[1.0_f32, 0.5]).view([1, 2, 1, 1]);
        let teacher = values([1, 2, 8, 8], 0) * &scales;
        let errors = |scale: [f32; 2]| {
            let noise = values([1, 2, 8, 8], 5) * Tensor::from_slice(&scale).view([1, 2, 1, 1]);
            f64::try_from(channels(&teacher, &(&teacher + noise)).unwrap()).unwrap()
        };
        let (first, second) = (errors([0.1, 0.0]), errors([0.0, 0.05]));
        assert!((first / second - 1.0).abs() < 0.2, "{first} {second}");
    }
}
