//! Times one ONNX model on the CPU for `cargo xtask bench`, which drives it through stdin so that it can interleave engines.
//!
//! Arguments: `ours` or `engine`, the number of threads, the file, the input as NAME:CxHxW, and the outputs alike. It prints the
//! seconds from the file to the first result, then for each line on stdin those of one more run; a line `profile` gives those
//! of each operator, and a line `outputs FILE` writes the raw floats of all outputs there.
//!
//! `peak` prints the multiplications and additions of floats a second that one core does at most. `pack BUNDLE FILE INPUT OUTPUT...`
//! writes the model as a bundle; `first BUNDLE` prints the seconds from there to the boxes of a first frame.

mod bundle;

use std::io::{BufRead, stdin};
use std::num::NonZero;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use artifact::{DType, Layout, Tensor, TensorData, TensorSpec};
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};

fn spec(argument: &str) -> Result<TensorSpec> {
    let (name, sides) = argument.rsplit_once(':').context("a tensor is NAME:CxHxW")?;
    let sides: Vec<usize> = sides.split('x').map(|side| Ok(side.parse()?)).collect::<Result<_>>()?;
    let [channels, height, width] = sides.as_slice() else { bail!("{argument} has no three sides") };
    let shape = [1, *channels, *height, *width];
    Ok(TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None })
}

/// Values between 0 and 1 that look random, the same for every engine.
fn fill(tensor: &mut Tensor) {
    if let TensorData::F32(values) = &mut tensor.data {
        let mut state = 1_u32;
        for value in values {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = f32::from(u8::try_from(state >> 24).unwrap_or_default()) / 255.0;
        }
    }
}

fn write(outputs: &[Tensor], path: &str) -> Result<()> {
    let mut bytes = Vec::new();
    for output in outputs {
        if let TensorData::F32(values) = &output.data {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {path}"))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [command] if command == "peak" => {
            println!("{}", kernels::peak_flops(kernels::Isa::detect()));
            Ok(())
        }
        [command, path] if command == "first" => bundle::first(path.as_ref()),
        [command, out, file, input, outputs @ ..] if command == "pack" => {
            bundle::pack(out.as_ref(), &read(file)?, spec(input)?, specs(outputs)?)
        }
        [kernels, threads, file, input, outputs @ ..] => time(kernels, threads, file, input, outputs),
        _ => bail!(
            "ours|engine THREADS FILE INPUT OUTPUT..., peak, pack BUNDLE FILE INPUT OUTPUT..., or first BUNDLE"
        ),
    }
}

fn read(file: &str) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {file}"))
}

fn specs(outputs: &[String]) -> Result<Vec<TensorSpec>> {
    outputs.iter().map(|output| spec(output)).collect()
}

fn time(kernels: &str, threads: &str, file: &str, input: &str, outputs: &[String]) -> Result<()> {
    let kernels = if kernels == "engine" { Kernels::Engine } else { Kernels::Ours };
    let options = CpuOptions { threads: NonZero::new(threads.parse()?).context("no threads")?, kernels };
    let started = Instant::now();
    let bytes = read(file)?;
    let mut session = TractSession::from_onnx_with(&bytes, spec(input)?, specs(outputs)?, options)?;
    drop(bytes);
    let mut image = Tensor::zeroed(session.input());
    fill(&mut image);
    let mut results: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&image, &mut results)?;
    println!("{}", started.elapsed().as_secs_f64());

    for line in stdin().lock().lines() {
        let line = line.context("stdin")?;
        if let Some(path) = line.strip_prefix("outputs ") {
            write(&results, path)?;
            println!("0");
        } else if line == "profile" {
            for operator in session.profile(&image)? {
                println!("{:.6} {}", operator.took.as_secs_f64(), operator.name);
            }
        } else {
            let started = Instant::now();
            session.run(&image, &mut results)?;
            println!("{}", started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
