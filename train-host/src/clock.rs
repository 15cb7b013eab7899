//! The measuring itself: every frame through every session in turn. Knows nothing of models.

use std::time::Instant;

use artifact::Tensor;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use repedge::backend::Session;

use crate::Result;

/// Frames before the first that counts.
const WARM_UP_FRAMES: usize = 10;

/// Runs every frame through every session, in an order drawn anew for each frame; returns the times of each session in
/// microseconds.
///
/// # Errors
/// Those of the sessions.
pub fn clock(
    sessions: &mut [Box<dyn Session>],
    images: &[Tensor],
    frames: usize,
    seed: u64,
    bar: &ProgressBar,
) -> Result<Vec<Vec<f64>>> {
    let mut outputs: Vec<Vec<Tensor>> =
        sessions.iter().map(|session| session.outputs().iter().map(Tensor::zeroed).collect()).collect();
    let mut times = vec![Vec::with_capacity(frames); sessions.len()];
    let mut order: Vec<usize> = (0..sessions.len()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for number in 0..WARM_UP_FRAMES + frames {
        let image = &images[number % images.len()];
        order.shuffle(&mut rng);
        for &index in &order {
            let started = Instant::now();
            sessions[index].run(image, &mut outputs[index])?;
            let took = started.elapsed();
            if number >= WARM_UP_FRAMES {
                times[index].push(took.as_secs_f64() * 1e6);
            }
        }
        bar.set_position(number.saturating_sub(WARM_UP_FRAMES) as u64);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use artifact::{DType, Layout, TensorData, TensorSpec};

    use super::*;

    /// Notes its own number and the first value of each input.
    struct Noting {
        number: usize,
        spec: TensorSpec,
        calls: Arc<Mutex<Vec<(usize, u8)>>>,
    }

    impl Session for Noting {
        fn input(&self) -> &TensorSpec {
            &self.spec
        }

        fn outputs(&self) -> &[TensorSpec] {
            &[]
        }

        fn run(&mut self, input: &Tensor, _: &mut [Tensor]) -> std::result::Result<(), repedge::Error> {
            let TensorData::U8(values) = &input.data else { panic!("bytes") };
            self.calls.lock().unwrap().push((self.number, values[0]));
            Ok(())
        }
    }

    #[test]
    fn every_frame_meets_every_session_in_changing_order() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let spec = TensorSpec {
            name: "x".into(),
            dtype: DType::U8,
            layout: Layout::Nhwc,
            shape: [1; 4],
            quant: None,
        };
        let noting = |number| Noting { number, spec: spec.clone(), calls: calls.clone() };
        let mut sessions: Vec<Box<dyn Session>> = (0..3).map(|n| Box::new(noting(n)) as _).collect();
        let image = |value| Tensor { data: TensorData::U8(vec![value]), ..Tensor::zeroed(&spec) };
        let times = clock(&mut sessions, &[image(5), image(6)], 40, 1, &ProgressBar::hidden()).unwrap();
        assert_eq!(times.iter().map(Vec::len).collect::<Vec<_>>(), [40; 3]);
        let calls = calls.lock().unwrap();
        assert_eq!(calls.len(), 3 * (40 + WARM_UP_FRAMES));
        let mut orders = std::collections::HashSet::new();
        for (frame, of_frame) in calls.chunks(3).enumerate() {
            let value = if frame % 2 == 0 { 5 } else { 6 };
            assert!(of_frame.iter().all(|(_, seen)| *seen == value));
            let order: Vec<usize> = of_frame.iter().map(|(number, _)| *number).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            orders.insert(order);
        }
        assert_eq!(orders.len(), 6, "every order of three comes up in fifty frames");
    }
}
