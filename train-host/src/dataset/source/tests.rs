//! Every format end to end on small folders, the policies for broken files, and (where they are) the real sets.

use std::fs;

use proptest::prelude::ProptestConfig;
use tempfile::TempDir;

use super::*;

/// A folder with `images/train/{a,b}.png` of 40 × 20 pixels, labels for `a`, and a data.yaml.
fn yolo_folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["images/train", "labels/train"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for name in ["a", "b"] {
        save_image(&dir.path().join(format!("images/train/{name}.png")));
    }
    fs::write(dir.path().join("labels/train/a.txt"), "1 0.5 0.5 0.25 0.5\n").unwrap();
    fs::write(dir.path().join("data.yaml"), "path: .\ntrain: images/train\nnames: [cat, dog]\n").unwrap();
    dir
}

fn save_image(path: &Path) {
    image::RgbImage::from_fn(40, 20, |x, y| image::Rgb([x, y, x ^ y].map(|v| v.to_le_bytes()[0])))
        .save(path)
        .unwrap();
}

fn open(dir: &TempDir, file: &str, policy: Broken) -> Result<Dataset> {
    Source::open(&dir.path().join(file), policy)?.split(Split::Train)
}

#[test]
fn yolo_folders_are_read_in_order() {
    let dir = yolo_folder();
    let train = open(&dir, "data.yaml", Broken::Refuse).unwrap();
    assert_eq!(train.classes, ["cat", "dog"]);
    assert_eq!(train.samples.len(), 2);
    assert_eq!(train.samples[0].image, dir.path().join("images/train/a.png"));
    assert_eq!((train.samples[0].width_px, train.samples[0].height_px), (40, 20));
    assert_eq!(train.samples[0].boxes.len(), 1);
    assert!(train.samples[1].boxes.is_empty());
    assert_eq!(open(&dir, "", Broken::Refuse).unwrap(), train, "the folder stands for its data.yaml");
}

#[test]
fn a_list_reads_as_its_folder() {
    let dir = yolo_folder();
    let folder = open(&dir, "data.yaml", Broken::Refuse).unwrap();
    fs::write(dir.path().join("train.txt"), "./images/train/a.png\nimages/train/b.png\n").unwrap();
    fs::write(dir.path().join("list.yaml"), "train: train.txt\nnames: {0: cat, 1: dog}\n").unwrap();
    let list = open(&dir, "list.yaml", Broken::Refuse).unwrap();
    assert_eq!(list.samples[0].boxes, folder.samples[0].boxes);
    fs::write(dir.path().join("train.txt"), "images/train/a.png\nimages/train/c.png\n").unwrap();
    let error = open(&dir, "list.yaml", Broken::Refuse).unwrap_err().to_string();
    assert!(error.contains("train.txt:2: no image images/train/c.png"), "{error}");
}

#[test]
fn broken_files_stop_or_are_counted() {
    let dir = yolo_folder();
    fs::write(dir.path().join("labels/train/b.txt"), "0 0.5 0.5 0.1 0.1\n0 0.5 1.5 0.1 0.1\n").unwrap();
    let error = open(&dir, "data.yaml", Broken::Refuse).unwrap_err().to_string();
    assert!(error.contains("labels/train/b.txt:2:") && error.contains("--skip-broken"), "{error}");
    let kept = open(&dir, "data.yaml", Broken::Skip).unwrap();
    assert_eq!((kept.samples.len(), kept.skipped), (1, 1));

    let image = dir.path().join("images/train/a.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    let error = open(&dir, "data.yaml", Broken::Refuse).unwrap_err().to_string();
    assert!(error.contains("2 samples broken") && error.contains("a.png: the image is truncated"), "{error}");
    let error = open(&dir, "data.yaml", Broken::Skip).unwrap_err().to_string();
    assert!(error.contains("0 images"), "nothing is left: {error}");
}

#[test]
fn empty_or_missing_parts_are_refused() {
    let dir = yolo_folder();
    let source = Source::open(&dir.path().join("data.yaml"), Broken::Refuse).unwrap();
    let error = source.split(Split::Test).unwrap_err().to_string();
    assert!(error.contains("no test split, only train"), "{error}");

    fs::remove_file(dir.path().join("labels/train/a.txt")).unwrap();
    assert!(
        open(&dir, "data.yaml", Broken::Refuse).unwrap_err().to_string().contains("2 images but no label")
    );
    fs::remove_dir_all(dir.path().join("images/train")).unwrap();
    fs::create_dir(dir.path().join("images/train")).unwrap();
    assert!(open(&dir, "data.yaml", Broken::Refuse).unwrap_err().to_string().contains("0 images"));
    fs::write(dir.path().join("data.yaml"), "train: images/train\n").unwrap();
    assert!(
        open(&dir, "data.yaml", Broken::Refuse).unwrap_err().to_string().contains("neither `names` nor `nc`")
    );
    assert!(open(&dir, "images", Broken::Refuse).unwrap_err().to_string().contains("no dataset"));
    assert!(open(&dir, "none.yaml", Broken::Refuse).is_err());
}

#[test]
fn label_files_without_images_are_listed_and_harmless() {
    let dir = yolo_folder();
    let lost = dir.path().join("labels/train/lost.txt");
    fs::write(&lost, "0 0.5 0.5 0.1 0.1\n").unwrap();
    let source = Source::open(&dir.path().join("data.yaml"), Broken::Refuse).unwrap();
    assert_eq!(source.scan(Split::Train).unwrap().orphans, [lost]);
    assert_eq!(source.split(Split::Train).unwrap().samples.len(), 2);
}

fn voc_xml(name: &str, class: &str) -> String {
    format!(
        "<annotation><filename>{name}.png</filename><size><width>40</width><height>20</height></size>\
         <object><name>{class}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>\
         </object></annotation>"
    )
}

#[test]
fn voc_splits_share_their_classes() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["Annotations", "JPEGImages", "ImageSets/Main"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (name, class) in [("a", "zebra"), ("b", "ant")] {
        save_image(&dir.path().join(format!("JPEGImages/{name}.png")));
        fs::write(dir.path().join(format!("Annotations/{name}.xml")), voc_xml(name, class)).unwrap();
    }
    let whole = Source::open(dir.path(), Broken::Refuse).unwrap();
    assert!(!whole.is_divided());
    assert_eq!(whole.split(Split::Test).unwrap().samples.len(), 2);

    fs::write(dir.path().join("ImageSets/Main/train.txt"), "a\n").unwrap();
    fs::write(dir.path().join("ImageSets/Main/val.txt"), "b\nc\n").unwrap();
    let divided = Source::open(dir.path(), Broken::Refuse).unwrap();
    assert!(divided.is_divided() && !divided.has(Split::Test));
    let train = divided.split(Split::Train).unwrap();
    assert_eq!(train.classes, ["ant", "zebra"]);
    assert_eq!(train.samples[0].boxes[0].class, 1);
    let error = divided.split(Split::Val).unwrap_err().to_string();
    assert!(error.contains("val.txt:2: no annotation Annotations/c.xml"), "{error}");

    // The same folder named in a data.yaml that lists the classes otherwise.
    fs::write(dir.path().join("data.yaml"), "train: .\nnames: [zebra, ant]\n").unwrap();
    let named = open(&dir, "data.yaml", Broken::Refuse).unwrap();
    assert_eq!(named.samples.len(), 1);
    assert_eq!(named.samples[0].boxes[0].class, 0);
}

#[test]
fn coco_files_serve_alone_in_folders_and_in_a_yaml() {
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 8, 8]}],
        "categories": [{"id": 5, "name": "dog"}]}"#;
    for split in ["train", "valid"] {
        fs::create_dir(dir.path().join(split)).unwrap();
        save_image(&dir.path().join(split).join("a.png"));
        fs::write(dir.path().join(split).join("_annotations.coco.json"), json).unwrap();
    }
    let alone = Source::open(&dir.path().join("train/_annotations.coco.json"), Broken::Refuse).unwrap();
    assert!(!alone.is_divided());
    assert_eq!(alone.split(Split::Val).unwrap().samples.len(), 1);

    let folders = Source::open(dir.path(), Broken::Refuse).unwrap();
    assert!(folders.is_divided() && folders.has(Split::Val) && !folders.has(Split::Test));
    assert_eq!(folders.split(Split::Val).unwrap().samples[0].image, dir.path().join("valid/a.png"));

    fs::write(dir.path().join("data.yaml"), "train: train/_annotations.coco.json\nnames: [cat, dog]\n")
        .unwrap();
    let named = open(&dir, "data.yaml", Broken::Refuse).unwrap();
    assert_eq!(named.samples[0].boxes[0].class, 1);
}

#[test]
fn categories_of_one_name_are_refused_unless_a_yaml_makes_them_one() {
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 8, 8]},
            {"id": 2, "image_id": 1, "category_id": 6, "bbox": [9, 9, 8, 8]}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 6, "name": "dog"}]}"#;
    save_image(&dir.path().join("a.png"));
    fs::write(dir.path().join("coco.json"), json).unwrap();
    let error = open(&dir, "coco.json", Broken::Skip).unwrap_err().to_string();
    assert!(error.contains("two categories called \"dog\"") && error.contains("data.yaml"), "{error}");
    fs::write(dir.path().join("data.yaml"), "train: coco.json\nnames: [cat, dog]\n").unwrap();
    let named = open(&dir, "data.yaml", Broken::Refuse).unwrap();
    assert!(named.samples[0].boxes.len() == 2 && named.samples[0].boxes.iter().all(|b| b.class == 1));
}

#[test]
fn voc_annotations_of_one_name_are_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["Annotations/x", "Annotations/y", "JPEGImages"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    save_image(&dir.path().join("JPEGImages/a.png"));
    fs::write(dir.path().join("Annotations/x/a.xml"), voc_xml("a", "ant")).unwrap();
    assert_eq!(open(&dir, "", Broken::Refuse).unwrap().samples.len(), 1);
    fs::write(dir.path().join("Annotations/y/a.xml"), voc_xml("a", "bee")).unwrap();
    let error = open(&dir, "", Broken::Skip).unwrap_err().to_string();
    assert!(error.contains("x/a.xml") && error.contains("y/a.xml"), "{error}");
    fs::remove_file(dir.path().join("Annotations/y/a.xml")).unwrap();
    fs::write(dir.path().join("Annotations/x/a.xml"), voc_xml("b", "ant").replace("40", "41")).unwrap();
    let error = open(&dir, "", Broken::Refuse).unwrap_err().to_string();
    assert!(error.contains("Annotations/x/a.xml:1:"), "the file itself is named: {error}");
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_lies_in_the_files_nothing_panics(label: Vec<u8>, image: Vec<u8>, yaml: Vec<u8>) {
        let dir = yolo_folder();
        fs::write(dir.path().join("labels/train/a.txt"), label).unwrap();
        fs::write(dir.path().join("images/train/b.png"), image).unwrap();
        let _ = open(&dir, "data.yaml", Broken::Skip);
        fs::write(dir.path().join("data.yaml"), yaml).unwrap();
        let _ = open(&dir, "data.yaml", Broken::Skip);
    }
}

fn shared(folder: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("REPEDGE_SHARED_DATA").map_or(beside, PathBuf::from).join(folder)
}

#[test]
#[ignore = "needs ../shared/data (BCCD, coco128)"]
fn bccd_reads_whole() {
    let source = Source::open(&shared("bccd"), Broken::Refuse).unwrap();
    assert_eq!(source.classes(), ["Platelets", "RBC", "WBC"]);
    let mut zero_area = 0;
    for (split, images, boxes) in [(Split::Train, 205, 2804), (Split::Val, 87, 1137), (Split::Test, 72, 945)]
    {
        let dataset = source.split(split).unwrap();
        assert_eq!(dataset.samples.len(), images);
        assert_eq!(dataset.samples.iter().map(|sample| sample.boxes.len()).sum::<usize>(), boxes);
        assert!(verify(&dataset.samples).is_empty());
        zero_area += dataset.notes.zero_area;
    }
    assert_eq!(zero_area, 2);
}

#[test]
#[ignore = "needs ../shared/data (BCCD, coco128)"]
fn coco128_reads_whole() {
    let source = Source::open(&shared("coco128/data.yaml"), Broken::Refuse).unwrap();
    assert_eq!(source.classes().len(), 80);
    let scan = source.scan(Split::Train).unwrap();
    assert!(scan.faults.is_empty());
    assert_eq!((scan.dataset.samples.len(), scan.orphans.len()), (128, 2));
    assert_eq!(scan.dataset.samples.iter().map(|sample| sample.boxes.len()).sum::<usize>(), 929);
    assert_eq!(source.split(Split::Val).unwrap(), scan.dataset);
}
