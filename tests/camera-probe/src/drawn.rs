//! Whether a picture of the demo's page shows the boxes and labels of what was found: they are drawn once more onto black, and
//! what is then not black must be in the picture, too.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use repedge::{Detection, Image, draw, frame};
use serde_json::Value;

/// What a color may be off: a JPEG keeps colors at half the size, which thin lines feel.
const OFF: u8 = 96;
/// The least part of what is drawn that must be in the picture, in percent. Of a picture without an overlay, hardly anything is.
const LEAST_PERCENT: usize = 60;

/// Fails unless the picture shows what one of the JSON lines in the file says.
pub fn check(picture: &Path, lines: &Path) -> Result<()> {
    let image = frame::read_image(picture)?;
    let text = std::fs::read_to_string(lines).with_context(|| format!("cannot read {}", lines.display()))?;
    let mut best = None;
    // The last line may be under way.
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let is_of_size = line["width_px"] == image.width_px && line["height_px"] == image.height_px;
        let (found, classes) = read(&line)?;
        if is_of_size && !found.is_empty() {
            best = best.max(Some(percent_shown(&image, &found, &classes)));
        }
    }
    let size = format!("{}x{} pixels", image.width_px, image.height_px);
    let best = best.with_context(|| format!("no line tells of something in a picture of {size}"))?;
    eprintln!("{best} % of what is drawn for a line is in the picture of {size}");
    ensure!(best >= LEAST_PERCENT, "{best} % of boxes and labels are in the picture, not {LEAST_PERCENT} %");
    Ok(())
}

/// What a line tells of, and names by class.
fn read(line: &Value) -> Result<(Vec<Detection>, Vec<String>)> {
    let (mut found, mut classes) = (Vec::new(), Vec::new());
    for object in line["detections"].as_array().context("a line without detections")? {
        let class = usize::try_from(object["class"].as_u64().context("a detection without a class")?)?;
        let [x0, y0, x1, y1]: [f32; 4] = serde_json::from_value(object["box_px"].clone())?;
        let score = serde_json::from_value(object["score"].clone())?;
        if classes.len() <= class {
            classes.resize(class + 1, String::new());
        }
        classes[class] = object["name"].as_str().unwrap_or_default().to_owned();
        found.push(Detection { class, score, x0, y0, x1, y1 });
    }
    Ok((found, classes))
}

/// How much of what is drawn for these is in the picture, in percent.
fn percent_shown(image: &Image, found: &[Detection], classes: &[String]) -> usize {
    let mut overlay = Image::filled(image.width_px, image.height_px, [0; 3]);
    draw::draw_detections(&mut overlay, found, classes);
    let pairs = overlay.rgb.as_chunks::<3>().0.iter().zip(image.rgb.as_chunks::<3>().0);
    let (mut drawn, mut shown) = (0, 0);
    for (expected, there) in pairs.filter(|(expected, _)| **expected != [0; 3]) {
        drawn += 1;
        shown += usize::from(expected.iter().zip(there).all(|(one, other)| one.abs_diff(*other) <= OFF));
    }
    100 * shown / drawn.max(1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const LINE: &str = r#"{"width_px":96,"height_px":64,"detections":[{"class":1,"name":"disc","score":0.9,"box_px":[20.0,24.0,60.0,60.0]}]}"#;

    /// A folder with a picture of gray, on which `drawn` was drawn, and lines.
    fn scene(folder: &Path, drawn: &[Detection], lines: &str) -> [PathBuf; 2] {
        let mut image = Image::filled(96, 64, [120; 3]);
        draw::draw_detections(&mut image, drawn, &["".into(), "disc".into()]);
        let paths = ["picture.png", "lines"].map(|name| folder.join(name));
        frame::write_png(&paths[0], &image).unwrap();
        std::fs::write(&paths[1], lines).unwrap();
        paths
    }

    #[test]
    fn an_overlay_is_seen_and_a_picture_without_one_is_not_enough() {
        let folder = std::env::temp_dir().join(format!("camera-probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let box_px = Detection { class: 1, score: 0.9, x0: 20.0, y0: 24.0, x1: 60.0, y1: 60.0 };
        let nothing = LINE.replace("96", "640");
        let [picture, lines] = scene(&folder, &[box_px], &format!("{nothing}\n{LINE}\n{{\"cut"));
        check(&picture, &lines).unwrap();
        let elsewhere = Detection { x0: 0.0, y0: 0.0, x1: 10.0, y1: 10.0, ..box_px };
        for drawn in [&[][..], &[elsewhere]] {
            let [picture, lines] = scene(&folder, drawn, LINE);
            assert!(check(&picture, &lines).unwrap_err().to_string().contains("not 60 %"));
        }
        let [picture, lines] = scene(&folder, &[box_px], &nothing);
        assert!(check(&picture, &lines).unwrap_err().to_string().contains("no line tells"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
