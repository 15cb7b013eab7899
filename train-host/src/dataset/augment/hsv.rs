//! Hue, saturation and value jitter.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Strength;

/// Multiplies hue, saturation and value by random gains near one (YOLOv5: `uniform(-1, 1) · gain + 1`).
pub(super) fn jitter(rgb: &mut [u8], strength: &Strength, rng: &mut ChaCha8Rng) {
    let mut gain = |limit: f32| 1.0 + (rng.random::<f32>() * 2.0 - 1.0) * limit;
    let (hue, saturation, value) = (gain(strength.hsv_h), gain(strength.hsv_s), gain(strength.hsv_v));
    if (hue, saturation, value) == (1.0, 1.0, 1.0) {
        return;
    }
    for pixel in rgb.chunks_exact_mut(3) {
        let (h, s, v) = to_hsv(f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        let turned = to_rgb(wrapped(h * hue), (s * saturation).min(1.0), (v * value).min(255.0));
        for (out, value) in pixel.iter_mut().zip(turned) {
            *out = to_byte(value);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating casts are what is wanted"
)]
fn to_byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Hue in sixths of the circle (0..6), saturation 0..1, value 0..255.
fn to_hsv(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let v = r.max(g).max(b);
    let delta = v - r.min(g).min(b);
    if delta <= 0.0 {
        return (0.0, 0.0, v);
    }
    let h = if v == r {
        (g - b) / delta
    } else if v == g {
        2.0 + (b - r) / delta
    } else {
        4.0 + (r - g) / delta
    };
    (if h < 0.0 { h + 6.0 } else { h }, delta / v, v)
}

/// `h` of 0..=12 brought to 0..6. Subtracting is exact here, and several times as fast as the remainder, which is a
/// library call.
fn wrapped(mut h: f32) -> f32 {
    while h >= 6.0 {
        h -= 6.0;
    }
    h
}

fn to_rgb(h: f32, s: f32, v: f32) -> [f32; 3] {
    let channel = |n: f32| {
        let k = wrapped(n + h);
        v - v * s * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_is_the_remainder_to_the_last_bit() {
        for step in 0..=120_000u32 {
            let h = step as f32 * 1e-4;
            assert_eq!(wrapped(h).to_bits(), h.rem_euclid(6.0).to_bits(), "{h}");
        }
        assert_eq!(wrapped(12.0), 0.0);
    }

    #[test]
    fn round_trip_keeps_every_corner_of_the_cube() {
        for r in (0..=255u8).step_by(51) {
            for g in (0..=255u8).step_by(51) {
                for b in (0..=255u8).step_by(51) {
                    let (h, s, v) = to_hsv(f32::from(r), f32::from(g), f32::from(b));
                    assert_eq!(to_rgb(h, s, v).map(to_byte), [r, g, b]);
                }
            }
        }
    }
}
