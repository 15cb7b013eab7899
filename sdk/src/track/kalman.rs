//! Where a box is and how it moves: one Kalman filter of constant velocity for each of its center and sides. They are
//! independent of each other, so that each is two numbers and their covariance instead of one matrix of 8×8.

use crate::Detection;

/// Standard deviations, as parts of the box's size: of a measured coordinate, and of a velocity at first, per second.
const MEASURED: f32 = 0.05;
const FIRST_VELOCITY: f32 = 2.0;
/// How much a velocity changes in a second, as a part of the box's size.
const ACCELERATION: f32 = 1.0;
/// Least size of a box, in pixels: nothing may be known exactly.
const LEAST_PX: f32 = 1.0;

/// Center and sides of a box, each with its velocity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motion {
    /// x and y of the center, width and height.
    axes: [Axis; 4],
}

impl Motion {
    /// Resting where `found` is.
    pub(super) fn at(found: &Detection) -> Self {
        let size = size(found);
        Self { axes: measured(found).map(|position| Axis::at(position, size)) }
    }

    /// Moves on by `seconds`.
    pub(super) fn predict(&mut self, seconds: f32) {
        let size = self.size();
        for axis in &mut self.axes {
            axis.predict(seconds, size);
        }
    }

    /// Takes in what was measured.
    pub(super) fn correct(&mut self, found: &Detection) {
        let size = size(found);
        for (axis, position) in self.axes.iter_mut().zip(measured(found)) {
            axis.correct(position, size);
        }
    }

    /// Ends growing and shrinking.
    pub(super) fn keep_size(&mut self) {
        for axis in &mut self.axes[2..] {
            axis.velocity = 0.0;
        }
    }

    /// `found`, moved to where the box is thought to be.
    pub(super) fn place(&self, found: Detection) -> Detection {
        let [x, y, width, height] = self.axes.map(|axis| axis.position);
        let (half_width, half_height) = (width.max(0.0) / 2.0, height.max(0.0) / 2.0);
        Detection {
            x0: x - half_width,
            y0: y - half_height,
            x1: x + half_width,
            y1: y + half_height,
            ..found
        }
    }

    fn size(&self) -> f32 {
        (f32::midpoint(self.axes[2].position, self.axes[3].position)).max(LEAST_PX)
    }
}

fn measured(found: &Detection) -> [f32; 4] {
    let center = [f32::midpoint(found.x0, found.x1), f32::midpoint(found.y0, found.y1)];
    [center[0], center[1], found.x1 - found.x0, found.y1 - found.y0]
}

fn size(found: &Detection) -> f32 {
    f32::midpoint(found.x1 - found.x0, found.y1 - found.y0).max(LEAST_PX)
}

/// A coordinate, its velocity per second, and how sure both are.
#[derive(Debug, Clone, Copy)]
struct Axis {
    position: f32,
    velocity: f32,
    /// Variance of the position, covariance of both, variance of the velocity.
    covariance: [f32; 3],
}

impl Axis {
    fn at(position: f32, size: f32) -> Self {
        let covariance = [(2.0 * MEASURED * size).powi(2), 0.0, (FIRST_VELOCITY * size).powi(2)];
        Self { position, velocity: 0.0, covariance }
    }

    fn predict(&mut self, seconds: f32, size: f32) {
        let [pp, pv, vv] = self.covariance;
        // Accelerations are taken for white noise of this power.
        let noise = (ACCELERATION * size).powi(2) * seconds;
        self.position += self.velocity * seconds;
        self.covariance = [
            pp + 2.0 * pv * seconds + vv * seconds * seconds + noise * seconds * seconds / 3.0,
            pv + vv * seconds + noise * seconds / 2.0,
            vv + noise,
        ];
    }

    fn correct(&mut self, measured: f32, size: f32) {
        let [pp, pv, vv] = self.covariance;
        let total = pp + (MEASURED * size).powi(2);
        let gains = [pp / total, pv / total];
        let surprise = measured - self.position;
        self.position += gains[0] * surprise;
        self.velocity += gains[1] * surprise;
        self.covariance = [(1.0 - gains[0]) * pp, (1.0 - gains[0]) * pv, vv - gains[1] * pv];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(frames: u16, seconds: f32, position: impl Fn(f32) -> f32) -> Axis {
        let mut axis = Axis::at(position(0.0), 100.0);
        for frame in 1..=frames {
            axis.predict(seconds, 100.0);
            axis.correct(position(f32::from(frame) * seconds), 100.0);
        }
        axis
    }

    #[test]
    fn a_constant_velocity_is_learned_whatever_the_frame_rate() {
        for (frames, seconds) in [(60, 1.0 / 30.0), (20, 0.1)] {
            let axis = follow(frames, seconds, |at| 50.0 + 80.0 * at);
            assert!((axis.velocity - 80.0).abs() < 1.0, "{axis:?}");
            assert!((axis.position - 210.0).abs() < 1.0, "{axis:?}");
        }
    }

    #[test]
    fn more_time_without_sight_is_less_certainty() {
        let mut axis = follow(30, 1.0 / 30.0, |_| 10.0);
        let [sure, _, _] = axis.covariance;
        axis.predict(0.5, 100.0);
        let [unsure, _, _] = axis.covariance;
        assert!(unsure > 4.0 * sure, "{sure} {unsure}");
    }

    #[test]
    fn time_split_in_two_predicts_the_same() {
        let start = follow(10, 1.0 / 30.0, |at| at * at);
        let (mut once, mut twice) = (start, start);
        once.predict(0.2, 100.0);
        twice.predict(0.1, 100.0);
        twice.predict(0.1, 100.0);
        assert!((once.position - twice.position).abs() < 1e-3);
        for (a, b) in once.covariance.iter().zip(twice.covariance) {
            assert!((a - b).abs() < 1e-3 * a.abs(), "{once:?} {twice:?}");
        }
    }
}
