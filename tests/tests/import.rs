//! Checkpoints and ONNX models of YOLOv5, imported or as they are, go wherever weights go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{refused, run, shared_data, small_dataset, small_training, text};

/// The committed checkpoint of a tiny model in the layout of release 6, for the classes "class 0" and "class 1".
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pt/v6.pt")
}

/// A small dataset with the classes of the committed checkpoint.
fn dataset(folder: &Path) -> Result<PathBuf> {
    let data = small_dataset(folder)?;
    for split in ["train", "val", "test"] {
        for entry in std::fs::read_dir(folder.join("synth/labels").join(split))? {
            let path = entry?.path();
            let labels = std::fs::read_to_string(&path)?;
            let renamed = labels
                .lines()
                .map(|line| format!("{}{}\n", if line.starts_with('0') { '0' } else { '1' }, &line[1..]));
            std::fs::write(&path, renamed.collect::<String>())?;
        }
    }
    let text =
        "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnames: [class 0, class 1]\n";
    std::fs::write(&data, text)?;
    Ok(data)
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

#[test]
fn a_checkpoint_and_what_was_imported_from_it_are_the_same_to_every_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (pt, imported) = (path("best.pt"), path("best.safetensors"));
    std::fs::copy(golden(), &pt)?;
    run("train-host", &["import", &pt, "--out", &imported])?;
    let data = dataset(folder.path())?;
    let mut bundles = Vec::new();
    let mut measured = Vec::new();
    for (model, name) in [(&pt, "a"), (&imported, "b")] {
        let (fused, bundle) = (path(&format!("{name}.safetensors")), path(&format!("{name}.bundle")));
        run("train-host", &["fuse", model, "--out", &fused])?;
        run("train-host", &["convert", model, "--out", &bundle])?;
        let eval = run("train-host", &["eval", model, "--data", text(&data)?, "--imgsz", "64", "--json"])?;
        let eval = json(&eval)?;
        ensure!(eval["images"] == 8, "{eval}");
        measured.push(["map50", "map", "precision", "recall"].map(|field| eval[field].clone()));
        bundles.push((std::fs::read(fused)?, std::fs::read(bundle)?));
    }
    ensure!(measured[0] == measured[1], "{measured:?}");
    // The fused weights hold where they came from, too, and bundles are named after the model: all bytes are equal.
    ensure!(bundles[0] == bundles[1]);
    Ok(())
}

#[test]
fn an_onnx_model_is_to_every_command_what_its_checkpoint_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (onnx, fused) = (path("tiny.onnx"), path("fused.safetensors"));
    let [of_pt, of_onnx] = ["pt.bundle", "onnx.bundle"].map(path);
    let pt = golden();
    run("train-host", &["convert", text(&pt)?, "--imgsz", "64", "--onnx", &onnx, "--out", &of_pt])?;
    run("train-host", &["convert", &onnx, "--out", &of_onnx])?;
    ensure!(std::fs::read(&of_pt)? == std::fs::read(&of_onnx)?, "a bundle tells where it came from");

    run("train-host", &["fuse", text(&pt)?, "--out", &fused])?;
    let data = dataset(folder.path())?;
    let measure = |model: &str| -> Result<_> {
        let found = run("train-host", &["eval", model, "--data", text(&data)?, "--imgsz", "64", "--json"])?;
        let found = json(&found)?;
        ensure!(found["images"] == 8, "{found}");
        Ok(["map50", "map", "precision", "recall"].map(|field| found[field].clone()))
    };
    let expected = measure(&fused)?;
    ensure!(measure(&onnx)? == expected && measure(&of_onnx)? == expected);

    let layers = |model: &str| -> Result<Vec<_>> {
        let sheet = json(&run("train-host", &["show", model, "--imgsz", "64", "--json"])?)?;
        let layers = sheet["layers"].as_array().context("layers")?;
        Ok(layers
            .iter()
            .map(|layer| ["name", "outputs", "fused"].map(|field| layer[field].clone()))
            .collect())
    };
    let found = layers(&onnx)?;
    ensure!(found == layers(&fused)? && found[0][2]["parameters"] == 872, "{found:?}");
    Ok(())
}

#[test]
fn onnx_models_that_cannot_be_taken_are_refused_and_leave_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (onnx, cut, [kept, bundle]) =
        (path("x.onnx"), path("cut.onnx"), ["kept.bundle", "x.bundle"].map(path));
    let (pt, data) = (golden(), dataset(folder.path())?);
    run("train-host", &["convert", text(&pt)?, "--imgsz", "64", "--onnx", &onnx, "--out", &kept])?;
    std::fs::write(&cut, &std::fs::read(&onnx)?[..5_000])?;
    let [one, two] = ["one.txt", "two.txt"].map(path);
    std::fs::write(&one, "cell\n")?;
    std::fs::write(&two, "cell\nplatelet\n")?;
    let out = path("x.safetensors");
    for (arguments, words) in [
        (&["convert", &cut, "--out", &bundle][..], ["cut.onnx", "no ONNX model"]),
        (&["convert", &onnx, "--names", &one, "--out", &bundle], ["14 channels", "6 numbers each"]),
        (&["import", &onnx, "--imgsz", "33", "--out", &out], ["33", "multiple of 4"]),
        (&["fuse", &onnx, "--out", &out], ["x.onnx", "already fused"]),
        (&["eval", &cut, "--data", text(&data)?], ["cut.onnx", "no ONNX model"]),
        (&["eval", &onnx, "--names", &two, "--data", text(&data)?], ["class \"class 0\"", "cell, platelet"]),
        (&["eval", &kept, "--names", &two, "--data", text(&data)?], ["--names for a bundle", "convert"]),
        (&["show", &cut], ["cut.onnx", "no ONNX model"]),
    ] {
        let said = refused("train-host", arguments)?;
        ensure!(words.iter().chain(&["help:"]).all(|word| said.contains(word)), "{arguments:?}: {said}");
    }
    // A device runs bundles alone, and says how they are made.
    let said = refused("detect-image", &[&onnx, "picture.png", "--allow-unsigned"])?;
    ensure!(said.contains("x.onnx") && said.contains("train-host convert"), "{said}");
    ensure!(!Path::new(&bundle).exists() && !Path::new(&out).exists());
    Ok(())
}

#[test]
fn import_tells_what_it_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("w.safetensors");
    let pt = golden();
    let arguments = ["import", text(&pt)?, "--out", text(&out)?, "--imgsz", "96", "--json"];
    let found = json(&run("train-host", &arguments)?)?;
    ensure!(found["model"] == "tiny" && found["stage"] == "trained" && found["imgsz"] == 96, "{found}");
    ensure!(found["classes"] == serde_json::json!(["class 0", "class 1"]), "{found}");
    ensure!(found["parameters"] == 2388 && found["strides"] == serde_json::json!([2, 4]), "{found}");
    let origin = &found["provenance"];
    ensure!(origin["part"] == "model" && origin["release"] == "6.0 or 6.1", "{found}");
    ensure!(origin["hyper_parameters"]["lr0"] == 0.01, "{found}");
    let said = run("train-host", &["import", text(&pt)?, "--out", text(&out)?])?;
    ensure!(said.contains("2388 parameters") && said.contains("part \"model\""), "{said}");
    // What is imported already can be imported again, at another size.
    let again = folder.path().join("again.safetensors");
    let arguments = ["import", text(&out)?, "--out", text(&again)?, "--imgsz", "32", "--json"];
    let found = json(&run("train-host", &arguments)?)?;
    ensure!(found["imgsz"] == 32 && found["provenance"] == *origin, "{found}");
    Ok(())
}

#[test]
fn wrong_use_of_import_is_refused_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("w.safetensors");
    let pt = golden();
    let said = refused("train-host", &["import", text(&pt)?, "--out", text(&out)?, "--imgsz", "33"])?;
    ensure!(said.contains("multiple of 4") && said.contains("help:"), "{said}");
    let said = refused("train-host", &["import", text(&pt)?, "--out", text(&folder.path().join("w.pt"))?])?;
    ensure!(said.contains(".safetensors"), "{said}");
    let said = refused("train-host", &["import", "nowhere.pt", "--out", text(&out)?])?;
    ensure!(said.contains("nowhere.pt") && said.contains("help:"), "{said}");
    let broken = folder.path().join("broken.pt");
    std::fs::write(&broken, &std::fs::read(&pt)?[..20_000])?;
    for command in ["fuse", "import"] {
        let said = refused("train-host", &[command, text(&broken)?, "--out", text(&out)?])?;
        ensure!(said.contains("broken.pt") && said.contains("cut off"), "{said}");
    }
    ensure!(!out.exists());
    Ok(())
}

#[test]
fn training_starts_from_a_checkpoint() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = dataset(folder.path())?;
    // The layout of the checkpoint with a rep block in place of a convolution.
    let description = "nc: 2
depth_multiple: 0.33
width_multiple: 0.0625
anchors: [[10, 13, 16, 30], [30, 61, 62, 45]]
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 3, C3, [64]]
  - [-1, 1, RepConv, [128, 3, 2]]
  - [-1, 1, SPPF, [128, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 1], 1, Concat, [1]]
  - [-1, 1, Conv, [64, 1, 1]]
  - [[6, 3], 1, Detect, [nc, anchors]]
";
    let model = folder.path().join("rep.yaml");
    std::fs::write(&model, description)?;
    let out = folder.path().join("run");
    let mut arguments = small_training(text(&model)?, text(&data)?, "1", text(&out)?);
    let golden = golden();
    arguments.extend(["--weights", text(&golden)?]);
    run("train-host", &arguments)?;
    ensure!(out.join("best.safetensors").is_file());
    Ok(())
}

#[test]
#[ignore = "needs ../shared/data (yolov5n.pt, coco128)"]
fn the_official_checkpoint_finds_zebras_and_giraffes() -> Result<()> {
    let data = shared_data()?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (imported, fused, bundle) = (path("n.safetensors"), path("f.safetensors"), path("n.bundle"));
    let pt = data.join("yolov5n.pt");
    let found = json(&run("train-host", &["import", text(&pt)?, "--out", &imported, "--json"])?)?;
    // Published: 1.9 M parameters, 80 classes of COCO; anchors of models/yolov5n.yaml.
    ensure!(found["model"] == "yolov5n" && found["parameters"] == 1_872_157, "{found}");
    let classes = found["classes"].as_array().context("classes")?;
    ensure!(classes.len() == 80 && classes[0] == "person" && classes[79] == "toothbrush", "{found}");
    let anchors = serde_json::json!([
        [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
        [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
        [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]]
    ]);
    ensure!(found["anchors_px"] == anchors && found["strides"] == serde_json::json!([8, 16, 32]), "{found}");
    ensure!(
        found["provenance"]["hyper_parameters"].as_object().map(serde_json::Map::len) == Some(29),
        "{found}"
    );
    // Raw outputs of unfused and fused agree.
    let folded = json(&run("train-host", &["fuse", text(&pt)?, "--out", &fused, "--json"])?)?;
    ensure!(folded["largest_error"].as_f64().context("largest_error")? < 1e-4, "{folded}");
    run("train-host", &["convert", &fused, "--out", &bundle])?;
    // Boxes as in the labels of the two pictures, of 640 x 425 and 640 x 426 pixels.
    let pictures = [
        ("34", "zebra", vec![[0.0, 20.1, 441.2, 399.2]]),
        ("25", "giraffe", vec![[385.5, 60.0, 600.5, 357.2], [53.0, 356.5, 185.0, 411.7]]),
    ];
    for (number, class, boxes) in pictures {
        let picture = data.join(format!("coco128/images/train2017/{number:0>12}.jpg"));
        let found = json(&run("detect-image", &[&bundle, text(&picture)?, "--allow-unsigned", "--json"])?)?;
        let detections = found["images"][0]["detections"].as_array().context("detections")?;
        ensure!(detections.len() == boxes.len(), "{found}");
        for (detection, expected) in detections.iter().zip(boxes) {
            ensure!(detection["name"] == class && detection["score"].as_f64() > Some(0.5), "{detection}");
            let found: [f64; 4] = serde_json::from_value(detection["box_px"].clone())?;
            ensure!(overlap(found, expected) > 0.6, "{detection}");
        }
    }
    Ok(())
}

/// Intersection over union of two boxes given by their corners.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[x0, y0, x1, y1]: [f64; 4]| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    both / (area(a) + area(b) - both)
}
