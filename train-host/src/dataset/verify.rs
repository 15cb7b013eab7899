//! Full decoding of every image: the check a header cannot give. Changes nothing.

use rayon::prelude::*;
use repedge::frame::read_image;

use super::{BrokenFile, Sample, progress};

/// Decodes every image in parallel and names those that do not decode or change size.
pub fn verify(samples: &[Sample]) -> Vec<BrokenFile> {
    let bar = progress::bar(samples.len(), "decoding");
    let faults = samples
        .par_iter()
        .filter_map(|sample| {
            let fault = decode(sample).err();
            bar.inc(1);
            fault
        })
        .collect();
    bar.finish_and_clear();
    faults
}

fn decode(sample: &Sample) -> Result<(), BrokenFile> {
    let broken = |reason: String| BrokenFile::whole(&sample.image, reason);
    let image = read_image(&sample.image).map_err(|error| match error {
        repedge::Error::Input(fault) => broken(format!("does not decode: {}", fault.found)),
        other => broken(other.to_string()),
    })?;
    if (image.width_px, image.height_px) == (sample.width_px as usize, sample.height_px as usize) {
        Ok(())
    } else {
        Err(broken(format!("decodes to {} × {} pixels, unlike its header", image.width_px, image.height_px)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_behind_a_sound_header_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [whole, damaged] = ["whole.png", "damaged.png"].map(|name| dir.path().join(name));
        image::RgbImage::from_pixel(20, 10, image::Rgb([9, 8, 7])).save(&whole).unwrap();
        let mut bytes = std::fs::read(&whole).unwrap();
        // Inside the compressed pixels, after signature and header chunk (33 bytes) and IDAT's length and type.
        bytes[45] ^= 0xFF;
        std::fs::write(&damaged, bytes).unwrap();
        let sample = |path: &std::path::Path| Sample {
            image: path.to_path_buf(),
            width_px: 20,
            height_px: 10,
            boxes: Vec::new(),
        };
        let faults = verify(&[sample(&whole), sample(&damaged), Sample { width_px: 21, ..sample(&whole) }]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[0].path, damaged);
        assert!(faults[1].reason.contains("unlike its header"));
    }
}
