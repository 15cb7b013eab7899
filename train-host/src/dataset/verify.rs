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
