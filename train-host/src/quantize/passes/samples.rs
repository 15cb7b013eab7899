//! What a convolution read and should have given at a sample of places: second moments that rounding needs, in memory
//! that does not grow with the images.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::model::{Conv, Shape};
use crate::quantize::focus::Focus;

/// Places looked at in each image, spread over the plane.
const PLACES: usize = 256;

/// Most memory for the sums of products of a convolution's inputs, which rounding needs a second time: they grow with the
/// square of what a kernel reads.
const BYTES: usize = 256 << 20;

/// What rounding is to bring near to the wanted outputs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Objective<'a> {
    /// How outputs vary about their mean: bias correction brings the mean itself.
    Spread,
    /// The outputs, with these biases.
    Outputs(&'a [f32]),
}

impl Objective<'_> {
    /// That of channel group `group`, which has `channels` output channels.
    pub fn of_group(self, group: usize, channels: usize) -> Self {
        match self {
            Self::Spread => Self::Spread,
            Self::Outputs(biases) => Self::Outputs(&biases[group * channels..][..channels]),
        }
    }
}

/// Sums over the sampled places of one channel group of a convolution.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    /// Taps of a kernel: input channels of the group times the kernel's area.
    pub taps: usize,
    /// Output channels of the group.
    pub channels: usize,
    /// Number of places.
    pub count: f64,
    /// Sum of each tap's inputs.
    inputs: Vec<f64>,
    /// Sum of each channel's wanted outputs.
    wanted: Vec<f64>,
    /// `taps × taps`, sums of products of inputs; only the lower triangle, which the upper would mirror.
    products: Vec<f32>,
    /// `channels × taps`, sums of products of wanted outputs and inputs.
    cross: Vec<f32>,
}

impl Moments {
    /// Empty moments, one for each channel group.
    pub fn of(conv: &Conv) -> Vec<Self> {
        let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
        let channels = conv.cout / conv.groups;
        let empty = Self {
            taps,
            channels,
            count: 0.0,
            inputs: vec![0.0; taps],
            wanted: vec![0.0; channels],
            products: vec![0.0; taps * taps],
            cross: vec![0.0; channels * taps],
        };
        vec![empty; conv.groups]
    }

    /// Whether the moments of `conv` are small enough to be taken.
    pub fn fit(conv: &Conv) -> bool {
        let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
        taps.saturating_mul(taps).saturating_mul(conv.groups).saturating_mul(size_of::<f32>()) <= BYTES
    }

    /// Mean input of each tap.
    pub fn mean_inputs(&self) -> Vec<f64> {
        self.inputs.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }

    /// Mean wanted output of channel `channel`.
    pub fn mean_wanted(&self, channel: usize) -> f64 {
        self.wanted[channel] / self.count.max(1.0)
    }

    /// Mean products of the inputs, `taps × taps`: for [`Objective::Spread`] their covariance.
    pub fn mean_products(&self, objective: Objective<'_>) -> Vec<f32> {
        let means = match objective {
            Objective::Spread => self.mean_inputs(),
            Objective::Outputs(_) => vec![0.0; self.taps],
        };
        let taps = self.taps;
        let mut means_of_products = self.products.clone();
        means_of_products.par_chunks_mut(taps).enumerate().for_each(|(row, values)| {
            for (column, value) in values.iter_mut().enumerate() {
                let sum = self.products[row.max(column) * taps + row.min(column)];
                *value = self.centered(sum, means[row], means[column]);
            }
        });
        means_of_products
    }

    /// Mean products of what channel `channel`'s weights should give and each input: for [`Objective::Spread`] their
    /// covariance. `channel` counts within the group, `objective`'s biases are the group's.
    pub fn mean_cross(&self, channel: usize, objective: Objective<'_>) -> Vec<f32> {
        let means = self.mean_inputs();
        let wanted = match objective {
            Objective::Spread => self.mean_wanted(channel),
            Objective::Outputs(biases) => f64::from(biases[channel]),
        };
        let row = &self.cross[channel * self.taps..][..self.taps];
        row.iter().zip(&means).map(|(&sum, &mean)| self.centered(sum, wanted, mean)).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "sums of f32 products")]
    fn centered(&self, sum: f32, a: f64, b: f64) -> f32 {
        (f64::from(sum) / self.count.max(1.0) - a * b) as f32
    }

    /// Adds sampled places: `inputs` is `taps × places`, `wanted` `channels × places`.
    fn add(&mut self, inputs: &[f32], wanted: &[f32], places: usize) {
        #[expect(clippy::cast_precision_loss, reason = "places are few")]
        let count = places as f64;
        self.count += count;
        for (sum, row) in self.inputs.iter_mut().zip(inputs.chunks(places)) {
            *sum += row.iter().copied().map(f64::from).sum::<f64>();
        }
        for (sum, row) in self.wanted.iter_mut().zip(wanted.chunks(places)) {
            *sum += row.iter().copied().map(f64::from).sum::<f64>();
        }
        let taps = self.taps;
        // The last rows are the longest: first, so that no thread is left with them alone.
        self.products.par_chunks_mut(taps).enumerate().rev().for_each(|(row, sums)| {
            add_products(&mut sums[..=row], &inputs[row * places..][..places], inputs);
        });
        self.cross
            .par_chunks_mut(taps)
            .zip(wanted.par_chunks(places))
            .for_each(|(sums, wanted)| add_products(sums, wanted, inputs));
    }
}

/// Adds what one image shows where `focus` looks: `input` is what the convolution reads, `wanted` what it should give.
pub(super) fn sample(
    moments: &mut [Moments],
    conv: &Conv,
    focus: &Focus,
    (input, shape): (&[f32], Shape),
    (wanted, wanted_shape): (&[f32], Shape),
) {
    let [_, height, width] = shape;
    let [_, out_height, out_width] = wanted_shape;
    let plane = out_height * out_width;
    let places = focus.places(out_height, out_width, PLACES);
    let per_group = conv.cin / conv.groups;
    for (group, moments) in moments.iter_mut().enumerate() {
        let mut inputs = Vec::with_capacity(moments.taps * places.len());
        for channel in group * per_group..(group + 1) * per_group {
            let values = &input[channel * height * width..][..height * width];
            for tap in 0..conv.kernel * conv.kernel {
                let (dy, dx) = (tap / conv.kernel * conv.dilation, tap % conv.kernel * conv.dilation);
                inputs.extend(places.iter().map(|place| {
                    let y = (place / out_width * conv.stride + dy).checked_sub(conv.pad);
                    let x = (place % out_width * conv.stride + dx).checked_sub(conv.pad);
                    match (y, x) {
                        (Some(y), Some(x)) if y < height && x < width => values[y * width + x],
                        _ => 0.0,
                    }
                }));
            }
        }
        let channels = group * moments.channels..(group + 1) * moments.channels;
        let wanted: Vec<f32> = channels
            .flat_map(|channel| places.iter().map(move |place| wanted[channel * plane + place]))
            .collect();
        moments.add(&inputs, &wanted, places.len());
    }
}

/// Adds to each of `sums` the product of `own` and of one row of `rows`. Eight sums side by side, so that the compiler
/// uses whole vectors.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_products(sums: &mut [f32], own: &[f32], rows: &[f32]) {
    let (own_chunks, own_rest) = own.as_chunks::<8>();
    for (sum, row) in sums.iter_mut().zip(rows.chunks(own.len())) {
        let (chunks, rest) = row.as_chunks::<8>();
        let mut lanes = [0.0_f32; 8];
        for (a, b) in own_chunks.iter().zip(chunks) {
            for lane in 0..8 {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = own_rest.iter().zip(rest).map(|(a, b)| a * b).sum();
        *sum += lanes.iter().sum::<f32>() + rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_what_was_read() {
        // A 1×1 convolution of two channels, over a plane with fewer places than are looked at: all are.
        let conv = Conv { cin: 2, cout: 1, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
        let input = [1.0, 2.0, 3.0, 4.0, 2.0, 2.0, 6.0, 6.0];
        let wanted = [0.0, 1.0, 1.0, 2.0];
        let mut moments = Moments::of(&conv);
        sample(&mut moments, &conv, &Focus::whole(4), (&input, [2, 2, 2]), (&wanted, [1, 2, 2]));
        let moments = &moments[0];
        assert_eq!(moments.count, 4.0);
        assert_eq!(moments.mean_inputs(), [2.5, 4.0]);
        assert_eq!(moments.mean_wanted(0), 1.0);
        // Var(1, 2, 3, 4) = 1.25, Var(2, 2, 6, 6) = 4, Cov = 2.
        assert_eq!(moments.mean_products(Objective::Spread), [1.25, 2.0, 2.0, 4.0]);
        assert_eq!(moments.mean_cross(0, Objective::Spread), [0.75, 1.0]);
        let outputs = Objective::Outputs(&[0.5]);
        assert_eq!(moments.mean_products(outputs), [7.5, 12.0, 12.0, 20.0]);
        // 13/4 and 20/4, less half the mean inputs.
        assert_eq!(moments.mean_cross(0, outputs), [2.0, 3.0]);
    }

    #[test]
    fn moments_of_the_widest_kernels_are_not_taken() {
        let conv = Conv { cin: 2, cout: 1, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 1, bias: true };
        // The widest of YOLOv5x reads 640 channels.
        assert!(Moments::fit(&Conv { cin: 640, ..conv }) && !Moments::fit(&Conv { cin: 1024, ..conv }));
        assert!(Moments::fit(&Conv { cin: 1024, groups: 1024, ..conv }), "each group's are small");
        assert!(!Moments::fit(&Conv { cin: usize::MAX, kernel: 1, ..conv }));
    }

    #[test]
    fn groups_strides_and_padding_choose_the_right_taps() {
        let conv = Conv { cin: 2, cout: 2, kernel: 3, stride: 2, pad: 1, dilation: 1, groups: 2, bias: true };
        let input: Vec<f32> = (0..18).map(|i| i as f32).collect();
        let mut moments = Moments::of(&conv);
        sample(&mut moments, &conv, &Focus::whole(4), (&input, [2, 3, 3]), (&[0.0; 8], [2, 2, 2]));
        // The middle tap reads the corners of each plane, the first tap only (1, 1) and padding.
        assert_eq!(moments[0].mean_inputs()[4], (0.0 + 2.0 + 6.0 + 8.0) / 4.0);
        assert_eq!(moments[1].mean_inputs()[4], (9.0 + 11.0 + 15.0 + 17.0) / 4.0);
        assert_eq!(moments[0].mean_inputs()[0], 4.0 / 4.0);
    }
}
