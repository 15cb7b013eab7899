//! YOLOv5 checkpoints come in whole and exactly as they are, or not at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use support::checkpoint::{
    GOLDEN, archive, doubling, edited, entries, float, golden, pickle, storage, text, value,
};
use train_host::fuse::{MAX_FUSE_ERROR, fuse, fuse_error, largest};
use train_host::import::{self, Imported};
use train_host::model::checkpoint::{Provenance, load_with, save_with};
use train_host::model::{Activation, Checkpoint, Op, TrainedModel};

fn read(bytes: &[u8]) -> train_host::Result<Imported> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.pt");
    std::fs::write(&path, bytes).unwrap();
    import::open(&path)
}

fn error_of(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(_) => panic!("was read"),
        Err(error) => error.to_string(),
    }
}

fn trained(name: &str) -> (TrainedModel, Provenance) {
    let Imported { checkpoint, provenance } = import::open(&golden(name)).unwrap();
    let Checkpoint::Trained(model) = checkpoint else { panic!("not trained") };
    (model, provenance.unwrap())
}

#[test]
fn weights_are_those_of_the_file() {
    for name in GOLDEN {
        let (model, _) = trained(name);
        assert_eq!(model.weights.len(), 54, "{name}");
        for (tensor, found) in model.weights.iter() {
            let expected: Vec<f32> = (0..found.data.len()).map(|index| value(tensor, index)).collect();
            assert_eq!(found.data, expected, "{name}: {tensor}");
        }
    }
}

#[test]
fn everything_but_weights_comes_along() {
    let acts = [Activation::LeakyRelu, Activation::Silu, Activation::Relu];
    let sizes = [640, 640, 320];
    // autoanchor changed those of the second.
    let factors = [1.0, 1.5, 1.0];
    for (((name, act), imgsz), factor) in GOLDEN.into_iter().zip(acts).zip(sizes).zip(factors) {
        let (model, provenance) = trained(name);
        let found = model.architecture.graph.nodes.iter().filter_map(|node| match node.op {
            Op::Act(act) => Some(act),
            _ => None,
        });
        assert!(found.clone().count() > 5 && found.into_iter().all(|found| found == act), "{name}");
        assert_eq!((&model.architecture.name[..], model.imgsz), ("tiny", imgsz), "{name}");
        let head = &model.architecture.head;
        assert_eq!(head.classes, ["class 0", "class 1"]);
        assert_eq!(head.strides, [2, 4]);
        let anchors_px = [[[10.0, 13.0], [16.0, 30.0]], [[30.0, 61.0], [62.0, 45.0]]];
        assert_eq!(
            head.anchors_px().unwrap(),
            anchors_px.map(|level| level.map(|anchor| anchor.map(|side| side * factor)).to_vec())
        );
        assert_eq!(provenance.format, "YOLOv5 checkpoint");
        let hyper = serde_json::json!(
            {"lr0": 0.01, "momentum": 0.937, "fl_gamma": 0.0, "anchors": 3, "label_smoothing": 0.0});
        assert_eq!(serde_json::Value::Object(provenance.hyper_parameters), hyper);
    }
    let origins = GOLDEN.map(|name| {
        let Provenance { release, part, epoch, date, .. } = trained(name).1;
        (release, part, epoch, date.unwrap())
    });
    let finished = "2022-02-08T18:24:20.515893";
    assert_eq!(origins[0], ("5.0 or older".into(), "model".into(), None, finished.into()));
    assert_eq!(origins[1], ("6.0 or 6.1".into(), "model".into(), None, finished.into()));
    assert_eq!(origins[2], ("6.2 to 7.0".into(), "ema".into(), Some(4), "2023-01-02T03:04:05.678901".into()));
}

#[test]
fn activation_is_that_of_the_modules() {
    let mish = edited("v6.pt", &[(b"activation\nSiLU\n", b"activation\nMish\n")]);
    let checkpoint = read(&mish).unwrap().checkpoint;
    let acts = checkpoint.architecture().graph.nodes.iter().filter(|node| matches!(node.op, Op::Act(_)));
    assert!(acts.clone().count() > 5 && acts.into_iter().all(|node| node.op == Op::Act(Activation::Mish)));
}

#[test]
fn imported_models_fuse() {
    for name in GOLDEN {
        let model = TrainedModel { imgsz: 64, ..trained(name).0 };
        let fused = fuse(&model).unwrap();
        assert!(largest(&fuse_error(&model, &fused, 0).unwrap()) <= MAX_FUSE_ERROR, "{name}");
    }
}

#[test]
fn imported_models_are_saved_with_their_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    for name in GOLDEN {
        let Imported { checkpoint, provenance } = import::open(&golden(name)).unwrap();
        save_with(&path, &checkpoint, provenance.as_ref()).unwrap();
        assert_eq!(load_with(&path).unwrap(), (checkpoint.clone(), provenance.clone()));
        assert_eq!(import::open(&path).unwrap(), Imported { checkpoint, provenance });
    }
}

#[test]
fn checkpoints_of_other_models_are_refused_by_name() {
    let model = b"cmodels.yolo\nModel\n";
    let named = |to: &[u8]| error_of(&edited("v6.pt", &[(model, to)]));
    for class in ["SegmentationModel", "ClassificationModel"] {
        let error = named(format!("cmodels.yolo\n{class}\n").as_bytes());
        assert!(error.contains(&format!("models.yolo.{class}")) && error.contains("some.pt"), "{error}");
    }
    let error = named(b"cultralytics.nn.tasks\nDetectionModel\n");
    assert!(error.contains("ultralytics.nn.tasks.DetectionModel") && error.contains("ONNX"), "{error}");
    let error = error_of(&edited("v6.pt", &[(b"cmodels.yolo\nDetect\n", b"cmodels.yolo\nSegment\n")]));
    assert!(error.contains("models.yolo.Segment"), "{error}");
}

#[test]
fn state_dicts_are_refused_with_a_hint() {
    let tensor = tensor_of_8();
    let bare = [b"\x80\x02}", &text("model.0.weight")[..], &tensor, b"s."].concat();
    let nested = [b"\x80\x02}", &text("model")[..], b"}", &text("a"), &tensor, b"ss."].concat();
    for (pickled, words) in [(bare, "a state_dict of 1 tensors"), (nested, "a dict of 1 under \"model\"")] {
        let error = error_of(&archive(&[("x/data.pkl".into(), pickled), ("x/data/0".into(), vec![0; 16])]));
        assert!(error.contains(words) && error.contains("torch.save({'model': model}"), "{error}");
    }
    let none = archive(&[("x/data.pkl".into(), b"\x80\x02}.".to_vec())]);
    assert!(error_of(&none).contains("a dict of 0 without a model"));
    let list = archive(&[("x/data.pkl".into(), b"\x80\x02].".to_vec())]);
    assert!(error_of(&list).contains("a list of 0 in place of a checkpoint"));
}

/// A tensor of eight halves in a pickle, in storage 0.
fn tensor_of_8() -> Vec<u8> {
    let storage =
        [b"(", &text("storage")[..], b"ctorch\nHalfStorage\n", &text("0"), &text("cpu"), b"K\x08tQ"].concat();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], b"K\0K\x08\x85K\x01\x85\x89NtR"].concat()
}

/// A committed checkpoint, what to replace by what in its pickle, and words of the error.
type Edit = (&'static str, Vec<u8>, Vec<u8>, &'static [&'static str]);

#[test]
fn modules_that_compute_something_else_are_refused_by_name() {
    let cases: [Edit; 12] = [
        ("v6.pt", float(1e-3), float(1e-5), &["model.0.bn", "eps", "0.001"]),
        ("v5.pt", float(0.1), float(0.2), &["act", "negative_slope", "0.2"]),
        (
            "v6.pt",
            b"activation\nSiLU\n".to_vec(),
            b"activation\nHardswish\n".to_vec(),
            &["Hardswish", "SiLU, ReLU"],
        ),
        ("v6.pt", text("zeros"), text("reflect"), &["model.0.conv", "padding_mode", "reflect"]),
        ("v6.pt", text("dilation"), text("delation"), &["model.0.conv", "dilation"]),
        ("v6.pt", text("groups"), text("grouqs"), &["model.0.conv", "groups"]),
        ("v6.pt", text("ceil_mode"), text("seal_mode"), &["model.3.m", "ceil_mode"]),
        ("v5.pt", text("scale_factor"), text("skale_factor"), &["model.4", "scale_factor"]),
        ("v6.pt", text("add"), text("odd"), &["model.1.m.0", "add"]),
        ("v6.pt", text("bn"), text("bm"), &["model.0", "fused before it was saved"]),
        ("v6.pt", text("nearest"), text("bilinear"), &["layer 4", "bilinear"]),
        ("v6.pt", text("SPPF"), text("GhostConv"), &["layer 3", "unknown module \"GhostConv\""]),
    ];
    for (name, from, to, words) in cases {
        let error = error_of(&edited(name, &[(&from, &to)]));
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let renamed = |from: &str, to: &str| error_of(&edited("v6.pt", &[(&text(from), &text(to))]));
    assert!(renamed("running_mean", "walking_mean").contains("no tensor \"model.0.bn.running_mean\""));
    assert!(renamed("num_batches_tracked", "surplus").contains("\"model.0.bn.surplus\""));
    // The stem's kernel, [8, 3, 6, 6], as its own transpose and as something that would take 2^48 bytes.
    let shape = b"(K\x08K\x03K\x06K\x06t";
    let error = error_of(&edited("v6.pt", &[(shape, b"(K\x03K\x08K\x06K\x06t")]));
    assert!(error.contains("[3, 8, 6, 6]") && error.contains("[8, 3, 6, 6]"), "{error}");
    let error = error_of(&edited("v6.pt", &[(shape, b"(K\x08K\x03J\0\0\0\x7fJ\0\0\0\x7ft")]));
    assert!(error.contains("2130706432"), "{error}");
    let error = error_of(&edited("v6.pt", &[(b"(KlK$K\x06K\x01t", b"(K\0K\0K\0K\0t")]));
    assert!(error.contains("strides [0, 0, 0, 0]"), "{error}");
}

#[test]
fn storages_that_do_not_fit_are_named() {
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut entries = entries("v6.pt");
        // Of the stem's kernel: 864 halves.
        change(storage(&mut entries, "0"));
        error_of(&archive(&entries))
    };
    assert!(changed(|bytes| bytes.truncate(1726)).contains("864 elements in a storage of Some(863)"));
    assert!(
        changed(|bytes| bytes[..2].copy_from_slice(&[0, 0x7e])).contains("\"model.0.conv.weight\" holds NaN")
    );
    let mut without = entries("v6.pt");
    without.retain(|(name, _)| name != "archive/data/0");
    assert!(error_of(&archive(&without)).contains("in a storage of None"));
    // Two tensors in one storage could make a small file large.
    let error = error_of(&edited("v6.pt", &[(&text("21"), &text("20"))]));
    assert!(error.contains("two tensors in storage \"20\""), "{error}");
}

#[test]
fn damaged_anchors_are_noticed() {
    // The first halves of the anchors of release 6, 7.5 and 9.75 strides.
    let mut bytes = std::fs::read(golden("v6.pt")).unwrap();
    let at = bytes.windows(4).position(|window| window == [0x80, 0x47, 0xe0, 0x48]).unwrap();
    bytes[at + 1] ^= 1;
    assert!(error_of(&bytes).contains("wrong checksum"));
}

#[test]
fn descriptions_that_contradict_the_modules_are_refused() {
    let renamed = |from: &str, to: &str| error_of(&edited("v6.pt", &[(&text(from), &text(to))]));
    assert!(renamed("class 1", "class 0").contains("two classes called"));
    assert!(renamed("yaml", "jaml").contains("without its description"));
    assert!(renamed("names", "mames").contains("without class names"));
    assert!(renamed("backbone", "breastbone").contains("rows of its backbone"));
    assert!(renamed("anchors", "ankers").contains("without anchors"));
    assert!(renamed("stride", "stripe").contains("without anchors or strides"));
    // The 2 strides as halves: 2 and 4, changed to 2 and 8.
    let mut entries = entries("v6.pt");
    let strides = entries.iter_mut().filter(|(_, data)| data == &[0, 0x40, 0, 0x44]).map(|(_, data)| data);
    strides.for_each(|data| data[3] = 0x48);
    assert!(error_of(&archive(&entries)).contains("strides [2.0, 8.0]"));
}

#[test]
fn hyper_parameters_are_optional_and_bounded() {
    let hyp = text("hyp");
    let provenance = read(&edited("v6.pt", &[(&hyp, &text("hup"))])).unwrap().provenance.unwrap();
    assert!(provenance.hyper_parameters.is_empty());
    let many = doubling(15);
    let error = error_of(&edited("v6.pt", &[(&float(0.01), &many)]));
    assert!(error.contains("the hyper-parameters of more than"), "{error}");
    let error = error_of(&edited("v6.pt", &[(&float(0.01), &float(f64::NAN))]));
    assert!(error.contains("NaN in the hyper-parameters"), "{error}");
}

#[test]
fn cut_off_and_extended_files_are_refused() {
    for name in GOLDEN {
        let bytes = std::fs::read(golden(name)).unwrap();
        for len in (0..bytes.len()).step_by(611).chain([bytes.len() - 1]) {
            error_of(&bytes[..len]);
        }
        assert!(error_of(&[&bytes[..], b"x"].concat()).contains("does not end with its directory"));
        assert!(error_of(&[b"x", &bytes[..]].concat()).contains("no zip archive"));
    }
}

#[test]
fn what_is_read_does_not_depend_on_the_archive_folder() {
    let expected = import::open(&golden("v7.pt")).unwrap();
    let mut entries = entries("v7.pt");
    for (name, _) in &mut entries {
        *name = name.replace("best/", "");
    }
    assert_eq!(read(&archive(&entries)).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn files_with_changed_bytes_are_read_as_they_were_or_refused(
        name in proptest::sample::select(&GOLDEN[..]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(golden(name)).unwrap();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        // What is read has checksums: it is as it was, or refused.
        if let Ok(imported) = read(&bytes) {
            let expected = import::open(&golden(name)).unwrap();
            prop_assert_eq!(imported.checkpoint.weights(), expected.checkpoint.weights());
            prop_assert_eq!(&imported.checkpoint.architecture().head, &expected.checkpoint.architecture().head);
            prop_assert_eq!(imported.provenance, expected.provenance);
        }
    }

    #[test]
    fn pickles_with_changed_bytes_are_read_or_refused(
        name in proptest::sample::select(&GOLDEN[..]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut entries = entries(name);
        for (at, byte) in changes {
            *at.get_mut(pickle(&mut entries)) = byte;
        }
        if let Ok(imported) = read(&archive(&entries)) {
            imported.checkpoint.validate().unwrap();
        }
    }

    #[test]
    fn pickles_with_moved_pieces_are_read_or_refused(
        name in proptest::sample::select(&GOLDEN[..]),
        (from, to) in any::<(proptest::sample::Index, proptest::sample::Index)>(),
        len in 1..200usize,
    ) {
        let mut entries = entries(name);
        let pickle = pickle(&mut entries);
        let start = from.index(pickle.len());
        let piece = pickle[start..(start + len).min(pickle.len())].to_vec();
        let at = to.index(pickle.len());
        pickle.splice(at..at, piece);
        if let Ok(imported) = read(&archive(&entries)) {
            imported.checkpoint.validate().unwrap();
        }
    }
}
