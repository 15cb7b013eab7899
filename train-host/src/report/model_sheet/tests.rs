use super::*;
use crate::fuse::fuse;
use crate::model::{Overrides, TrainedModel, initial_weights};

fn load(name: &str) -> Architecture {
    let classes: Vec<String> = (0..80).map(|class| class.to_string()).collect();
    Architecture::load(name, &Overrides::default(), &classes).unwrap()
}

fn trained(name: &str) -> TrainedModel {
    let architecture = load(name);
    let weights = initial_weights(&architecture, 0);
    TrainedModel { architecture, weights, imgsz: 64 }
}

#[test]
fn both_forms_stand_side_by_side() {
    let sheet = ModelSheet::of_architecture(load("repyolov5n"), 640).unwrap();
    assert_eq!(sheet.fused.parameters, 1_867_405);
    let row = &sheet.layers[1];
    let [before, after] = [row.trained.unwrap(), row.fused.unwrap()];
    // 3x3 and 1x1 with a batch norm each, against one 3x3 with bias; 16 to 32 channels at 160 px.
    assert_eq!(before.parameters, 10 * 16 * 32 + 4 * 32);
    assert_eq!(after.parameters, 9 * 16 * 32 + 32);
    assert_eq!([before.flops, after.flops], [10, 9].map(|taps| 2 * taps * 16 * 32 * 160 * 160));
    let shares: f64 = sheet.layers.iter().map(|row| row.share).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");

    let text = sheet.text();
    for part in [
        "repyolov5n: 80 classes, 640x640 px, silu, repvgg blocks",
        "C3Rep x3",
        "255x80x80 255x40x40 255x20x20",
        "1,867,405",
        "17,20,23",
        "nodes as trained",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn weights_give_the_sheet_of_their_form() {
    let model = trained("repyolov5n");
    let fused = fuse(&model).unwrap();
    let sheet = ModelSheet::of_checkpoint(Checkpoint::Fused(fused), None).unwrap();
    assert_eq!((sheet.trained, sheet.imgsz, sheet.block), (None, 64, None));
    assert!(!sheet.text().contains("trained"), "{}", sheet.text());
    let both = ModelSheet::of_checkpoint(Checkpoint::Trained(model), Some(128)).unwrap();
    assert_eq!((both.fused.parameters, both.imgsz), (sheet.fused.parameters, 128));
    let folder = tempfile::tempdir().unwrap();
    let drawn = |sheet: &ModelSheet| sheet.draw(folder.path()).unwrap();
    let files = |names: &[&str]| names.iter().map(|name| folder.path().join(name)).collect::<Vec<_>>();
    assert_eq!(drawn(&sheet), files(&["repyolov5n-fused.svg"]));
    assert_eq!(drawn(&both), files(&["repyolov5n-trained.svg", "repyolov5n-fused.svg"]));
}

#[test]
fn names_from_files_stay_inside_the_folder() {
    assert_eq!(file_stem("yolov5s-repvgg-a1"), "yolov5s-repvgg-a1");
    assert_eq!(file_stem("../../etc/passwd"), "_.._etc_passwd");
    assert_eq!(file_stem("/"), "_");
    assert_eq!(file_stem("..."), "model");
    assert_eq!(file_stem(&"é".repeat(500)).len(), MAX_FILE_STEM);
}
