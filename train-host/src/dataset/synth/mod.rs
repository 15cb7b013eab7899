//! The embedded dataset: pictures of shapes rendered from a seed, with exact boxes. The same options give the same bytes
//! on a machine, whatever the number of threads. Uses no picture of the real world.

mod render;
mod scene;
mod shapes;
mod texture;

use std::fs;
use std::io::Write;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{LabelBox, Split, progress};
use crate::{Error, Result};

pub use shapes::CLASSES;

/// Changes whenever the same options give other pictures.
const GENERATOR: u32 = 3;
/// High enough that the boxes' edges stay sharp.
const JPEG_QUALITY: u8 = 92;
/// Written last into a finished dataset.
const STAMP: &str = "synth.json";
/// All that a dataset consists of, the stamp last.
const ENTRIES: [&str; 4] = ["images", "labels", "data.yaml", STAMP];

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Test images.
    pub test: usize,
    /// Width and height of the images.
    pub side_px: usize,
}

impl Default for Options {
    /// What the demo trains on.
    fn default() -> Self {
        Self { seed: 0, train: 400, val: 80, test: 80, side_px: 320 }
    }
}

impl Options {
    fn count(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Val => self.val,
            Split::Test => self.test,
        }
    }

    fn check(&self) -> Result<()> {
        let total = self.train.saturating_add(self.val).saturating_add(self.test);
        if !(64..=4096).contains(&self.side_px) || !(1..=1_000_000).contains(&total) || self.train == 0 {
            return Err(Error::input(
                format!("{total} images ({} to train on) of {} pixels", self.train, self.side_px),
                "1 to 1,000,000 images, at least one to train on, of 64 to 4096 pixels",
                "change --train, --val, --test or --size",
            ));
        }
        Ok(())
    }
}

/// The stamp of a finished dataset.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    generator: u32,
    options: Options,
}

/// What [`generate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The dataset was rendered.
    Made,
    /// It was there already, from the same options.
    AlreadyThere,
}

/// One rendered picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Width and height in pixels.
    pub side_px: usize,
    /// RGB, row-major.
    pub rgb: Vec<u8>,
    /// Boxes around what is visible of each object; class ids index [`CLASSES`].
    pub boxes: Vec<LabelBox>,
}

/// Renders picture `index` of `split`; depends on nothing but its arguments.
pub fn picture(seed: u64, side_px: usize, split: Split, index: usize) -> Picture {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = split as u8;
    key[16..24].copy_from_slice(&(index as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let scene = scene::Scene::random(side_px, &mut rng);
    let canvas = render::Canvas::paint(&scene, side_px, &mut rng);
    Picture { side_px, rgb: canvas.to_rgb(), boxes: scene.boxes() }
}

/// Makes the dataset in folder `out`: `images/SPLIT/N.jpg`, `labels/SPLIT/N.txt` and `data.yaml`. It is rendered in a
/// folder of its own and renamed, so that `out` is whole or absent; an `out` that exists already bears its stamp only
/// when it is whole. A dataset of the same options is left as it is; one of an older generator is replaced.
///
/// # Errors
/// [`Error::Input`] when the options are out of range or `out` holds anything else; [`Error::Artifact`] when it cannot
/// be written.
pub fn generate(out: &Path, options: &Options) -> Result<Outcome> {
    options.check()?;
    let stamp = Stamp { generator: GENERATOR, options: *options };
    let (outdated, holds) = match read_stamp(out) {
        Some(found) if found == stamp => return Ok(Outcome::AlreadyThere),
        Some(found) => (found.options == *options, "a dataset made with other options"),
        None => (false, "something else"),
    };
    let is_free = fs::read_dir(out).map_or(!out.exists(), |mut entries| entries.next().is_none());
    if !(outdated || is_free) {
        return Err(Error::input(
            format!("{} holds {holds}", out.display()),
            "a new folder, or one made with the same options",
            "choose another --out, or remove the folder",
        ));
    }
    // A folder that is there is kept: it may be a mount point, or the folder somebody works in.
    let is_there = out.is_dir();
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let around = if is_there { out } else { parent };
    fs::create_dir_all(around).map_err(|e| Error::io(around, e))?;
    let scratch =
        tempfile::Builder::new().prefix(".synth-").tempdir_in(around).map_err(|e| Error::io(around, e))?;
    // One level down, because the scratch folder is for its owner only.
    let whole = scratch.path().join("whole");
    render_all(&whole, &stamp)?;
    let placed = if is_there { move_into(out, &whole) } else { rename(&whole, out) };
    match placed {
        // Somebody else made the same meanwhile.
        Err(_) if read_stamp(out) == Some(stamp) => Ok(Outcome::AlreadyThere),
        placed => placed.map(|()| Outcome::Made),
    }
}

/// Moves the dataset in `whole` into the folder `out`, which has none or an outdated one.
fn move_into(out: &Path, whole: &Path) -> Result<()> {
    ENTRIES.iter().rev().try_for_each(|name| remove(&out.join(name)))?;
    ENTRIES.iter().try_for_each(|name| rename(&whole.join(name), &out.join(name)))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(to, e))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

fn read_stamp(out: &Path) -> Option<Stamp> {
    serde_json::from_slice(&fs::read(out.join(STAMP)).ok()?).ok()
}

fn render_all(folder: &Path, stamp: &Stamp) -> Result<()> {
    let options = &stamp.options;
    let splits: Vec<Split> = Split::ALL.into_iter().filter(|&split| options.count(split) > 0).collect();
    for split in &splits {
        for kind in ["images", "labels"] {
            let dir = folder.join(kind).join(split.name());
            fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        }
    }
    let jobs: Vec<(Split, usize)> =
        splits.iter().flat_map(|&split| (0..options.count(split)).map(move |index| (split, index))).collect();
    let bar = progress::bar(jobs.len(), "rendering");
    jobs.into_par_iter().try_for_each(|(split, index)| {
        let made = picture(options.seed, options.side_px, split, index);
        bar.inc(1);
        write_picture(folder, split, index, &made)
    })?;
    bar.finish_and_clear();
    write_synced(&folder.join("data.yaml"), data_yaml(&splits).as_bytes())?;
    let json = serde_json::to_vec_pretty(stamp).map_err(|e| Error::io(folder, e.into()))?;
    write_synced(&folder.join(STAMP), &json)
}

fn write_picture(folder: &Path, split: Split, index: usize, picture: &Picture) -> Result<()> {
    let file = |kind: &str, extension: &str| folder.join(format!("{kind}/{split}/{index:06}.{extension}"));
    let side = u32::try_from(picture.side_px).unwrap_or(u32::MAX);
    let mut jpeg = Vec::new();
    let path = file("images", "jpg");
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode(&picture.rgb, side, side, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::io(&path, std::io::Error::other(e)))?;
    write_synced(&path, &jpeg)?;
    let rows: String = picture
        .boxes
        .iter()
        .map(|b| format!("{} {:.6} {:.6} {:.6} {:.6}\n", b.class, b.cx, b.cy, b.w, b.h))
        .collect();
    write_synced(&file("labels", "txt"), rows.as_bytes())
}

fn data_yaml(splits: &[Split]) -> String {
    let places = splits.iter().map(|split| format!("{split}: images/{split}\n"));
    let names = CLASSES.iter().enumerate().map(|(id, name)| format!("  {id}: {name}\n"));
    let head = "# Made by `train-host data synth`.\npath: .\n".to_owned();
    std::iter::once(head).chain(places).chain(["names:\n".to_owned()]).chain(names).collect()
}

/// Writes a file of a folder that is renamed as a whole later.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| Error::io(path, e))
}

/// A count or a coordinate of a canvas as f32.
fn to_f32(v: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "canvas sides and pixel counts stay below 2^24")]
    let v = v as f32;
    v
}

#[cfg(test)]
mod tests;
