//! Reads a plan's YAML strictly: an unknown key, a name twice or a number out of range is an error that says where and
//! what was probably meant.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use super::{Changes, Plan, Variant, wrong};
use crate::ablate::outputs::is_reserved;
use crate::dataset::{Broken, Split};
use crate::model::{Activation, Block, MODEL_NAMES};
use crate::train::bench::MAX_STEPS;
use crate::train::{Hyper, MAX_BATCH, MAX_EPOCHS, MAX_THREADS};
use crate::{Error, Result, yaml};

const MAX_VARIANTS: usize = 64;
const MAX_SEEDS: usize = 100;
/// The article's longest timing is 118,287 frames; this is a day's.
const MAX_FRAMES: usize = 10_000_000;
const MAX_TIMINGS: usize = 100;
const MAX_PICTURES: usize = 1000;
const MAX_NAME_BYTES: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a plan, which is keys and values")]
struct Raw {
    data: Option<PathBuf>,
    #[serde(default = "test")]
    split: String,
    epochs: usize,
    imgsz: usize,
    #[serde(default = "sixteen")]
    batch: usize,
    #[serde(default = "sixty_four")]
    nbs: usize,
    seeds: Vec<u64>,
    #[serde(default = "cpu")]
    device: String,
    #[serde(default = "one")]
    threads: usize,
    #[serde(default = "one")]
    workers: usize,
    hyp: Option<PathBuf>,
    #[serde(default)]
    skip_broken: bool,
    variants: Vec<RawVariant>,
    #[serde(default = "article")]
    frames: Vec<usize>,
    #[serde(default = "four")]
    pictures: usize,
    #[serde(default = "thirty_two")]
    bench_steps: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a variant: {name: …, model: …}")]
struct RawVariant {
    name: String,
    model: String,
    act: Option<Activation>,
    block: Option<Block>,
    #[serde(default)]
    baseline: bool,
}

fn test() -> String {
    "test".into()
}

fn cpu() -> String {
    "cpu".into()
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

fn sixteen() -> usize {
    16
}

fn thirty_two() -> usize {
    32
}

fn sixty_four() -> usize {
    64
}

/// The lengths the article timed that take minutes.
fn article() -> Vec<usize> {
    vec![500, 5000, 5000, 5000]
}

pub(super) fn read(path: &Path, changes: Changes) -> Result<Plan> {
    parse(path, &yaml::read(path)?, changes)
}

fn parse(path: &Path, text: &[u8], changes: Changes) -> Result<Plan> {
    let raw: Raw = yaml::parse(text).map_err(|message| {
        let hint = suggestion(&message)
            .unwrap_or_else(|| "compare with the plans in train-host/plans, which explain each key".into());
        wrong(
            path,
            message,
            "a plan: epochs, imgsz, seeds, variants, and what differs from the defaults",
            &hint,
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let baseline = check(path, &raw, &changes)?;
    let data = match (changes.data, raw.data) {
        (Some(data), _) => data,
        (None, Some(data)) => folder.join(data),
        (None, None) => return Err(no_data(path)),
    };
    let hyper = raw.hyp.map(|hyp| Hyper::read(&folder.join(hyp))).transpose()?.unwrap_or_default();
    Ok(Plan {
        name: path.file_stem().map_or_else(|| "plan".into(), |stem| stem.to_string_lossy().into_owned()),
        data: std::path::absolute(&data).map_err(|e| Error::io(&data, e))?,
        split: split(path, &raw.split)?,
        epochs: raw.epochs,
        imgsz: raw.imgsz,
        batch: raw.batch,
        nominal_batch: raw.nbs,
        seeds: raw.seeds,
        device: raw.device,
        threads: raw.threads,
        workers: raw.workers,
        hyper,
        broken: if raw.skip_broken { Broken::Skip } else { Broken::Refuse },
        variants: raw.variants.into_iter().map(|variant| resolve(variant, folder)).collect::<Result<_>>()?,
        baseline,
        frames: changes.frames.unwrap_or(raw.frames),
        pictures: raw.pictures,
        bench_steps: raw.bench_steps,
    })
}

/// Checks what the types do not; returns the index of the baseline.
fn check(path: &Path, raw: &Raw, changes: &Changes) -> Result<usize> {
    let frames = changes.frames.as_ref().unwrap_or(&raw.frames);
    for (name, count, limit) in [
        ("seeds", raw.seeds.len(), MAX_SEEDS),
        ("variants", raw.variants.len(), MAX_VARIANTS),
        ("frames", frames.len(), MAX_TIMINGS),
    ] {
        if !(1..=limit).contains(&count) {
            return Err(wrong(
                path,
                format!("{count} {name}"),
                format!("1 to {limit} of them"),
                "correct the list",
            ));
        }
    }
    for (key, value, limit) in [
        ("epochs", raw.epochs, MAX_EPOCHS),
        // Whether it fits the models' strides is for `Architecture::check_imgsz` to say.
        ("imgsz", raw.imgsz, artifact::MAX_SIDE_PX),
        ("batch", raw.batch, MAX_BATCH),
        ("nbs", raw.nbs, MAX_BATCH),
        ("threads", raw.threads, MAX_THREADS),
        ("workers", raw.workers, MAX_THREADS),
        ("bench_steps", raw.bench_steps, MAX_STEPS),
    ] {
        if !(1..=limit).contains(&value) {
            let hint = format!("correct {key}");
            return Err(wrong(path, format!("{key}: {value}"), format!("1 to {limit}"), &hint));
        }
    }
    for &count in frames {
        if !(1..=MAX_FRAMES).contains(&count) {
            let expected = format!("1 to {MAX_FRAMES}");
            return Err(wrong(
                path,
                format!("a timing of {count} frames"),
                expected,
                "correct frames or --frames",
            ));
        }
    }
    if raw.pictures > MAX_PICTURES {
        let found = format!("{} pictures", raw.pictures);
        return Err(wrong(path, found, format!("at most {MAX_PICTURES}"), "correct pictures"));
    }
    let mut seen = HashSet::new();
    if let Some(seed) = raw.seeds.iter().find(|seed| !seen.insert(**seed)) {
        return Err(wrong(path, format!("seed {seed} twice"), "each seed once", "remove one"));
    }
    check_names(path, &raw.variants)?;
    let marked: Vec<usize> = (0..raw.variants.len()).filter(|&i| raw.variants[i].baseline).collect();
    match marked[..] {
        [one] => Ok(one),
        _ => Err(wrong(
            path,
            format!("{} variants with `baseline: true`", marked.len()),
            "exactly one: the plain model that the others are compared to",
            "mark the plain model, such as yolov5n",
        )),
    }
}

fn check_names(path: &Path, variants: &[RawVariant]) -> Result<()> {
    // File systems that do not tell cases apart would put two variants into one folder.
    let mut seen = HashSet::new();
    for RawVariant { name, .. } in variants {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_folder_name = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= MAX_NAME_BYTES
            && name.chars().all(is_plain);
        if !is_folder_name || is_reserved(name) {
            return Err(wrong(
                path,
                format!("a variant called {name:?}"),
                "letters, digits, `-`, `_` and `.`: it becomes the name of a folder beside results such as table.md",
                "rename the variant",
            ));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            let found = format!("two variants called {name:?}");
            return Err(wrong(path, found, "a name of its own for each", "rename one"));
        }
    }
    Ok(())
}

/// Built-in models are names; everything else is a file that starts from the plan's folder.
fn resolve(raw: RawVariant, folder: &Path) -> Result<Variant> {
    let RawVariant { name, model, act, block, baseline: _ } = raw;
    let is_file = !MODEL_NAMES.contains(&model.as_str()) && Path::new(&model).extension().is_some();
    let model = if is_file {
        let file = folder.join(&model);
        std::path::absolute(&file).map_err(|e| Error::io(&file, e))?.to_string_lossy().into_owned()
    } else {
        model
    };
    Ok(Variant { name, model, act, block })
}

fn split(path: &Path, name: &str) -> Result<Split> {
    Split::from_str(name, false).map_err(|_| {
        let names = Split::ALL.map(Split::name);
        let hint =
            nearest(name, names).map_or_else(|| "correct split".into(), |near| format!("write {near}"));
        wrong(path, format!("split: {name}"), names.join(", "), &hint)
    })
}

fn no_data(path: &Path) -> Error {
    wrong(
        path,
        "no dataset",
        "`data` in the plan, or --data",
        "pass --data with a data.yaml, COCO json or VOC folder",
    )
}

/// Other names of things that have one here: Swish with β = 1 is SiLU (arXiv 1710.05941).
const SYNONYMS: [(&str, &str); 1] = [("swish", "silu")];

/// What was probably meant by the unknown word in serde's message, which quotes it first and then the known ones:
/// "unknown field `epoch`, expected one of `data`, `epochs`".
fn suggestion(message: &str) -> Option<String> {
    message.contains("unknown ").then_some(())?;
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    let synonym = SYNONYMS.iter().find(|(other, ours)| unknown == *other && known.contains(ours));
    let near = synonym.map(|(_, ours)| *ours).or_else(|| nearest(unknown, known))?;
    Some(format!("did you mean `{near}`?"))
}

/// The candidate that takes the fewest edits, at most one for each three letters begun.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate)).min()?;
    (near.0 <= limit).then_some(near.1)
}

/// Levenshtein's: insertions, deletions and substitutions that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
