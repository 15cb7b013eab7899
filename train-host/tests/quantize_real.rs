//! What int8 costs the official yolov5n on photographs that were not calibrated on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use boards::Int8;
use repedge::backend::tract::TractSession;
use train_host::dataset::{Broken, Dataset, Source, Split};
use train_host::evaluate::{Evaluator, Matches, Options, Progress, paired_difference};
use train_host::export::{self, bundle, onnx, qdq};
use train_host::fuse::fuse;
use train_host::import;
use train_host::model::{Checkpoint, FusedModel};
use train_host::quantize::{Images, Recipe, Switch, input_spec, run};

/// Most mAP that may be lost, as a fraction.
const LOSS_BAR: f64 = 0.005;
/// Least part of the multiply-adds in int8.
const INT8_BAR: f64 = 0.95;
/// Most of the float file's size.
const SIZE_BAR: f64 = 0.28;

#[test]
#[ignore = "needs ../shared/data (coco128, yolov5n.pt)"]
fn official_weights_keep_their_map_on_the_half_that_was_not_calibrated_on() {
    let Checkpoint::Trained(model) = import::load(&shared("yolov5n.pt")).unwrap() else {
        panic!("a trained model")
    };
    let model = fuse(&model).unwrap();
    let all = Source::open(&shared("coco128/data.yaml"), Broken::Refuse).unwrap().split(Split::Val).unwrap();
    let halves = [half(&all, 0), half(&all, 1)];
    let swapped = [(&halves[0], &halves[1]), (&halves[1], &halves[0])];
    let found = swapped.map(|(calib, test)| float_and_int8(&model, calib, test));
    for (name, _) in &found[0].variants {
        let of_variant =
            |half: &Half| half.variants.iter().find(|(other, _)| other == name).map(|(_, m)| m.clone());
        let [Some(first), Some(second)] = found.each_ref().map(of_variant) else { continue };
        let [map50, map] =
            paired_difference(&[[&found[0].float, &first], [&found[1].float, &second]], 0).unwrap();
        eprintln!("{name}: mAP50 {map50:?}, mAP {map:?}");
    }
    let pairs: Vec<[&Matches; 2]> = found.iter().map(|half| [&half.float, half.chosen()]).collect();
    let [map50, map] = paired_difference(&pairs, 0).unwrap();
    eprintln!("mean of both halves: mAP50 {map50:?}, mAP {map:?}");
    assert!(map.value >= -LOSS_BAR, "{map:?}");
    for half in &found {
        let Half { int8_share, size_ratio, .. } = half;
        assert!(*int8_share >= INT8_BAR, "{int8_share} of the multiply-adds in int8");
        assert!(*size_ratio <= SIZE_BAR, "{size_ratio} of the float file's size");
    }
}

/// What was measured on the images that were not calibrated on.
struct Half {
    float: Matches,
    /// The quantizations on the way.
    variants: Vec<(String, Matches)>,
    /// Which of them was chosen.
    chosen: usize,
    int8_share: f64,
    size_ratio: f64,
}

impl Half {
    fn chosen(&self) -> &Matches {
        &self.variants[self.chosen].1
    }
}

/// What the float model and int8 models calibrated on `calib` find on `test`.
fn float_and_int8(model: &FusedModel, calib: &Dataset, test: &Dataset) -> Half {
    let images = Images::labeled(calib.clone(), Progress::Hidden).unwrap();
    let int8 = run(model, &images, &recipe()).unwrap();
    eprintln!("{:#?}", int8.record.passes);
    let sizes = [qdq::write(&int8.model).unwrap().len(), onnx::write(model).unwrap().len()];
    let options = Options { progress: Progress::Hidden, ..Options::default() };
    let (preprocess, decode) = (bundle::preprocess(model.imgsz), bundle::decode(&model.architecture.head));
    let evaluator = Evaluator::new(test, &preprocess, &decode, &input_spec(model.imgsz), &options).unwrap();
    let matches = |name: &str, mut session: TractSession| {
        let (evaluation, matches) = evaluator.run_matched(&mut session).unwrap();
        eprintln!("{name}: mAP50 {:?}, mAP {:?}", evaluation.metrics.map50, evaluation.metrics.map);
        matches
    };
    Half {
        float: matches("float", export::session(model).unwrap()),
        variants: int8
            .variants
            .iter()
            .map(|variant| {
                let session = export::quantized_session(&variant.model).unwrap();
                (variant.name.clone(), matches(&variant.name, session))
            })
            .collect(),
        chosen: int8.chosen,
        int8_share: int8.record.macs.share(),
        size_ratio: sizes[0] as f64 / sizes[1] as f64,
    }
}

/// What the command does when it is told nothing.
fn recipe() -> Recipe {
    Recipe {
        method: None,
        rules: Int8::default(),
        equalize: Switch::Auto,
        adaround: Switch::Auto,
        bias_correction: Switch::Auto,
        float_macs: 1.0 - INT8_BAR,
    }
}

/// Every second image, from `first` on.
fn half(all: &Dataset, first: usize) -> Dataset {
    Dataset { samples: all.samples.iter().skip(first).step_by(2).cloned().collect(), ..all.clone() }
}

fn shared(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("REPEDGE_SHARED_DATA").map_or(beside, PathBuf::from).join(name)
}
