//! `convert` and `eval` over ONNX models as a user runs them.

use std::path::{Path, PathBuf};

use artifact::{Bundle, DType, Decode, Layout, Tensor, TensorData, TensorSpec};
use clap::Parser;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use repedge::frame::Image;
use train_host::Result;
use train_host::cli::Cli;
use train_host::export;
use train_host::import;
use train_host::model::Checkpoint;

use crate::boxes::{Listing, Own};
use crate::detectors::{BINS, CLASSES, STRIDES, decoded_anchors, decoded_split};
use crate::file::{Onnx, SIDE_PX};
use crate::support::{self, relative_error};

fn train_host(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host"], words].concat()).unwrap().run()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn save(dir: &Path, onnx: &Onnx) -> PathBuf {
    let path = dir.join("foreign.onnx");
    std::fs::write(&path, onnx.bytes()).unwrap();
    path
}

/// What a host accepts.
fn accept_anything() -> repedge::Options {
    repedge::Options { trust: artifact::Trust::anyone(), ..repedge::Options::default() }
}

#[test]
fn a_split_head_becomes_a_bundle_that_says_how_to_decode_it() {
    let dir = tempfile::tempdir().unwrap();
    let model = save(dir.path(), &decoded_split());
    let [names, bundle] = ["names.txt", "x.bundle"].map(|name| dir.path().join(name));
    std::fs::write(&names, "cat\ndog\n").unwrap();
    train_host(&["convert", text(&model), "--names", text(&names), "--out", text(&bundle)]).unwrap();
    let manifest = Bundle::open(&bundle, &artifact::Trust::anyone()).unwrap().manifest().clone();
    assert_eq!(
        (manifest.model.as_str(), &manifest.classes[..]),
        ("foreign", &["cat".to_owned(), "dog".to_owned()][..])
    );
    assert_eq!(manifest.decode, Decode::Yolov8 { strides: STRIDES.to_vec(), reg_max: BINS });
    let outputs: Vec<_> =
        manifest.payloads[0].outputs.iter().map(|spec| (spec.name.as_str(), spec.shape)).collect();
    assert_eq!(
        outputs[..3],
        [("p3_box", [1, 16, 4, 4]), ("p3_class", [1, 2, 4, 4]), ("p4_box", [1, 16, 2, 2])]
    );
    repedge::Detector::open(&bundle, accept_anything()).unwrap();
}

/// Boxes that tract computes of the file itself for `image`, an output of three axes.
fn own_boxes(onnx: &Onnx, image: &Tensor, shape: [usize; 3], listing: Listing) -> Own {
    let mut onnx = onnx.clone();
    let (output, axes) = (onnx.outputs[0].clone(), onnx.ints(&[1]));
    onnx.outputs = vec![onnx.add("Unsqueeze", &[&output, &axes], &[])];
    let spec = |name: &str, shape| TensorSpec {
        name: name.into(),
        dtype: DType::F32,
        layout: Layout::Nchw,
        shape,
        quant: None,
    };
    let [one, rows, columns] = shape;
    let output = spec(&onnx.outputs[0], [one, 1, rows, columns]);
    let input = spec("images", [1, 3, SIDE_PX, SIDE_PX]);
    let mut session = TractSession::from_onnx(&onnx.bytes(), input, vec![output.clone()]).unwrap();
    let mut outputs = vec![Tensor::zeroed(&output)];
    session.run(image, &mut outputs).unwrap();
    let TensorData::F32(values) = &outputs[0].data else { panic!("no floats") };
    Own::read(values, &shape, listing)
}

#[test]
fn a_bundle_finds_on_a_picture_what_the_file_computes_itself() {
    let rgb: Vec<u8> = support::noise(3 * SIDE_PX * SIDE_PX, 9).iter().map(|v| (v * 255.0) as u8).collect();
    let picture = Image { width_px: SIDE_PX, height_px: SIDE_PX, rgb };
    let planes = (0..3).flat_map(|channel| picture.rgb.iter().skip(channel).step_by(3));
    let image = Tensor {
        data: TensorData::F32(planes.map(|&level| f32::from(level) / 255.0).collect()),
        layout: Layout::Nchw,
        shape: [1, 3, SIDE_PX, SIDE_PX],
        quant: None,
    };
    let cells: usize = STRIDES.iter().map(|stride| (SIDE_PX / stride).pow(2)).sum();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("x.bundle");
    for (name, onnx, shape, listing) in [
        ("anchors", decoded_anchors(), [1, 3 * cells, 5 + CLASSES], Listing::Rows),
        ("split", decoded_split(), [1, 4 + CLASSES, cells], Listing::Columns),
    ] {
        let own = own_boxes(&onnx, &image, shape, listing);
        let model = save(dir.path(), &onnx);
        train_host(&["convert", text(&model), "--out", text(&bundle)]).unwrap();
        let options = repedge::Options { limits: Some(own.limits()), ..accept_anything() };
        let mut detector = repedge::Detector::open(&bundle, options).unwrap();
        own.assert_found(name, SIDE_PX, detector.detect(picture.frame()).unwrap().boxes);
    }
}

#[test]
fn what_is_converted_can_be_imported_again() {
    let dir = tempfile::tempdir().unwrap();
    for onnx in [decoded_split(), decoded_anchors()] {
        let model = save(dir.path(), &onnx);
        let [again, bundle] = ["again.onnx", "x.bundle"].map(|name| dir.path().join(name));
        train_host(&["convert", text(&model), "--onnx", text(&again), "--out", text(&bundle)]).unwrap();
        let load = |path: &Path| match import::load(path).unwrap() {
            Checkpoint::Fused(model) => model,
            Checkpoint::Trained(_) => panic!("not fused"),
        };
        let (first, second) = (load(&model), load(&again));
        assert_eq!(first.architecture.head, second.architecture.head);
        let run = |model| support::run(&mut export::session(model).unwrap(), 3);
        for (a, b) in run(&first).iter().zip(run(&second)) {
            assert!(relative_error(a, &b) < 1e-6);
        }
    }
}

#[test]
fn image_sizes_are_chosen_where_they_are_open_and_changed_where_not() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("x.bundle");
    let mut open = decoded_anchors();
    open.inputs[0].2 = vec![None, Some(3), None, None];
    let model = save(dir.path(), &open);
    let convert = |size: &[&str]| {
        train_host(&[&["convert", text(&model), "--out", text(&bundle)], size].concat()).map(|()| {
            Bundle::open(&bundle, &artifact::Trust::anyone()).unwrap().manifest().preprocess.width_px
        })
    };
    let error = convert(&[]).unwrap_err().to_string();
    assert!(error.contains("foreign.onnx") && error.contains("--imgsz"), "{error}");
    assert_eq!(convert(&["--imgsz", "32"]).unwrap(), SIDE_PX);
    save(dir.path(), &decoded_anchors());
    assert_eq!(convert(&["--imgsz", "64"]).unwrap(), 64);
    assert!(convert(&["--imgsz", "33"]).unwrap_err().to_string().contains("33"));
}

#[test]
fn a_wrong_number_of_names_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = save(dir.path(), &decoded_anchors());
    let [names, bundle] = ["data.yaml", "x.bundle"].map(|name| dir.path().join(name));
    std::fs::write(&names, "names: [a, b, c]\n").unwrap();
    let error = train_host(&["convert", text(&model), "--names", text(&names), "--out", text(&bundle)]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("3 class names") && error.contains("2 names"), "{error}");
    assert!(!bundle.exists());
}

#[test]
fn split_heads_start_no_training() {
    let dir = tempfile::tempdir().unwrap();
    let model = save(dir.path(), &decoded_split());
    let source = import::load(&model).unwrap();
    let target = support::random_model("yolov5n", &Default::default(), 2, 64).architecture;
    let error = train_host::model::warm_start::transfer(&source, &target, 0).unwrap_err().to_string();
    assert!(error.contains("neither trained"), "{error}");
}

#[test]
fn imported_weights_are_the_model_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let [saved, report] = ["foreign.safetensors", "x.json"].map(|name| dir.path().join(name));
    for (onnx, told) in [(decoded_split(), "reg_max"), (decoded_anchors(), "anchors_px")] {
        let model = save(dir.path(), &onnx);
        let json = format!("--json={}", report.display());
        train_host(&["import", text(&model), "--out", text(&saved), &json]).unwrap();
        let source = import::load(&model).unwrap();
        assert_eq!(import::load(&saved).unwrap(), source);
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert_eq!((&report["stage"], report[told].is_null()), (&"fused".into(), false), "{report}");
    }
}

#[test]
fn an_onnx_model_has_nothing_left_to_fuse() {
    let dir = tempfile::tempdir().unwrap();
    let model = save(dir.path(), &decoded_split());
    let out = dir.path().join("x.safetensors");
    let error = train_host(&["fuse", text(&model), "--out", text(&out)]).unwrap_err().to_string();
    assert!(error.contains("already fused") && !out.exists(), "{error}");
}
