//! Calibration's memory: of one image, however many there are.

use train_host::evaluate::Progress;
use train_host::model::Activation;
use train_host::quantize::{Images, observe};

use crate::support::calibration::{fused, images};

const IMGSZ: usize = 160;
/// Less than the inputs alone of the images more would take, were they kept: 252 of 0.3 MB.
const ROOM_BYTES: u64 = 32 << 20;

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let model = fused("yolov5n", Activation::Silu, IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let few = images(folder.path(), IMGSZ);
    let paths = few.paths().iter().cycle().take(64 * few.paths().len()).cloned();
    let many = Images::new(paths.collect(), Progress::Hidden).unwrap();
    observe(&model, &few).unwrap();
    let before = peak_bytes();
    assert_eq!(observe(&model, &many).unwrap().images, 256);
    let grown = peak_bytes() - before;
    assert!(grown < ROOM_BYTES, "{grown} bytes more than for {} images, from {before}", few.paths().len());
}

/// Most memory that this process had at once.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
