//! Every named model goes the whole way as a user sends it: trained for a few steps, fused, converted, evaluated, and
//! looking at an image. With few channels, because here the structure is what may fail; with the activations in turn, so
//! that each meets several models and both blocks.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod support;

use std::path::Path;

use clap::Parser;
use repedge::{Detector, Limits, Options, Trust, frame};
use serde_json::Value;
use support::narrow_description;
use train_host::cli::Cli;
use train_host::import;
use train_host::model::{Activation, Block, Checkpoint, MODEL_NAMES, Op, Overrides};

const IMGSZ: &str = "64";
const ACTS: [Activation; 4] = [Activation::LeakyRelu, Activation::Relu, Activation::Silu, Activation::Mish];

/// Sixteen models in turn: every activation with four of them, every block with every activation.
fn variant(name: &str) -> Overrides {
    let at = MODEL_NAMES.iter().position(|known| *known == name).unwrap();
    let block = if (at / ACTS.len()).is_multiple_of(2) { Block::Repvgg } else { Block::Qarepvgg };
    Overrides { act: Some(ACTS[at % ACTS.len()]), block: Some(block) }
}

fn train_host(words: &[&str]) {
    let words = [&["train-host"], words].concat();
    Cli::try_parse_from(&words).unwrap().run().unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

struct Way {
    folder: tempfile::TempDir,
}

impl Way {
    fn new() -> Self {
        let way = Self { folder: tempfile::tempdir().unwrap() };
        let counts = ["--train", "4", "--val", "2", "--test", "2", "--size", IMGSZ];
        train_host(&[&["data", "synth", "--out", &way.path("data")][..], &counts].concat());
        way
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Two steps of training on two images each, and everything after.
    fn go(&self, name: &str) {
        let path = |suffix: &str| self.path(&format!("{name}{suffix}"));
        let (model, run, bundle) = (path(".yaml"), path(""), path(".bundle"));
        let variant = variant(name);
        let description = narrow_description(name, &variant, &["any".to_owned()]);
        std::fs::write(&model, description).unwrap();
        let sizes = ["--epochs", "1", "--imgsz", IMGSZ, "--batch", "2", "--nbs", "2", "--threads", "1"];
        let what = ["train", "--model", &model, "--data", &self.path("data"), "--out", &run];
        train_host(&[&what[..], &sizes].concat());
        self.assert_trained(&run, variant.act.unwrap());
        let json = |name: &str| format!("--json={}", self.path(name));
        train_host(&["fuse", &run, "--out", &path(".safetensors"), &json("fuse.json")]);
        assert!(self.json("fuse.json")["largest_error"].as_f64().unwrap() <= 1e-4);
        train_host(&["convert", &path(".safetensors"), "--out", &bundle]);
        train_host(&["eval", &bundle, "--data", &self.path("data"), "--split", "test", &json("eval.json")]);
        assert_eq!(self.json("eval.json")["images"], 2);
        self.assert_detects(&bundle);
    }

    fn assert_trained(&self, run: &str, act: Activation) {
        let rows = std::fs::read_to_string(Path::new(run).join("results.csv")).unwrap();
        let losses: Vec<f64> = rows
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .skip(1)
            .take(3)
            .map(|loss| loss.parse().unwrap())
            .collect();
        assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");
        // Weights that are not finite would have been refused.
        let Checkpoint::Trained(model) = import::load(Path::new(run)).unwrap() else {
            panic!("{run} is fused")
        };
        let acts = || model.architecture.graph.nodes.iter().filter(|node| matches!(node.op, Op::Act(_)));
        assert!(acts().count() > 5 && acts().all(|node| node.op == Op::Act(act)), "{run}: {act:?}");
    }

    fn assert_detects(&self, bundle: &str) {
        let limits = Some(Limits::device(1e-6, 0.45));
        let mut detector = Detector::open(
            Path::new(bundle),
            Options { limits, trust: Trust::anyone(), ..Options::default() },
        )
        .unwrap();
        let folder = self.folder.path().join("data/images/test");
        let image = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let image = frame::read_image(&image).unwrap();
        let found = detector.detect(image.frame()).unwrap();
        assert!(!found.boxes.is_empty(), "an untrained model finds something at so low a threshold");
        assert!(found.boxes.iter().all(|found| found.score.is_finite() && found.x0 < found.x1));
    }
}

#[test]
fn activations_meet_both_blocks_and_several_models() {
    for act in ACTS {
        let with = |name: &&&str| variant(name).act == Some(act);
        let blocks: Vec<Block> =
            MODEL_NAMES.iter().filter(with).map(|name| variant(name).block.unwrap()).collect();
        assert!(blocks.len() >= 3 && blocks.contains(&Block::Repvgg) && blocks.contains(&Block::Qarepvgg));
    }
}

#[test]
fn yolov5_of_every_size() {
    let way = Way::new();
    ["yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x"].iter().for_each(|name| way.go(name));
}

#[test]
fn yolov5_with_rep_blocks() {
    let way = Way::new();
    ["repyolov5n", "repyolov5s", "repyolov5m", "repyolov5s-lite", "repyolov5p"]
        .iter()
        .for_each(|name| way.go(name));
}

#[test]
fn yolov5_heads_on_repvgg_backbones() {
    let way = Way::new();
    ["yolov5s-repvgg-a1", "v5lite-g"].iter().for_each(|name| way.go(name));
}

#[test]
fn yolov3_spp_and_yolov4_plain_and_rep() {
    let way = Way::new();
    ["yolov3-spp", "repyolov3-spp", "yolov4", "repyolov4"].iter().for_each(|name| way.go(name));
}
