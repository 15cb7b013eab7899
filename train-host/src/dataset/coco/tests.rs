//! COCO files read whole, and what is wrong with them named by line.

use super::*;

#[test]
fn elements_are_found_by_line() {
    let json = br#"{"info": {"annotations": [{}, {}]},
"images": [
  {"id": 1, "t": "a ] \" { "}, {"id": 2},
  {"id": 3}
], "annotations":
[{"id": 1, "segmentation": [[1, 2], {"x": [{}]}]},

{"id": 2}]}"#;
    let line = |key: &str, index| line_of_element(json, key, index);
    assert_eq!(line("images", 0), Some(3));
    assert_eq!(line("images", 1), Some(3));
    assert_eq!(line("images", 2), Some(4));
    assert_eq!(line("annotations", 0), Some(6));
    assert_eq!(line("annotations", 1), Some(8));
    assert_eq!(line("annotations", 2), None);
}

const GOOD: &str = r#"{
"images": [
{"id": 7, "file_name": "a.png", "width": 100, "height": 50},
{"id": 3, "file_name": "sub/b.png", "width": 20, "height": 20}],
"categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
"annotations": [
{"id": 1, "image_id": 7, "category_id": 9, "bbox": [10, 5, 20, 20]},
{"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5], "iscrowd": 1},
{"id": 3, "image_id": 3, "category_id": 2, "bbox": [0, 0, 20.5, 20]}
]}"#;

fn read(json: &str) -> Result<Vec<Reading>, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("images/sub")).unwrap();
    fs::create_dir(dir.path().join("annotations")).unwrap();
    image::RgbImage::new(100, 50).save(dir.path().join("images/a.png")).unwrap();
    image::RgbImage::new(20, 20).save(dir.path().join("images/sub/b.png")).unwrap();
    let path = dir.path().join("annotations/instances_val.json");
    fs::write(&path, json).unwrap();
    let file = CocoFile::open(&path)?;
    Ok(file.read(&file.classes()))
}

#[test]
fn classes_follow_category_ids_and_images_the_file() {
    let readings = read(GOOD).unwrap();
    let (first, notes) = readings[0].as_ref().unwrap();
    assert_eq!(first.boxes, [crate::dataset::LabelBox { class: 1, cx: 0.2, cy: 0.3, w: 0.2, h: 0.4 }]);
    assert_eq!(notes.ignored, 1);
    let (second, _) = readings[1].as_ref().unwrap();
    assert_eq!(second.boxes[0].class, 0);
    assert_eq!(second.boxes[0].w, 1.0);
}

#[test]
fn faults_are_named_by_line() {
    for (from, to, line) in [
        ("[10, 5, 20, 20]", "[10, 5, 200, 20]", 7),
        ("[10, 5, 20, 20]", "[10, 5, -20, 20]", 7),
        ("\"category_id\": 9", "\"category_id\": 8", 7),
        ("\"image_id\": 3", "\"image_id\": 4", 9),
        ("sub/b.png", "c.png", 4),
        ("\"height\": 50", "\"height\": 51", 3),
    ] {
        let readings = read(&GOOD.replace(from, to)).unwrap();
        let faults: Vec<_> = readings.into_iter().filter_map(Result::err).collect();
        assert_eq!(faults.len(), 1, "{to}: {faults:?}");
        assert_eq!(faults[0].line, Some(line), "{}", faults[0]);
    }
}

#[test]
fn files_that_are_no_coco_are_refused() {
    for (json, named) in [
        ("{\n\"images\": [}", ":2:"),
        ("{}", "images"),
        (&GOOD.replace("\"id\": 3, \"file", "\"id\": 7, \"file"), "image id 7"),
        (&GOOD.replace("\"id\": 9", "\"id\": 2"), "category id 2"),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("instances_val.json"), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn random_text_never_panics(text in "[\\[\\]{}\",:a\\\\\n ]{0,60}") {
        let _ = line_of_element(text.as_bytes(), "a", 1);
    }
}
