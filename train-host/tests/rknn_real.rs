//! What the NPU's int8 costs the official yolov5n on photographs that were not calibrated on, in the vendor's simulator:
//! with our quantizer, which must cost there what it costs on the CPU, and with the toolkit's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use boards::Board;
use repedge::backend::Session;
use train_host::dataset::{Broken, Dataset, Source, Split};
use train_host::evaluate::{Evaluator, Matches, Options, Progress, paired_difference};
use train_host::export;
use train_host::export::bundle::{self, Deployed, Fallback, Release};
use train_host::fuse::fuse;
use train_host::import;
use train_host::model::{Checkpoint, FusedModel, Head};
use train_host::quantize::{Calibration, Images, Recipe, Switch, run, spread};
use train_host::rknn::{Algorithm, Delivery, NpuModel, Toolkit, computable, deliver, rebuild};

/// Most mAP that may lie between the simulator and the CPU, as a fraction: codes between two that one rounds up and the
/// other down, and convolutions that one computes in half floats and the other in int8.
const APART: f64 = 0.003;
/// Most mAP that our int8, which is the default, may lose.
const LOSS: f64 = 0.005;
/// Most mAP by which it may be behind the toolkit's, or it is the default no longer: what the interval of such a difference
/// leaves open on so few images. mAP decides, not mAP50, because boxes must be right and not only found.
const MARGIN: f64 = 0.005;
/// Most mAP that the toolkit's may lose: more says that it was driven wrongly.
const TOOLKIT_LOSS: f64 = 0.02;
/// Part of the multiply-adds that may stay in floats: what the command allows by itself.
const FLOAT_MACS: f64 = 0.05;
/// Longer than any step takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(1800);

#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn, ../shared/data (coco128, yolov5n.pt) and the time of cargo xtask test --long"]
fn the_simulator_finds_of_official_weights_what_the_cpu_finds() {
    let model = fused(&import::load(&shared("yolov5n.pt")).unwrap());
    let halves = halves().map(|[calib, test]| float_and_int8(&model, &calib, &test));
    expect_kept(&halves);
}

/// Rep blocks that begin as the official layers and are trained as rep blocks on the half that is calibrated on.
#[cfg(feature = "torch")]
#[test]
#[ignore = "needs rknn-toolkit2 of cargo xtask setup rknn, ../shared/data (coco128, yolov5n.pt) and the time of cargo xtask test --long"]
fn the_simulator_finds_of_rep_blocks_what_the_cpu_finds() {
    let halves = halves().map(|[calib, test]| float_and_int8(&trained_on(&calib), &calib, &test));
    expect_kept(&halves);
}

/// Checks what int8 costs by both halves, the NPU's against the CPU's, and says it.
fn expect_kept(found: &[Half; 2]) {
    let difference = |name: &str, int8: fn(&Half) -> &Matches| {
        let pairs = found.each_ref().map(|half| [&half.float, int8(half)]);
        let [map50, map] = paired_difference(&pairs, 0).unwrap();
        eprintln!("{name}: mAP50 {map50:?}, mAP {map:?}");
        map.value
    };
    let on_cpu = difference("ours on the CPU", |half| &half.cpu);
    let ours = difference("ours", |half| &half.ours);
    let toolkit = difference("the toolkit's", |half| &half.toolkit);
    assert!((ours - on_cpu).abs() <= APART, "{ours} in the simulator and {on_cpu} on the CPU");
    assert!(ours >= -LOSS && toolkit >= -TOOLKIT_LOSS, "{ours} and {toolkit}");
    assert!(ours >= toolkit - MARGIN, "ours, the default, loses {ours} and the toolkit's {toolkit}");
}

/// coco128 twice: one half to calibrate on and the other to measure on.
fn halves() -> [[Dataset; 2]; 2] {
    let all = Source::open(&shared("coco128/data.yaml"), Broken::Refuse).unwrap().split(Split::Val).unwrap();
    let [even, odd] = [half(&all, 0), half(&all, 1)];
    [[even.clone(), odd.clone()], [odd, even]]
}

fn fused(model: &Checkpoint) -> FusedModel {
    let Checkpoint::Trained(model) = model else { panic!("a trained model") };
    fuse(model).unwrap()
}

/// repyolov5n, from the official yolov5n on, trained on `images` for a while.
#[cfg(feature = "torch")]
fn trained_on(images: &Dataset) -> FusedModel {
    use clap::Parser;
    use std::fs;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for part in ["images", "labels"] {
        fs::create_dir(path(part)).unwrap();
    }
    for sample in &images.samples {
        let name = sample.image.file_name().unwrap();
        fs::copy(&sample.image, path("images").join(name)).unwrap();
        let labels = Path::new(name).with_extension("txt");
        let official = shared("coco128/labels/train2017").join(&labels);
        if official.exists() {
            fs::copy(&official, path("labels").join(&labels)).unwrap();
        }
    }
    let classes = serde_json::to_string(&images.classes).unwrap();
    fs::write(path("data.yaml"), format!("train: images\nval: images\nnames: {classes}\n")).unwrap();
    // Small steps: so few images shall not undo what the official weights know.
    fs::write(path("hyp.yaml"), "lr0: 0.001\nwarmup_epochs: 0\n").unwrap();
    let [data, hyp, run, weights] = [path("data.yaml"), path("hyp.yaml"), path("run"), shared("yolov5n.pt")]
        .map(|path| path.to_str().unwrap().to_owned());
    let words = ["train-host", "train", "--model", "repyolov5n", "--weights", &weights, "--data", &data];
    let more = ["--hyp", &hyp, "--epochs", "10", "--out", &run];
    train_host::cli::Cli::try_parse_from(words.into_iter().chain(more)).unwrap().run().unwrap();
    fused(&import::load(&import::resolve(Path::new(&run)).unwrap()).unwrap())
}

/// What was found on the images that were not calibrated on.
struct Half {
    float: Matches,
    cpu: Matches,
    ours: Matches,
    toolkit: Matches,
}

fn float_and_int8(model: &FusedModel, calib: &Dataset, test: &Dataset) -> Half {
    let board = Board::find("rk3588").unwrap();
    let images = Images::labeled(calib.clone(), Progress::Hidden).unwrap();
    let recipe = Recipe {
        method: None,
        rules: board.int8,
        equalize: Switch::Auto,
        adaround: Switch::Auto,
        bias_correction: Switch::Auto,
        float_macs: FLOAT_MACS,
    };
    let wide = spread(model, &images, board.int8).unwrap();
    let int8 = computable(&run(&wide, &Calibration::all(&images), &recipe).unwrap().model);
    let folder = tempfile::tempdir().unwrap();
    let simulated = |npu: NpuModel<'_>, on_cpu: &FusedModel| {
        let out = folder.path().join("x.bundle");
        let toolkit = Toolkit::find().unwrap();
        let delivery = Delivery {
            board: &board,
            npu,
            fallback: Fallback::None(Deployed::Fused(on_cpu)),
            images: images.paths(),
            release: Release::default(),
            out: &out,
            limit: PATIENT,
            progress: Progress::Hidden,
        };
        let delivered = deliver(&toolkit, &delivery).unwrap();
        eprintln!("{} tensors in half floats", delivered.half_tensors.len());
        rebuild(&toolkit, &out, PATIENT, Progress::Hidden).unwrap().0
    };
    let matches = |name: &str, session: &mut dyn Session, head: &Head| {
        let options = Options { progress: Progress::Hidden, ..Options::default() };
        let (preprocess, decode) = (bundle::preprocess(model.imgsz), bundle::decode(head));
        let evaluator = Evaluator::new(test, &preprocess, &decode, session.input(), &options).unwrap();
        let (evaluation, matches) = evaluator.run_matched(session).unwrap();
        eprintln!("{name}: mAP50 {:?}, mAP {:?}", evaluation.metrics.map50, evaluation.metrics.map);
        matches
    };
    let [plain_head, wide_head] = [model, &wide].map(|model| &model.architecture.head);
    let mut ours = simulated(NpuModel::Quantized(&int8), &wide);
    let mut toolkit = simulated(NpuModel::Calibrated(model, Algorithm::Normal), model);
    Half {
        float: matches("float", &mut export::session(model).unwrap(), plain_head),
        cpu: matches("ours on the CPU", &mut export::quantized_session(&int8).unwrap(), wide_head),
        ours: matches("ours", &mut ours, wide_head),
        toolkit: matches("the toolkit's", &mut toolkit, plain_head),
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
