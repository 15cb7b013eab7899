//! Full decoding of every image: the check a header cannot give. Changes nothing.

use rayon::prelude::*;

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
    let image = image::open(&sample.image)
        .map_err(|e| BrokenFile::whole(&sample.image, format!("does not decode: {e}")))?;
    if (image.width(), image.height()) == (sample.width_px, sample.height_px) {
        Ok(())
    } else {
        Err(BrokenFile::whole(&sample.image, "decodes to another size than its header says"))
    }
}
