use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::Overrides;
use crate::model::init::initial_weights;

const TINY: &str = "nc: 1\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors: [[10, 13, 16, 30]]\nbackbone:
  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, RepConv, [8, 3, 1]]\nhead:\n  - [[-1], 1, Detect, [nc, anchors]]\n";

fn tiny() -> TrainedModel {
    let architecture =
        Architecture::parse("tiny", TINY, &Overrides::default(), &["a \"b\"".to_owned()]).unwrap();
    TrainedModel { weights: initial_weights(&architecture, 1), architecture, imgsz: 32 }
}

fn saved() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("best.safetensors");
    save(&path, &Checkpoint::Trained(tiny())).unwrap();
    (dir, path)
}

fn error_of(path: &Path) -> String {
    load(path).unwrap_err().to_string()
}

#[test]
fn saved_checkpoint_loads_as_it_was_and_saves_to_the_same_bytes() {
    let (dir, path) = saved();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded, Checkpoint::Trained(tiny()));
    let again = dir.path().join("again.safetensors");
    save(&again, &loaded).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
}

#[test]
fn run_folder_stands_for_its_best_weights() {
    let (dir, _) = saved();
    assert_eq!(load(dir.path()).unwrap(), Checkpoint::Trained(tiny()));
    let empty = tempfile::tempdir().unwrap();
    assert!(error_of(empty.path()).contains("best.safetensors"));
}

#[test]
fn absent_files_and_other_kinds_of_file_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["yolov5n.pt", "model.onnx", "noextension"] {
        let path = dir.path().join(name);
        let absent = error_of(&path);
        assert!(absent.contains(&format!("no file {}", path.display())), "{absent}");
        std::fs::write(&path, "other").unwrap();
        let other = error_of(&path);
        assert!(other.contains("not a .safetensors file"), "{other}");
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let (_dir, path) = saved();
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(37).chain([bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(error_of(&path).contains("best.safetensors"), "{length}");
    }
    std::fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(load(&path).is_err());
}

#[test]
fn files_of_other_programs_are_refused() {
    let (_dir, path) = saved();
    let tensors = tiny().weights;
    let data = 1.5f32.to_le_bytes();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &data).unwrap();
    std::fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
    assert!(error_of(&path).contains("another program"));
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    assert!(error_of(&path).contains("\"format\""));
}

#[test]
fn tensors_and_metadata_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    let mut tensors = Weights::default();
    tensors.insert("momentum.a", &[2, 3], vec![0.0, -0.0, f32::MIN_POSITIVE, f32::INFINITY, 1.5, 2.5]);
    tensors.insert("scalar", &[], vec![4.0]);
    tensors.insert("empty", &[0], vec![]);
    let metadata =
        BTreeMap::from([("epoch".to_owned(), "3".to_owned()), ("note".to_owned(), "ä\n\"".to_owned())]);
    write_tensors(&path, &tensors, &metadata).unwrap();
    assert_eq!(read_tensors(&path).unwrap(), (tensors, metadata));
}

/// Saves what `change` made of the tiny model past the checks of `save`, and gives the error of loading it.
fn error_after(change: impl FnOnce(&mut Weights, &mut BTreeMap<String, String>)) -> String {
    let (_dir, path) = saved();
    let (mut weights, mut metadata) = read_tensors(&path).unwrap();
    change(&mut weights, &mut metadata);
    write_tensors(&path, &weights, &metadata).unwrap();
    error_of(&path)
}

#[test]
fn what_does_not_fit_is_named() {
    let insert = |name: &'static str, shape: &'static [usize], data: Vec<f32>| {
        error_after(move |weights, _| weights.insert(name, shape, data))
    };
    assert!(insert("model.0.conv.weight", &[216], vec![0.0; 216]).contains("[8, 3, 3, 3]"));
    assert!(insert("model.0.bn.weight", &[8], vec![f32::NAN; 8]).contains("model.0.bn.weight"));
    assert!(insert("model.0.bn.running_var", &[8], vec![-1.0; 8]).contains("-1"));
    assert!(insert("extra", &[1], vec![0.0]).contains("extra"));
    let missing = error_after(|weights, _| {
        let mut kept = Weights::default();
        for (name, tensor) in weights.iter().filter(|(name, _)| *name != "model.2.m.0.bias") {
            kept.insert(name, &tensor.shape, tensor.data.clone());
        }
        *weights = kept;
    });
    assert!(missing.contains("model.2.m.0.bias"), "{missing}");
}

#[test]
fn origin_of_a_model_is_kept_and_optional() {
    let (dir, path) = saved();
    assert_eq!(load_with(&path).unwrap().1, None);
    let hyper_parameters = serde_json::json!({"lr0": 0.01, "anchors": 3, "note": "a \"b\"", "off": null});
    let provenance = Provenance {
        format: "YOLOv5 checkpoint".to_owned(),
        release: "7.0".to_owned(),
        part: "ema".to_owned(),
        epoch: Some(4),
        date: None,
        hyper_parameters: hyper_parameters.as_object().unwrap().clone(),
    };
    let with = dir.path().join("with.safetensors");
    save_with(&with, &Checkpoint::Trained(tiny()), Some(&provenance)).unwrap();
    assert_eq!(load_with(&with).unwrap(), (Checkpoint::Trained(tiny()), Some(provenance)));
    assert_eq!(load(&with).unwrap(), load(&path).unwrap());
}

#[test]
fn metadata_is_checked() {
    let set = |key: &'static str, value: &'static str| {
        error_after(move |_, metadata| {
            metadata.insert(key.to_owned(), value.to_owned());
        })
    };
    assert!(set("format", "2").contains("update train-host"));
    assert!(set("stage", "\"raw\"").contains("raw"));
    assert!(set("stage", "\"fused\"").contains("fused model"));
    assert!(set("imgsz", "33").contains("33"));
    assert!(set("provenance", "{\"format\":1}").contains("provenance"));
    assert!(set("graph", "{}").contains("graph"));
    assert!(set("graph", "{\"nodes\":[],\"outputs\":[]}").contains("0 nodes"));
    assert!(
        set("head", "{\"classes\":[\"a\"],\"strides\":[3],\"anchors_px\":[[[1,2],[3,4]]]}")
            .contains("stride")
    );
    assert!(
        set("head", "{\"classes\":[\"a\"],\"strides\":[4],\"anchors_px\":[[[1,2],[3,4]]]}")
            .contains("stride 4")
    );
    assert!(
        set("head", "{\"classes\":[\"a\"],\"strides\":[2],\"anchors_px\":[[[1,2]]]}").contains("channels")
    );
}

#[test]
fn failed_write_keeps_the_old_file() {
    let (_dir, path) = saved();
    let mut broken = tiny();
    broken.weights.insert("model.0.bn.weight", &[8], vec![f32::NAN; 8]);
    assert!(save(&path, &Checkpoint::Trained(broken)).is_err());
    assert_eq!(load(&path).unwrap(), Checkpoint::Trained(tiny()));
}

static SAVED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (_dir, path) = saved();
    std::fs::read(path).unwrap()
});

proptest! {
    #[test]
    fn damaged_files_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.safetensors");
        let mut bytes = SAVED.clone();
        let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        for (place, mask) in &flips {
            bytes[place.index(header)] ^= mask;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(checkpoint) = load(&path) {
            checkpoint.validate().unwrap();
        }
    }
}
