//! YOLO label files: rows `class cx cy w h` in fractions, parsed by panlabel. Polygon rows (as Ultralytics' COCO has
//! them) are reduced to their boxes first. Never looks for images.

use std::borrow::Cow;
use std::path::Path;

use super::boxes::{Boxes, Corners};
use super::one_file::{OneFile, read_bytes};
use super::{BrokenFile, Reading, Sample, files, header};

/// Rounding in label files and in panlabel's conversions, in fractions of the image.
const ROUNDING: f64 = 1e-6;

/// One image with its label file; a missing label file means that nothing is on the image.
///
/// # Errors
/// The first thing wrong with the image or its labels.
pub(super) fn read(image: &Path, one: &OneFile) -> Reading {
    let (width_px, height_px) = header::image_size(image)?;
    let label = files::label_path(image);
    let boxes = if label.exists() {
        let content = read_bytes(&label).map_err(|reason| BrokenFile::whole(&label, reason))?;
        let pixel = [1.0 / f64::from(width_px), 1.0 / f64::from(height_px)];
        parse(&content, one, pixel).map_err(|(line, reason)| BrokenFile { path: label, line, reason })?
    } else {
        Boxes::default()
    };
    Ok((Sample { image: image.to_path_buf(), width_px, height_px, boxes: boxes.kept }, boxes.notes))
}

/// The boxes of a label file's `content`; `pixel` is one pixel as a fraction of the image's width and height.
///
/// # Errors
/// Line (from 1) and reason of the first bad row.
fn parse(content: &[u8], one: &OneFile, pixel: [f64; 2]) -> Result<Boxes, (Option<usize>, String)> {
    let content = polygons_to_boxes(content);
    let labels = one.read_yolo(&content).map_err(|complaint| (complaint.line, complaint.reason))?;
    let text = String::from_utf8_lossy(&content);
    let rows = text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty());
    let mut boxes = Boxes::default();
    for ((index, row), label) in rows.zip(&labels.annotations) {
        let at = |reason: String| (Some(index + 1), reason);
        let class = usize::try_from(label.category_id.as_u64().saturating_sub(1)).unwrap_or(usize::MAX);
        let (x0, x1) = (label.bbox.xmin(), label.bbox.xmax());
        let (y0, y1) = (label.bbox.ymin(), label.bbox.ymax());
        let values = [(x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0];
        if !values.iter().all(|v| (-ROUNDING..=1.0 + ROUNDING).contains(v)) {
            return Err(at(format!("{:?} has a coordinate outside 0..1", row.trim())));
        }
        boxes.push(class, Corners { x0, y0, x1, y1 }, [1.0; 2], pixel).map_err(at)?;
    }
    Ok(boxes)
}

/// Rows of an odd number of 7 or more fields, `class x y x y x y …`, become `class cx cy w h`; all else is untouched.
fn polygons_to_boxes(content: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(content) else { return Cow::Borrowed(content) };
    if !text.lines().any(|row| row.split_whitespace().count() >= 7) {
        return Cow::Borrowed(content);
    }
    let rows = text.lines().map(|row| polygon_to_box(row).unwrap_or_else(|| row.to_owned()));
    Cow::Owned(rows.collect::<Vec<_>>().join("\n").into_bytes())
}

fn polygon_to_box(row: &str) -> Option<String> {
    let (class, points) = row.trim().split_once(char::is_whitespace)?;
    let values: Vec<f64> = points.split_whitespace().map(|v| v.parse().ok()).collect::<Option<_>>()?;
    if values.len() < 6 || values.len() % 2 == 1 {
        return None;
    }
    // A NaN would vanish in min and max, so that a broken row would look sound.
    if values.iter().any(|v| !v.is_finite()) {
        return Some(format!("{class} NaN NaN NaN NaN"));
    }
    let range = |axis: usize| {
        let along = || values.iter().skip(axis).step_by(2).copied();
        (along().fold(f64::INFINITY, f64::min), along().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((x0, x1), (y0, y1)) = (range(0), range(1));
    Some(format!("{class} {} {} {} {}", (x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelBox;

    const PIXEL: [f64; 2] = [0.01, 0.01];

    fn parse_text(text: &[u8]) -> Result<Boxes, (Option<usize>, String)> {
        parse(text, &OneFile::yolo(3).unwrap(), PIXEL)
    }

    #[test]
    fn rows_become_boxes() {
        let boxes = parse_text(b"2 0.5 0.25 0.3 0.1\r\n\n0 1 1 0.5 0.5\n").unwrap();
        assert_eq!(boxes.kept[0], LabelBox { class: 2, cx: 0.5, cy: 0.25, w: 0.3, h: 0.1 });
        assert_eq!(boxes.kept[1], LabelBox { class: 0, cx: 0.875, cy: 0.875, w: 0.25, h: 0.25 });
        assert_eq!(boxes.notes.clipped, 1);
        assert!(parse_text(b"").unwrap().kept.is_empty());
    }

    #[test]
    fn a_polygon_becomes_its_box() {
        let boxes = parse_text(b"1 0.25 0.25 0.75 0.25 0.5 0.75\n0 0.5 0.5 1 1\n").unwrap();
        assert_eq!(boxes.kept[0], LabelBox { class: 1, cx: 0.5, cy: 0.5, w: 0.5, h: 0.5 });
        assert_eq!(boxes.kept.len(), 2);
    }

    #[test]
    fn broken_rows_are_named_by_line() {
        for bad in [
            "0 0.5 0.5 0.1",
            "3 0.5 0.5 0.1 0.1",
            "-1 0.5 0.5 0.1 0.1",
            "0 1.5 0.5 0.1 0.1",
            "0 0.5 0.5 -0.1 0.1",
            "0 0.5 0.5 1.1 0.1",
            "0 NaN 0.5 0.1 0.1",
            "0 0.5 inf 0.1 0.1",
            "cat 0.5 0.5 0.1 0.1",
            "0 0.1 0.1 0.2 0.2 NaN 0.1",
            "0 0.1 0.1 0.2 0.2 1.7 0.1",
        ] {
            let text = format!("0 0.5 0.5 0.1 0.1\n\n{bad}\n");
            let (line, reason) = parse_text(text.as_bytes()).expect_err(bad);
            assert_eq!(line, Some(3), "{bad}: {reason}");
        }
        assert!(parse_text(b"\xff\xfe").is_err());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse_text(&bytes);
        }

        #[test]
        fn what_is_kept_lies_inside_the_image(text in "([0-3] (-?[0-9.]{1,4}|NaN|inf) [0-9.]{1,3} [0-9e.-]{1,4} 0\\.[0-9]{1,7}\n){0,4}") {
            for label in parse_text(text.as_bytes()).map(|boxes| boxes.kept).unwrap_or_default() {
                proptest::prop_assert!(label.class < 3);
                proptest::prop_assert!(label.cx - label.w / 2.0 >= -1e-6 && label.cx + label.w / 2.0 <= 1.0 + 1e-6);
                proptest::prop_assert!(label.w > 0.0 && label.h > 0.0);
            }
        }
    }
}
