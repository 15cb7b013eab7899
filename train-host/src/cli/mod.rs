//! The command line: one file a command, each holding its arguments and `run`. No work is done here.

#[cfg(feature = "torch")]
mod ablate;
mod bench_int8;
#[cfg(feature = "torch")]
mod bench_train;
mod convert;
mod data;
mod eval;
mod fuse;
mod import;
pub mod json;
mod npu;
mod out_path;
#[cfg(feature = "torch")]
mod qat;
mod quantize;
mod release;
mod report;
mod show;
mod sign;
#[cfg(feature = "torch")]
mod train;

use clap::{Parser, Subcommand};

use crate::Result;
use crate::model::MODEL_NAMES;

/// Trains, fuses, converts and evaluates re-parameterizable YOLO detectors.
#[derive(Debug, Parser)]
#[command(name = "train-host", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on a dataset.
    #[cfg(feature = "torch")]
    Train(train::Args),
    /// Turn a YOLOv5 checkpoint (.pt) or an ONNX detector into a weights file.
    Import(import::Args),
    /// Train and compare the models of a plan: accuracy, size, training cost and inference time.
    #[cfg(feature = "torch")]
    Ablate(ablate::Args),
    /// Measure training: images a second, waiting for data, peak memory.
    #[cfg(feature = "torch")]
    BenchTrain(bench_train::Args),
    /// Fold every branch and batch norm of a trained model into single convolutions.
    Fuse(fuse::Args),
    /// Make an int8 model that keeps its accuracy, calibrated on images.
    Quantize(quantize::Args),
    /// Measure what int8 brings on this machine's CPU, layer by layer.
    #[command(name = "bench-int8")]
    BenchInt8(bench_int8::Args),
    /// Turn a run, a weights file or a foreign ONNX model into a deployable bundle.
    Convert(convert::Args),
    /// Sign a bundle, so that devices which trust the key accept it.
    Sign(sign::Args),
    /// Measure mAP of a run, a weights file, an ONNX model or a bundle.
    Eval(eval::Args),
    /// Write the HTML report of a run.
    Report(report::Args),
    /// List the layers of a model, what they weigh and cost, and draw its graph as trained and as fused.
    Show(show::Args),
    /// Make or inspect datasets.
    Data(data::Args),
}

/// Help for a model that is asked for by name.
fn models() -> String {
    format!("Built-in model ({}) or a YAML file in YOLOv5's grammar", MODEL_NAMES.join(", "))
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// Whatever the command reports.
    pub fn run(self) -> Result<()> {
        match self.command {
            #[cfg(feature = "torch")]
            Command::Train(args) => train::run(args),
            Command::Import(args) => import::run(args),
            #[cfg(feature = "torch")]
            Command::Ablate(args) => ablate::run(args),
            #[cfg(feature = "torch")]
            Command::BenchTrain(args) => bench_train::run(args),
            Command::Fuse(args) => fuse::run(args),
            Command::Quantize(args) => quantize::run(args),
            Command::BenchInt8(args) => bench_int8::run(args),
            Command::Convert(args) => convert::run(args),
            Command::Sign(args) => sign::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Report(args) => report::run(args),
            Command::Show(args) => show::run(args),
            Command::Data(args) => data::run(args),
        }
    }
}
