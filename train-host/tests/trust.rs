//! Signed bundles as a user makes them, and the pictures that travel in them for the self-test of devices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use artifact::{Bundle, Error, KeyRing, Trust};
use clap::Parser;
use repedge::selftest::{self, Length, Plan, Verdict};
use repedge::{BackendChoice, Detector, Options};
use signing::{KeyFiles, Protection};
use train_host::Result;
use train_host::cli::Cli;
use train_host::dataset::synth;

/// The small model that the repository ships.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/repyolov5p.safetensors");

fn train_host(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host"], words].concat()).unwrap().run()
}

/// A folder with a key and a few pictures of what the model knows.
struct Bench {
    dir: tempfile::TempDir,
    key: KeyFiles,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyFiles::of(&dir.path().join("keys"), "ours");
        key.generate(Protection::None).unwrap();
        let options = synth::Options { train: 1, val: 12, test: 0, side_px: 160, seed: 6 };
        synth::generate(&dir.path().join("synth"), &options).unwrap();
        Self { dir, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn convert(&self, more: &[&str]) -> PathBuf {
        let (out, data) = (self.text("x.bundle"), self.text("synth/data.yaml"));
        let words = ["convert", MODEL, "--out", &out, "--check-images", &data];
        train_host(&[&words[..], more].concat()).unwrap();
        out.into()
    }

    fn trust(&self, minimum_security_version: u32) -> Trust {
        let keys = KeyRing::read(&self.path("keys")).unwrap();
        Trust { minimum_security_version, ..Trust::keys(keys) }
    }
}

fn is_untrusted(path: &Path, trust: &Trust) -> bool {
    matches!(Bundle::open(path, trust), Err(Error::Untrusted(_)))
}

#[test]
fn a_signed_bundle_is_accepted_by_who_knows_the_key() {
    let bench = Bench::new();
    let key = bench.key.private.to_str().unwrap();
    let bundle = bench.convert(&["--sign", key, "--security-version", "3"]);
    let opened = Bundle::open(&bundle, &bench.trust(3)).unwrap();
    assert!(opened.signer().unwrap().ends_with("ours.pub"));
    assert_eq!(opened.manifest().security_version, 3);
    assert!(is_untrusted(&bundle, &bench.trust(4)), "a replay");
    assert!(is_untrusted(&bundle, &Trust::default()));
}

#[test]
fn a_bundle_can_be_signed_later_and_keeps_what_is_in_it() {
    let bench = Bench::new();
    let bundle = bench.convert(&[]);
    assert!(is_untrusted(&bundle, &bench.trust(0)));
    let mut before = Bundle::open(&bundle, &Trust::anyone()).unwrap();
    let (key, text) = (bench.key.private.to_str().unwrap(), bundle.to_str().unwrap());
    let signed = bench.text("signed.bundle");
    train_host(&["sign", text, "--key", key, "--out", &signed, "--security-version", "5"]).unwrap();
    assert!(is_untrusted(&bundle, &bench.trust(0)), "the other one is as it was");
    let mut after = Bundle::open(signed.as_ref(), &bench.trust(5)).unwrap();
    assert_eq!(before.read_parts().unwrap(), after.read_parts().unwrap());
    assert_eq!(before.manifest().check_images, after.manifest().check_images);
    train_host(&["sign", text, "--key", key]).unwrap();
    Bundle::open(&bundle, &bench.trust(0)).unwrap();
    let public = bench.key.public.to_str().unwrap();
    assert!(train_host(&["sign", text, "--key", public]).unwrap_err().to_string().contains("ours.pub"));
}

#[test]
fn the_packed_pictures_are_a_self_test_that_passes() {
    let bench = Bench::new();
    let bundle = bench.convert(&[]);
    let trust = Trust::anyone();
    let images = Bundle::open(&bundle, &trust).unwrap().manifest().check_images.clone();
    assert!((1..=8).contains(&images.len()));
    assert!(images.iter().all(|image| image.expected.iter().any(|it| it.score >= 0.5)));
    let options = Options { backend: BackendChoice::Tract, trust, ..Options::default() };
    let mut detector = Detector::open(&bundle, options).unwrap();
    let plan = Plan { board: "host".into(), length: Length::Quick, budget_fps: None, npu: None };
    let mut tenths = Vec::new();
    let outcome = selftest::run(&mut detector, &plan, |done| tenths.push(done)).unwrap();
    assert_eq!(tenths, (1..=10).collect::<Vec<_>>());
    let accuracy = outcome.report.accuracy.unwrap();
    assert_eq!((accuracy.verdict, accuracy.agreement), (Verdict::Pass, 1.0));
    assert!(accuracy.expected >= images.len());
}

#[test]
fn a_model_that_finds_nothing_packs_no_pictures() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("gray")).unwrap();
    let gray = repedge::Image::filled(320, 200, [114; 3]);
    repedge::frame::write_png(&bench.path("gray/gray.png"), &gray).unwrap();
    let (out, folder) = (bench.text("x.bundle"), bench.text("gray"));
    train_host(&["convert", MODEL, "--out", &out, "--check-images", &folder]).unwrap();
    assert!(Bundle::open(out.as_ref(), &Trust::anyone()).unwrap().manifest().check_images.is_empty());
}
