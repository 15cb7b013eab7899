//! `train-host data`: makes the synthetic dataset, or says what is in a dataset and what is wrong with it.

use std::path::PathBuf;

use super::json::{self, JsonArgs};
use crate::console::say;
use crate::dataset::{Broken, Inspection, Source, Split, inspect, synth};
use crate::{Error, Result};

/// Arguments of `train-host data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Render a synthetic dataset of shapes; the same options give the same bytes.
    Synth(SynthArgs),
    /// Count classes, measure boxes, decode every image, and name what is broken.
    Inspect(InspectArgs),
    /// Print the paths of a split's images, one a line.
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct SynthArgs {
    /// Folder to make; data.yaml lies in it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Everything random follows from it.
    #[arg(long, value_name = "N", default_value_t = synth::Options::default().seed)]
    seed: u64,
    /// Training images.
    #[arg(long, value_name = "N", default_value_t = synth::Options::default().train)]
    train: usize,
    /// Validation images.
    #[arg(long, value_name = "N", default_value_t = synth::Options::default().val)]
    val: usize,
    /// Test images.
    #[arg(long, value_name = "N", default_value_t = synth::Options::default().test)]
    test: usize,
    /// Width and height of the images in pixels.
    #[arg(long, value_name = "PX", default_value_t = synth::Options::default().side_px)]
    size: usize,
}

#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// A YOLO data.yaml, COCO json file or Pascal VOC folder.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Look at this split only [default: all there are].
    #[arg(long)]
    split: Option<Split>,
    /// Write label plots (SVG) and a sheet of labeled pictures (PNG) into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Report broken labels and images without failing.
    #[arg(long)]
    skip_broken: bool,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// A YOLO data.yaml, COCO json file or Pascal VOC folder.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Part of the dataset [default: test where there is one, else val].
    #[arg(long)]
    split: Option<Split>,
    /// Print at most this many.
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for options that cannot be used or a folder in the way, [`Error::Data`] for a dataset that cannot
/// be read or is broken, [`Error::Artifact`] when something cannot be written.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Synth(args) => run_synth(&args),
        Command::Inspect(args) => run_inspect(&args),
        Command::List(args) => run_list(&args),
    }
}

fn run_synth(args: &SynthArgs) -> Result<()> {
    let options = synth::Options {
        seed: args.seed,
        train: args.train,
        val: args.val,
        test: args.test,
        side_px: args.size,
    };
    let outcome = synth::generate(&args.out, &options)?;
    let yaml = args.out.join("data.yaml");
    match outcome {
        synth::Outcome::Made => {
            let total = args.train + args.val + args.test;
            say(format_args!("{}: {total} images of {} classes", yaml.display(), synth::CLASSES.len()));
        }
        synth::Outcome::AlreadyThere => say(format_args!("{}: already there", yaml.display())),
    }
    Ok(())
}

fn run_inspect(args: &InspectArgs) -> Result<()> {
    let policy = if args.skip_broken { Broken::Skip } else { Broken::Refuse };
    let source = Source::open(&args.data, policy)?;
    if !source.is_divided() {
        say(format_args!("note: {} has no splits: every split is all of it", args.data.display()));
    }
    let splits: Vec<Split> = match args.split {
        Some(split) => vec![split],
        None if !source.is_divided() => vec![Split::Train],
        None => Split::ALL.into_iter().filter(|&split| source.has(split)).collect(),
    };
    let found: Vec<Inspection> = splits
        .into_iter()
        .map(|split| inspect(&source, split, args.out.as_deref()))
        .collect::<Result<_>>()?;
    args.json.emit(&found)?;
    for inspection in &found {
        args.json.say(&inspection.to_string())?;
    }
    if let Some(out) = &args.out {
        say(format_args!("plots and pictures: {}", out.display()));
    }
    if found.iter().all(|inspection| inspection.images == 0) {
        return Err(Error::data(
            format!("{} has no sound image", args.data.display()),
            "at least one image",
            "check the paths in the data.yaml",
        ));
    }
    found.iter().try_for_each(|inspection| inspection.judge(policy))
}

/// Broken images are left out: a list is for looking at pictures, not for judging a dataset.
fn run_list(args: &ListArgs) -> Result<()> {
    let source = Source::open(&args.data, Broken::Skip)?;
    let split = args.split.unwrap_or(if source.has(Split::Test) { Split::Test } else { Split::Val });
    for sample in source.split(split)?.samples.iter().take(args.limit) {
        json::print(&format!("{}\n", sample.image.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Probe {
        #[command(flatten)]
        args: Args,
    }

    fn data(words: &[&str]) -> Result<()> {
        run(Probe::try_parse_from([&["data"], words].concat()).unwrap().args)
    }

    #[test]
    fn what_synth_makes_inspect_accepts_until_it_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (made, yaml, out) = (path("made"), path("made/data.yaml"), path("out"));
        let json = format!("--json={}", path("found.json"));
        data(&["synth", "--out", &made, "--train", "3", "--val", "1", "--test", "0", "--size", "64"])
            .unwrap();
        data(&["inspect", &yaml, "--out", &out, &json]).unwrap();
        for file in ["train-labels.svg", "train-pictures.png", "val-labels.svg", "val-pictures.png"] {
            assert!(dir.path().join("out").join(file).is_file(), "{file}");
        }
        let found = std::fs::read_to_string(path("found.json")).unwrap();
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found[0]["images"], 3);
        assert_eq!(found[1]["split"], "val");

        std::fs::write(path("made/labels/train/000001.txt"), "9 0.5 0.5 0.1 0.1\n").unwrap();
        let error = data(&["inspect", &yaml, &json]).unwrap_err().to_string();
        assert!(error.contains("000001.txt:1:"), "{error}");
        data(&["inspect", &yaml, "--skip-broken", &json]).unwrap();
        assert!(
            data(&["inspect", &yaml, "--split", "test", &json]).unwrap_err().to_string().contains("no test")
        );
    }
}
