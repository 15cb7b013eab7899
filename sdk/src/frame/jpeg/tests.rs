//! Against zune-jpeg, sample by sample, and against damage of every kind.

mod damage;
mod other;

use jpeg_encoder::{ColorType, Encoder, QuantizationTableType, SamplingFactor};
use proptest::prelude::*;

use super::*;

const SAMPLINGS: [(SamplingFactor, [usize; 2]); 4] = [
    (SamplingFactor::F_1_1, [1, 1]),
    (SamplingFactor::F_2_1, [2, 1]),
    (SamplingFactor::F_2_2, [2, 2]),
    (SamplingFactor::F_1_2, [1, 2]),
];

/// Samples between smooth and rough, which begin elsewhere for each `seed`.
fn plane(sides_px: [usize; 2], seed: u32, roughness: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let value = |at: usize| {
        let (x, y) = (at % sides_px[0], at / sides_px[0]);
        state = state.wrapping_mul(0x915f_77f5).wrapping_add(0x3335_0201);
        let wave = (x * 7 + y * 3 + seed as usize % 200) % 256;
        let noise = (state >> 16) % (roughness + 1);
        (wave.min(255 - wave) * 2 + noise as usize).min(255).to_le_bytes()[0]
    };
    (0..sides_px[0] * sides_px[1]).map(value).collect()
}

/// What an image is made of.
#[derive(Debug, Clone)]
struct Recipe {
    sides_px: [usize; 2],
    sampling: usize,
    quality: u8,
    restart_interval: u16,
    seed: u32,
    roughness: u32,
}

impl Recipe {
    fn sharing(&self) -> [usize; 2] {
        SAMPLINGS[self.sampling].1
    }

    fn chroma_px(&self) -> [usize; 2] {
        [0, 1].map(|side| self.sides_px[side].div_ceil(self.sharing()[side]))
    }

    /// Y, U and V, each in its own resolution.
    fn planes(&self) -> [Vec<u8>; 3] {
        let Self { sides_px, seed, roughness, .. } = *self;
        let chroma = |seed| plane(self.chroma_px(), seed, roughness);
        [plane(sides_px, seed, roughness), chroma(seed ^ 0x55), chroma(seed ^ 0xaaaa)]
    }

    fn encoder<'v>(&self, out: &'v mut Vec<u8>) -> Encoder<&'v mut Vec<u8>> {
        let mut encoder = Encoder::new(out, self.quality);
        encoder.set_sampling_factor(SAMPLINGS[self.sampling].0);
        encoder.set_restart_interval(self.restart_interval);
        // The same for color, so that a gray image of it has the same coefficients.
        encoder.set_quantization_tables(QuantizationTableType::Flat, QuantizationTableType::Flat);
        encoder
    }

    fn encode(&self) -> Vec<u8> {
        let ([width, height], [across, down], [y, u, v]) = (self.sides_px, self.sharing(), self.planes());
        let pixels: Vec<u8> = (0..width * height)
            .flat_map(|at| {
                let chroma = at / width / down * self.chroma_px()[0] + at % width / across;
                [y[at], u[chroma], v[chroma]]
            })
            .collect();
        let mut out = Vec::new();
        let [width, height] = self.sides_px.map(|side| u16::try_from(side).unwrap());
        self.encoder(&mut out).encode(&pixels, width, height, ColorType::Ycbcr).unwrap();
        out
    }

    /// What zune-jpeg makes of each plane as a gray image.
    fn expected(&self) -> [Vec<u8>; 3] {
        let mut of = [self.sides_px, self.chroma_px(), self.chroma_px()].into_iter();
        self.planes().map(|plane| {
            let sides_px = of.next().unwrap();
            let mut out = Vec::new();
            let [width, height] = sides_px.map(|side| u16::try_from(side).unwrap());
            self.encoder(&mut out).encode(&plane, width, height, ColorType::Luma).unwrap();
            let (gray, _) = decode(&out).unwrap();
            gray.rgb.chunks(3).map(|pixel| pixel[0]).collect()
        })
    }
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let sides = [1_usize..70, 1_usize..50];
    (sides, 0..SAMPLINGS.len(), 1_u8..=100, 0_u16..9, any::<u32>(), 0_u32..256).prop_map(
        |(sides_px, sampling, quality, restart_interval, seed, roughness)| Recipe {
            sides_px,
            sampling,
            quality,
            restart_interval,
            seed,
            roughness,
        },
    )
}

fn decoded(bytes: &[u8]) -> Result<(Vec<u8>, [usize; 2], Packing), String> {
    let mut frame = Vec::new();
    let (sides_px, packing) = Motion::default().decode(bytes, Sides::Video, &mut frame)?;
    assert_eq!(frame.len(), packing.bytes(sides_px));
    Ok((frame, sides_px, packing))
}

/// Whether `bytes` are decoded here.
fn is_ours(bytes: &[u8]) -> bool {
    header::Header::read(bytes, &mut header::Tables::default()).is_some()
}

/// The largest difference.
fn distance(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Red, green and blue of full-range Y, U and V of BT.601.
fn rgb([y, u, v]: [u8; 3]) -> [u8; 3] {
    let [y, u, v] = [f64::from(y), f64::from(u) - 128.0, f64::from(v) - 128.0];
    let green = (0.299 * 1.402 * v + 0.114 * 1.772 * u) / 0.587;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
    [y + 1.402 * v, y - green, y + 1.772 * u].map(|value| value.round().clamp(0.0, 255.0) as u8)
}

/// Y, U and V of a frame that has them, each in its own resolution.
fn planes_of(frame: &[u8], [width, height]: [usize; 2], packing: Packing) -> [Vec<u8>; 3] {
    let every =
        |bytes: &[u8], first: usize, step: usize| bytes.iter().skip(first).step_by(step).copied().collect();
    match packing {
        Packing::Nv12 => {
            let (luma, chroma) = frame.split_at(width * height);
            [luma.to_vec(), every(chroma, 0, 2), every(chroma, 1, 2)]
        }
        Packing::Yuyv => [every(frame, 0, 2), every(frame, 1, 4), every(frame, 3, 4)],
        Packing::Rgb => panic!("no Y, U and V"),
    }
}

proptest! {
    #[test]
    fn samples_are_those_of_another_decoder(recipe in recipes()) {
        let bytes = recipe.encode();
        prop_assert!(is_ours(&bytes));
        let (frame, sides_px, packing) = decoded(&bytes).unwrap();
        prop_assert_eq!(sides_px, recipe.sides_px);
        let is_even = sides_px.iter().all(|side| side % 2 == 0);
        let expected_packing = match recipe.sharing() {
            [2, 2] if is_even => Packing::Nv12,
            [2, 1] if is_even => Packing::Yuyv,
            _ => Packing::Rgb,
        };
        prop_assert_eq!(packing, expected_packing);
        let expected = recipe.expected();
        if packing == Packing::Rgb {
            let ([width, _], [across, down]) = (sides_px, recipe.sharing());
            for (at, pixel) in frame.as_chunks::<3>().0.iter().enumerate() {
                let chroma = at / width / down * recipe.chroma_px()[0] + at % width / across;
                let expected = rgb([expected[0][at], expected[1][chroma], expected[2][chroma]]);
                // A sample may differ by one, and green has two of color.
                prop_assert!(distance(pixel, &expected) <= 4, "{:?} for {:?} at {}", pixel, expected, at);
            }
        } else {
            for (plane, expected) in planes_of(&frame, sides_px, packing).iter().zip(&expected) {
                prop_assert!(distance(plane, expected) <= 1);
            }
        }
    }

    #[test]
    fn gray_images_have_gray_pixels(recipe in recipes()) {
        let [plane, ..] = recipe.planes();
        let mut bytes = Vec::new();
        let [width, height] = recipe.sides_px.map(|side| u16::try_from(side).unwrap());
        recipe.encoder(&mut bytes).encode(&plane, width, height, ColorType::Luma).unwrap();
        prop_assert!(is_ours(&bytes));
        let (frame, sides_px, packing) = decoded(&bytes).unwrap();
        prop_assert_eq!((sides_px, packing), (recipe.sides_px, Packing::Rgb));
        prop_assert!(distance(&frame, &decode(&bytes).unwrap().0.rgb) <= 1);
    }
}

#[test]
fn pictures_look_as_another_decoder_shows_them() {
    for (sampling, _) in SAMPLINGS {
        let pixels: Vec<u8> = (0..64 * 48)
            .flat_map(|at| {
                [at % 64 * 3, at / 64 * 5, 200 - at % 64 * 2].map(|value: usize| value.to_le_bytes()[0])
            })
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 95);
        encoder.set_sampling_factor(sampling);
        encoder.encode(&pixels, 64, 48, ColorType::Rgb).unwrap();
        let (frame, sides_px, packing) = decoded(&bytes).unwrap();
        let shown = match packing {
            Packing::Rgb => frame,
            _ => {
                let [y, u, v] = planes_of(&frame, sides_px, packing);
                let down = 64 * 48 / 2 / u.len();
                let chroma = |at: usize| at / 64 / down * 32 + at % 64 / 2;
                (0..64 * 48).flat_map(|at| rgb([y[at], u[chroma(at)], v[chroma(at)]])).collect()
            }
        };
        // It blends the colors that pixels share into each other.
        assert!(distance(&shown, &decode(&bytes).unwrap().0.rgb) <= 12, "{packing:?}");
    }
}

#[test]
fn nothing_of_an_image_is_left_for_the_next() {
    let recipe =
        Recipe { sides_px: [48, 32], sampling: 2, quality: 80, restart_interval: 2, seed: 7, roughness: 90 };
    let made = |(sampling, seed)| Recipe { sampling, seed, ..recipe.clone() }.encode();
    let images: Vec<_> = (0..SAMPLINGS.len()).zip(0..).map(made).collect();
    let (mut motion, mut frame) = (Motion::default(), Vec::new());
    for image in images.iter().chain(images.iter().rev()) {
        let cut = [&image[..image.len() / 2], &[0xff, EOI]].concat();
        assert!(motion.decode(&cut, Sides::Video, &mut frame).is_err());
        let (sides_px, packing) = motion.decode(image, Sides::Exactly([48, 32]), &mut frame).unwrap();
        assert_eq!((frame.clone(), sides_px, packing), decoded(image).unwrap());
    }
}
