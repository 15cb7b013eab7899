//! What the example programs share: the arguments that say what a device accepts and which engine runs, printing, lists of images.
//! Knows nothing of any single program.

pub mod console;
pub mod device;
pub mod fraction;
pub mod images;
pub mod threads;
