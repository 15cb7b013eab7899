//! RGA by itself.

use artifact::{DType, Layout, Preprocess, TensorSpec};
use repedge::frame::{Matrix, Range, YuvColor};
use repedge::preprocess::rga::{DmaLayout, Rga, RgaChoice, RgaError, RgaFailure, RgaVersion};
use repedge::preprocess::{LetterboxMap, Preprocessor};
use stand_in::rga::Rga as StandIn;

use crate::frames::{Camera, Input, nv12, smooth, yuyv};
use crate::npu;

/// Levels that a pixel may differ by: both round, the CPU samples and colors, the stand-in colors only.
const TOLERANCE: u8 = 2;

fn open(stand_in: &StandIn) -> Rga {
    Rga::open(&RgaChoice::File(stand_in.path().into())).unwrap()
}

fn letterbox(rga: &mut Rga, camera: &Camera, input: &Input) -> Result<LetterboxMap, RgaError> {
    let recipe = Preprocess::yolo(input.width_px, input.height_px);
    let map = LetterboxMap::fit(camera.layout.width_px, camera.layout.height_px, &recipe);
    rga.letterbox(&camera.frame(), &input.target(), &map, recipe.pad_value).map(|()| map)
}

/// What the CPU makes of it.
fn expected(camera: &Camera, input: &Input) -> (Vec<u8>, LetterboxMap) {
    let (width, height) = (input.width_px, input.height_px);
    let spec = TensorSpec {
        name: "images".into(),
        dtype: DType::U8,
        layout: Layout::Nhwc,
        shape: [1, height, width, 3],
        quant: None,
    };
    let mut pixels = vec![0; width * height * 3];
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(width, height), &spec).unwrap();
    let map = preprocessor.run_pixels(camera.picture(), &mut pixels).unwrap();
    (pixels, map)
}

#[test]
fn pixels_are_those_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let mut rga = open(&stand_in);
    assert_eq!(rga.version(), RgaVersion([1, 10, 0]));
    let full = YuvColor { matrix: Matrix::Bt601, range: Range::Full };
    let bt709 = YuvColor { matrix: Matrix::Bt709, range: Range::Limited };
    for (layout, input) in [
        (nv12(96, 64, 112), Input::new(64, 64, 192)),
        (yuyv(64, 96, 160), Input::new(64, 64, 192)),
        (DmaLayout { color: full, ..nv12(64, 64, 64) }, Input::new(64, 64, 240)),
        (DmaLayout { color: bt709, ..yuyv(32, 30, 64) }, Input::new(60, 64, 192)),
        // One row of bars below, thinner than can be filled.
        (nv12(64, 62, 64), Input::new(64, 63, 192)),
    ] {
        let camera = Camera::new(layout, smooth);
        let (pixels, map) = expected(&camera, &input);
        assert_eq!(letterbox(&mut rga, &camera, &input), Ok(map));
        let found = input.pixels();
        let worst = pixels.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(TOLERANCE), "{layout:?}: {worst:?}");
    }
    assert_eq!((stand_in.done(), stand_in.misuses()), (5, 0));
}

#[test]
fn buffers_are_imported_once_and_all_are_released() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let mut rga = open(&stand_in);
    let camera = || Camera::new(nv12(64, 64, 64), smooth);
    let (cameras, input) = ([camera(), camera()], Input::new(64, 64, 192));
    for round in 0..3 {
        for camera in &cameras {
            letterbox(&mut rga, camera, &input).unwrap();
        }
        assert_eq!(stand_in.handles(), 3, "round {round}");
    }
    let allocations = allocation_counter::measure(|| {
        letterbox(&mut rga, &cameras[0], &input).unwrap();
    });
    assert_eq!(allocations.count_total, 0);
    for _ in 0..30 {
        letterbox(&mut rga, &camera(), &input).unwrap();
        assert!(stand_in.handles() <= 16);
    }
    drop(rga);
    assert_eq!((stand_in.handles(), stand_in.misuses()), (0, 0));
}

#[test]
fn what_cannot_be_done_is_refused_before_the_device_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let mut rga = open(&stand_in);
    let mut failure = |layout, input: Input| {
        let error = letterbox(&mut rga, &Camera::new(layout, |_, _, _| 128), &input).unwrap_err();
        assert!(!error.to_string().is_empty());
        error.failure
    };
    let input = || Input::new(64, 64, 192);
    assert_eq!(failure(nv12(64, 64, 72), input()), RgaFailure::Stride);
    assert_eq!(failure(nv12(64, 64, 64), Input::new(60, 64, 180)), RgaFailure::Stride);
    assert_eq!(failure(yuyv(2, 2, 32), input()), RgaFailure::Scale);
    let full_bt709 = YuvColor { matrix: Matrix::Bt709, range: Range::Full };
    assert_eq!(failure(DmaLayout { color: full_bt709, ..nv12(64, 64, 64) }, input()), RgaFailure::Color);
    let short = input();
    short.file.set_len(192 * 64 - 1).unwrap();
    assert_eq!(failure(nv12(64, 64, 64), short), RgaFailure::ShortBuffer);
    drop(rga);
    assert_eq!((stand_in.done(), stand_in.misuses(), stand_in.handles()), (0, 0, 0));
}

#[test]
fn failures_are_told_with_the_librarys_words_and_leak_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let camera = Camera::new(nv12(96, 64, 96), smooth);
    // Two imports, two bars and the frame.
    let failures = [
        (0, RgaFailure::Import, "importbuffer_fd"),
        (1, RgaFailure::Import, "importbuffer_fd"),
        (2, RgaFailure::Call, "imfill_t"),
        (3, RgaFailure::Call, "imfill_t"),
        (4, RgaFailure::Call, "improcess"),
    ];
    for (calls, failure, name) in failures {
        let mut rga = open(&stand_in);
        stand_in.fail_after(calls);
        let error = letterbox(&mut rga, &camera, &Input::new(64, 64, 192)).unwrap_err();
        assert_eq!(error.failure, failure);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("the stand-in says no"), "{text}");
        drop(rga);
        assert_eq!(stand_in.handles(), 0);
    }
    stand_in.fail_after(5);
    letterbox(&mut open(&stand_in), &camera, &Input::new(64, 64, 192)).unwrap();
    assert_eq!(stand_in.misuses(), 0);
}

#[test]
fn libraries_that_are_none_or_too_old_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let refused = |file: &std::path::Path| Rga::open(&RgaChoice::File(file.into())).unwrap_err();
    stand_in.set_minor(8);
    let old = refused(stand_in.path());
    assert_eq!(old.failure, RgaFailure::Version);
    let text = old.to_string();
    assert!(text.contains("1.8.0") && text.contains("1.9.0") && text.contains("update librga"), "{text}");
    stand_in.set_minor(9);
    open(&stand_in);
    let missing = refused(&folder.path().join("librga.so"));
    assert_eq!(missing.failure, RgaFailure::MissingLibrary);
    let other = refused(&npu::runtime());
    assert_eq!(other.failure, RgaFailure::MissingFunction);
    assert!(other.to_string().contains("without querystring"), "{other}");
}

#[test]
fn a_slot_that_the_processor_has_written_to_is_no_target_until_it_was_run() {
    let mut pool = npu::pool(&npu::scenario("rga target"), &npu::options()).unwrap();
    assert!(pool.is_zero_copy());
    let mut slot = pool.slot().unwrap().unwrap();
    let target = slot.dma().expect("a DMA-BUF of the stand-in's");
    assert_eq!((target.width_px, target.height_px, target.row_bytes), (64, 64, 192));
    slot.pixels().unwrap().fill(0);
    assert!(slot.dma().is_none());
    pool.submit(slot);
    drop(pool.next().unwrap().result.unwrap());
    let mut slots = Vec::new();
    while let Some(slot) = pool.slot().unwrap() {
        slots.push(slot);
    }
    assert!(slots.len() > 1 && slots.iter_mut().all(|slot| slot.dma().is_some()));
}
