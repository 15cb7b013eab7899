//! All chance in training comes from here: generators keyed by what they are for, so that any epoch of any run can be
//! repeated without knowing what came before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a generator is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The order of images in an epoch.
    Order,
    /// The augmentation of one picture.
    Augment,
    /// The order in which models that are compared take their turn.
    Turn,
}

/// The generator for `purpose` at (`epoch`, `index`) of a run with `seed`.
pub fn generator(seed: u64, purpose: Purpose, epoch: usize, index: usize) -> ChaCha8Rng {
    let words = [seed, purpose as u64 + 1, epoch as u64, index as u64];
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
