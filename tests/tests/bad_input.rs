//! Everything a user can get wrong: each a clear error with a hint, a non-zero exit, and nothing half-written.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::{epochs_done, kill_after, program, refused, run, small_dataset, small_training, text};

struct Bench {
    folder: TempDir,
    data: PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = small_dataset(folder.path())?;
        Ok(Self { folder, data })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Trains with `model` and expects a refusal that holds `words` and a hint, and no run folder.
    fn training_refused(&self, model: &str, words: &[&str], more: &[&str]) -> Result<()> {
        let out = self.file("refused");
        let mut arguments = small_training(model, text(&self.data)?, "1", text(&out)?);
        arguments.extend(more);
        expect(&refused("train-host", &arguments)?, words)?;
        ensure!(!out.exists(), "{} was left behind", out.display());
        Ok(())
    }

    /// A bundle of an untrained model.
    fn bundle(&self) -> Result<PathBuf> {
        let (out, bundle) = (self.file("run"), self.file("x.bundle"));
        run("train-host", &small_training("yolov5n", text(&self.data)?, "1", text(&out)?))?;
        run("train-host", &["convert", text(&out)?, "--target", "host", "--out", text(&bundle)?])?;
        Ok(bundle)
    }

    fn some_file(&self, folder: &str) -> Result<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.file(folder))?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
        files.sort();
        files.into_iter().next().context("an empty folder")
    }
}

fn expect(said: &str, words: &[&str]) -> Result<()> {
    for word in words.iter().chain(&["help:"]) {
        ensure!(said.contains(word), "no {word:?} in:\n{said}");
    }
    Ok(())
}

#[test]
fn unknown_models_and_layers_are_named() -> Result<()> {
    let bench = Bench::new()?;
    bench.training_refused("yolov9000", &["yolov9000", "repyolov5n"], &[])?;
    let head = "nc: 5\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors:\n  - [10,13, 16,30, 33,23]\n";
    for (name, backbone, words) in [
        ("unknown.yaml", "  - [-1, 1, Convolve, [16, 3, 2]]\n", &["Convolve"][..]),
        // 16 channels do not divide into 3 groups.
        (
            "mismatch.yaml",
            "  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2, 1, 3]]\n",
            &["16", "groups"],
        ),
    ] {
        let path = bench.file(name);
        std::fs::write(
            &path,
            format!("{head}backbone:\n{backbone}head:\n  - [[-1], 1, Detect, [nc, anchors]]\n"),
        )?;
        bench.training_refused(text(&path)?, words, &[])?;
    }
    Ok(())
}

#[test]
fn sizes_and_devices_that_cannot_be_are_refused() -> Result<()> {
    let bench = Bench::new()?;
    bench.training_refused("yolov5n", &["device \"tpu\"", "cpu"], &["--device", "tpu"])?;
    bench.training_refused("yolov5n", &["CUDA"], &["--device", "cuda:63"])?;
    bench.training_refused("yolov5n", &["nothing.safetensors"], &["--weights", "nothing.safetensors"])
}

#[test]
fn broken_labels_and_images_are_named_with_their_line() -> Result<()> {
    let bench = Bench::new()?;
    let label = bench.some_file("synth/labels/train")?;
    let good = std::fs::read(&label)?;
    std::fs::write(&label, "0 0.5 0.5 0.2 0.2\n0 0.5 1.5 0.2 0.2\n")?;
    bench.training_refused("yolov5n", &[&format!("{}:2", text(&label)?)], &[])?;
    std::fs::write(&label, good)?;
    let image = bench.some_file("synth/images/train")?;
    let whole = std::fs::read(&image)?;
    std::fs::write(&image, &whole[..whole.len() / 2])?;
    let out = bench.file("cut");
    let said = refused("train-host", &small_training("yolov5n", text(&bench.data)?, "1", text(&out)?))?;
    expect(&said, &[text(&image)?])?;
    // Damage behind a sound header and end marker shows only when the pixels are decoded.
    let mut damaged = whole.clone();
    damaged[whole.len() / 3..whole.len() / 2].fill(0xFF);
    std::fs::write(&image, damaged)?;
    let said = refused("train-host", &small_training("yolov5n", text(&bench.data)?, "1", text(&out)?))?;
    expect(&said, &[text(&image)?])?;
    std::fs::write(&label, "0 0.5 NaN 0.2 0.2\n")?;
    let out = bench.file("skipping");
    let mut arguments = small_training("yolov5n", text(&bench.data)?, "1", text(&out)?);
    arguments.push("--skip-broken");
    run("train-host", &arguments)?;
    Ok(())
}

#[test]
fn an_empty_dataset_is_refused() -> Result<()> {
    let bench = Bench::new()?;
    for entry in std::fs::read_dir(bench.file("synth/images/train"))? {
        std::fs::remove_file(entry?.path())?;
    }
    bench.training_refused("yolov5n", &["train"], &[])
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run() -> Result<()> {
    let bench = Bench::new()?;
    let hyper = bench.file("hyp.yaml");
    std::fs::write(&hyper, "lr0: 1.0e+30\nwarmup_bias_lr: 1.0e+30\n")?;
    let out = bench.file("exploding");
    let mut arguments = small_training("yolov5n", text(&bench.data)?, "3", text(&out)?);
    arguments.extend(["--hyp", text(&hyper)?, "--nbs", "8"]);
    expect(&refused("train-host", &arguments)?, &["loss", "lr0"])
}

/// Runs the program with a limit on file sizes, which stands in for a full disk: writes beyond it fail the same way.
fn with_full_disk(arguments: &[&str]) -> Result<()> {
    let output = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "limited", text(&program("train-host")?)?])
        .args(arguments)
        .output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    expect(&String::from_utf8_lossy(&output.stderr), &["safetensors", "disk"])
}

#[test]
fn a_full_disk_in_the_first_epoch_leaves_no_weights() -> Result<()> {
    let bench = Bench::new()?;
    let out = bench.file("full");
    with_full_disk(&small_training("yolov5n", text(&bench.data)?, "1", text(&out)?))?;
    let left: Vec<_> = std::fs::read_dir(&out)?.map(|e| Ok(e?.file_name())).collect::<Result<_>>()?;
    ensure!(left == ["args.json"], "{left:?}");
    Ok(())
}

#[test]
fn a_full_disk_later_leaves_the_last_whole_epoch_to_resume_from() -> Result<()> {
    let bench = Bench::new()?;
    let out = bench.file("full");
    kill_after(1, &small_training("yolov5n", text(&bench.data)?, "6", text(&out)?), &out)?;
    let before = std::fs::read(out.join("last.safetensors"))?;
    let resume = ["train", "--resume", "--out", text(&out)?];
    with_full_disk(&resume)?;
    ensure!(before == std::fs::read(out.join("last.safetensors"))?, "the last whole epoch was touched");
    run("train-host", &resume)?;
    ensure!(epochs_done(&out) == 6);
    Ok(())
}

#[test]
fn damaged_bundles_are_refused_by_every_program() -> Result<()> {
    let bench = Bench::new()?;
    let bundle = bench.bundle()?;
    let whole = std::fs::read(&bundle)?;
    let image = bench.some_file("synth/images/test")?;
    for (at, damage) in
        [(3, "flip"), (40, "flip"), (whole.len() - 1, "flip"), (whole.len() / 2, "flip"), (60, "cut")]
    {
        let mut bytes = whole.clone();
        if damage == "flip" {
            bytes[at] ^= 1;
        } else {
            bytes.truncate(at);
        }
        std::fs::write(&bundle, bytes)?;
        let (out, bundle) = (bench.file("p"), text(&bundle)?);
        let said =
            refused("detect-image", &[bundle, text(&image)?, "--allow-unsigned", "--out", text(&out)?])?;
        expect(&said, &["x.bundle"])?;
        let said = refused("train-host", &["eval", bundle, "--data", text(&bench.data)?])?;
        expect(&said, &["x.bundle"])?;
    }
    ensure!(!bench.file("p").exists());
    Ok(())
}

#[test]
fn images_that_cannot_be_read_are_named() -> Result<()> {
    let bench = Bench::new()?;
    let bundle = bench.bundle()?;
    let cut = bench.file("cut.png");
    let whole = std::fs::read(bench.some_file("synth/images/test")?)?;
    std::fs::write(&cut, &whole[..whole.len() / 2])?;
    for image in [cut.as_path(), Path::new("nowhere.jpg")] {
        let (out, bundle) = (bench.file("p"), text(&bundle)?);
        let said =
            refused("detect-image", &[bundle, text(image)?, "--allow-unsigned", "--out", text(&out)?])?;
        expect(&said, &[text(image)?])?;
    }
    Ok(())
}
