//! `eval` and `report` as a user runs them: trained, fused and bundled forms of one model, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use support::random_model;
use tempfile::TempDir;
use train_host::Result;
use train_host::cli::Cli;
use train_host::evaluate::Evaluation;
use train_host::model::checkpoint::{self, Checkpoint};
use train_host::model::{Overrides, TrainedModel};

const IMGSZ: usize = 64;

/// A folder with a dataset in `data/` and a run of an untrained model of its classes in `run/`.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let data = bench.path("data");
        let counts = ["--train", "2", "--val", "4", "--test", "3", "--size", "64"];
        train_host(&[&["data", "synth", "--out", &data][..], &counts].concat()).unwrap();
        let classes = classes(Path::new(&data));
        let TrainedModel { mut architecture, weights, imgsz } =
            random_model("repyolov5n", &Overrides::default(), classes.len(), IMGSZ);
        architecture.head.classes = classes;
        let model = Checkpoint::Trained(TrainedModel { architecture, weights, imgsz });
        checkpoint::save(Path::new(&bench.path("run/best.safetensors")), &model).unwrap();
        bench
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn eval(&self, model: &str, more: &[&str]) -> Result<Evaluation> {
        let json = self.path("eval.json");
        let words = ["eval", &self.path(model), "--data", &self.path("data"), &format!("--json={json}")];
        train_host(&[&words[..], more].concat())?;
        Ok(serde_json::from_value(read(&json)).unwrap())
    }

    fn refused(&self, model: &str, more: &[&str]) -> String {
        self.eval(model, more).unwrap_err().to_string()
    }

    fn a_test_image(&self) -> PathBuf {
        let folder = self.folder.path().join("data/images/test");
        let mut images: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        images.sort();
        images.remove(0)
    }
}

fn train_host(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host"], words].concat()).unwrap().run()
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The class names of a synthetic dataset.
fn classes(data: &Path) -> Vec<String> {
    let source = train_host::dataset::Source::open(data, train_host::dataset::Broken::Refuse).unwrap();
    source.classes().to_vec()
}

#[test]
fn trained_fused_and_bundled_forms_score_alike_and_make_one_report() {
    let bench = Bench::new();
    let [run, fused, bundle, fuse] =
        ["run", "fused.safetensors", "x.bundle", "fuse.json"].map(|n| bench.path(n));
    train_host(&["fuse", &run, "--out", &fused, &format!("--json={fuse}")]).unwrap();
    train_host(&["convert", &run, "--out", &bundle]).unwrap();

    let plots = bench.path("plots");
    let of_run = bench.eval("run", &["--plots", &plots]).unwrap();
    std::fs::rename(bench.path("eval.json"), bench.path("trained.json")).unwrap();
    let of_fused = bench.eval("fused.safetensors", &[]).unwrap();
    let of_bundle = bench.eval("x.bundle", &["--backend", "tract"]).unwrap();
    assert_eq!(of_fused.metrics, of_bundle.metrics);
    assert_eq!(of_run.metrics.labels, of_fused.metrics.labels);
    assert!((of_run.metrics.map50.unwrap() - of_fused.metrics.map50.unwrap()).abs() < 0.01);
    assert_eq!((of_run.metrics.images, of_run.input_px), (3, [IMGSZ, IMGSZ]));
    assert!(of_run.dataset.ends_with("data (test)") && of_bundle.backend == "tract");
    for name in ["pr.svg", "confusion.svg"] {
        let svg = std::fs::read_to_string(Path::new(&plots).join(name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    let document = read(&bench.path("eval.json"));
    for key in ["map50", "map", "precision", "recall"] {
        assert!(document[key].as_f64().is_some_and(|v| (0.0..=1.0).contains(&v)), "{key}: {}", document[key]);
    }

    let page = bench.path("report.html");
    let [trained, eval] = ["trained.json", "eval.json"].map(|name| bench.path(name));
    train_host(&["report", &run, "--trained", &trained, "--fused", &eval, "--fuse", &fuse, "--out", &page])
        .unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("change in points") && html.contains("Not in this report"));
    assert!(html.contains(&of_run.metrics.per_class[0].name));
}

#[test]
fn splits_and_sizes_are_chosen() {
    let bench = Bench::new();
    assert_eq!(bench.eval("run", &["--split", "val"]).unwrap().metrics.images, 4);
    assert_eq!(bench.eval("run", &["--imgsz", "96"]).unwrap().input_px, [96, 96]);
    assert!(bench.refused("run", &["--imgsz", "50"]).contains("50"));
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() {
    let bench = Bench::new();
    train_host(&["convert", &bench.path("run"), "--out", &bench.path("x.bundle")]).unwrap();
    assert!(bench.refused("x.bundle", &["--imgsz", "96"]).contains("64x64"));
    assert!(bench.refused("x.bundle", &["--backend", "rknn"]).contains("rknn"));
    assert!(bench.refused("absent.bundle", &[]).contains("absent.bundle"));
    assert!(bench.refused("absent", &[]).contains("absent"));
    assert!(bench.refused("run", &["--conf", "2"]).contains("confidence"));

    let yaml = bench.folder.path().join("data/data.yaml");
    let text = std::fs::read_to_string(&yaml).unwrap();
    let first = classes(Path::new(&bench.path("data"))).remove(0);
    std::fs::write(&yaml, text.replacen(&first, "newt", 1)).unwrap();
    assert!(bench.refused("run", &[]).contains("newt"));
}

#[test]
fn a_truncated_image_is_named_or_left_out_and_counted() {
    let bench = Bench::new();
    let image = bench.a_test_image();
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    let name = image.file_name().unwrap().to_str().unwrap();
    assert!(bench.refused("run", &[]).contains(name));
    let evaluation = bench.eval("run", &["--skip-broken"]).unwrap();
    assert_eq!((evaluation.metrics.images, evaluation.skipped), (2, 1));
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let bench = Bench::new();
    let page = bench.path("report.html");
    assert!(train_host(&["report", &bench.path("absent"), "--out", &page]).is_err());
    assert!(
        train_host(&["report", &bench.path("run"), "--fuse", &bench.path("absent"), "--out", &page]).is_err()
    );
    assert!(!Path::new(&page).exists());
    train_host(&["report", &bench.path("run"), "--out", &page]).unwrap();
    assert!(std::fs::read_to_string(&page).unwrap().contains("Training curves"));
}
