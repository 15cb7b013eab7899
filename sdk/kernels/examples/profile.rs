//! Where the time of a YOLOv5 goes, step by step: `cargo run -p kernels --example profile -- WIDTH DEPTH SIDE ACTIVATION
//! [int8] [UNIT]`, where 25 33 640 relu is yolov5n and 50 33 640 silu yolov5s. The best of many runs of each step, on one thread, with
//! the best unit or the one that is named, as the last line names it.

use std::env;
use std::num::NonZero;

use kernels::{
    Activation, Codes, Convolution, Ending, Given, IntegerConvolution, Isa, Network, Operator, Plan, Quant,
    Shape, Taken, Unsupported, Value, Windows,
};

/// A YOLOv5 v6 in parts.
struct Yolo {
    network: Network,
    width: usize,
    depth: usize,
    activation: Activation,
    precision: Precision,
}

#[derive(Clone, Copy, PartialEq)]
enum Precision {
    Float,
    Int8,
}

/// A table as long as that of a SiLU.
fn table() -> Codes {
    let entries = (0..4000).map(|step| i8::try_from((step - 200) / 32).unwrap_or(i8::MAX)).collect();
    Codes::Table { first: -200, entries }
}

impl Yolo {
    fn conv(
        &mut self,
        input: Value,
        outputs: usize,
        [kernel, stride, pad]: [usize; 3],
    ) -> Result<Value, Unsupported> {
        let channels = self.network.shape(input).channels;
        let weights = (0_u16..).map(|i| f32::from(i.wrapping_mul(40_503) >> 8) / 256.0 - 0.5);
        let count = outputs * channels * kernel * kernel;
        let windows = Windows { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 2], pad_end: [pad; 2] };
        if self.precision == Precision::Int8 {
            let bytes = (0_u16..).map(|i| i.wrapping_mul(40_503).to_le_bytes()[1].cast_signed() / 3);
            let codes = if self.activation == Activation::Silu {
                table()
            } else {
                Codes::Shifted { zero_point: -128 }
            };
            let ending = match self.activation {
                Activation::None => Ending::Real { scales: vec![0.01; outputs], bias: vec![0.5; outputs] },
                _ => Ending::Stored { bias: vec![100; outputs], multipliers: vec![0.01; outputs], codes },
            };
            let weights = bytes.cycle().take(count).collect();
            let conv = IntegerConvolution { weights, windows, zero_point: -128, ending };
            return self.network.node(Operator::Integer(conv), &[input]);
        }
        let conv = Convolution {
            weights: weights.cycle().map(|weight| weight * 0.05).take(count).collect(),
            bias: vec![0.1; outputs],
            windows,
            activation: self.activation,
        };
        self.network.node(Operator::Convolution(conv), &[input])
    }

    fn layer(
        &mut self,
        input: Value,
        channels: usize,
        [kernel, stride]: [usize; 2],
    ) -> Result<Value, Unsupported> {
        let pad = if kernel == 6 { 2 } else { kernel / 2 };
        self.conv(input, channels * self.width / 100, [kernel, stride, pad])
    }

    fn c3(
        &mut self,
        input: Value,
        channels: usize,
        repeats: usize,
        plus: impl Fn(Value) -> Option<Value>,
    ) -> Result<Value, Unsupported> {
        let mut main = self.layer(input, channels / 2, [1, 1])?;
        let side = self.layer(input, channels / 2, [1, 1])?;
        for _ in 0..(repeats * self.depth).div_ceil(100) {
            let inner = self.layer(main, channels / 2, [1, 1])?;
            let outer = self.layer(inner, channels / 2, [3, 1])?;
            main = match plus(main) {
                Some(main) => self.network.node(self.sum(), &[main, outer])?,
                None => outer,
            };
        }
        let both = self.network.node(Operator::Concat, &[main, side])?;
        self.layer(both, channels, [1, 1])
    }

    fn sum(&self) -> Operator {
        let quant = Quant { scale: 0.02, zero_point: -128 };
        match self.precision {
            Precision::Float => Operator::Add,
            Precision::Int8 => Operator::AddStored { from: [quant; 2], to: quant },
        }
    }

    fn build(&mut self, side: usize) -> Result<(), Unsupported> {
        let image = self.network.input(Shape { channels: 3, height: side, width: side });
        let image = match self.precision {
            Precision::Float => image,
            Precision::Int8 => {
                self.network.node(Operator::Quantize { factor: 255.0, zero_point: -128 }, &[image])?
            }
        };
        let stem = self.layer(image, 64, [6, 2])?;
        let p2 = self.layer(stem, 128, [3, 2])?;
        let p2 = self.c3(p2, 128, 3, Some)?;
        let p3 = self.layer(p2, 256, [3, 2])?;
        let p3 = self.c3(p3, 256, 6, Some)?;
        let p4 = self.layer(p3, 512, [3, 2])?;
        let p4 = self.c3(p4, 512, 9, Some)?;
        let p5 = self.layer(p4, 1024, [3, 2])?;
        let p5 = self.c3(p5, 1024, 3, Some)?;
        let pools = self.layer(p5, 512, [1, 1])?;
        let mut all = vec![pools];
        for _ in 0..3 {
            let pool =
                Operator::MaxPool(Windows { kernel: [5; 2], stride: [1; 2], pad: [2; 2], pad_end: [2; 2] });
            all.push(self.network.node(pool, &[all[all.len() - 1]])?);
        }
        let pools = self.network.node(Operator::Concat, &all)?;
        let p5 = self.layer(pools, 1024, [1, 1])?;
        let top = self.layer(p5, 512, [1, 1])?;
        let large = self.network.node(Operator::Upsample { factors: [2, 2] }, &[top])?;
        let both = self.network.node(Operator::Concat, &[large, p4])?;
        let middle = self.c3(both, 512, 3, |_| None)?;
        let middle = self.layer(middle, 256, [1, 1])?;
        let large = self.network.node(Operator::Upsample { factors: [2, 2] }, &[middle])?;
        let both = self.network.node(Operator::Concat, &[large, p3])?;
        let fine = self.c3(both, 256, 3, |_| None)?;
        let down = self.layer(fine, 256, [3, 2])?;
        let both = self.network.node(Operator::Concat, &[down, middle])?;
        let middle = self.c3(both, 512, 3, |_| None)?;
        let down = self.layer(middle, 512, [3, 2])?;
        let both = self.network.node(Operator::Concat, &[down, top])?;
        let coarse = self.c3(both, 1024, 3, |_| None)?;
        self.activation = Activation::None;
        for level in [fine, middle, coarse] {
            let head = self.conv(level, 255, [1, 1, 0])?;
            self.network.output(head);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [width, depth, side, activation, rest @ ..] = arguments.as_slice() else {
        return Err("WIDTH DEPTH SIDE ACTIVATION [int8] [UNIT]".into());
    };
    let is_asked = |name: &str| rest.iter().any(|argument| argument == name);
    let precision = if is_asked("int8") { Precision::Int8 } else { Precision::Float };
    let activation = if activation == "silu" { Activation::Silu } else { Activation::Relu };
    let mut yolo =
        Yolo { network: Network::new(), width: width.parse()?, depth: depth.parse()?, activation, precision };
    yolo.build(side.parse()?)?;
    let isa = Isa::available().into_iter().find(|isa| is_asked(isa.name())).unwrap_or_else(Isa::detect);
    let plan = Plan::new(yolo.network.clone(), isa, NonZero::<usize>::MIN)?;
    let mut workspace = plan.workspace();
    let images: Vec<Vec<f32>> =
        yolo.network.input_forms().iter().map(|(shape, _)| vec![0.5; shape.len()]).collect();
    let inputs: Vec<Given<'_>> = images.iter().map(|image| Given::Real(image)).collect();
    let mut outputs: Vec<Vec<f32>> =
        yolo.network.output_forms().iter().map(|(shape, _)| vec![0.0; shape.len()]).collect();
    let mut best: Vec<(String, f64, usize)> = Vec::new();
    for _ in 0..60 {
        let taken = outputs.iter_mut().map(|output| Taken::Real(output));
        let times = plan.profile(&mut workspace, &inputs, taken);
        best = times
            .into_iter()
            .enumerate()
            .map(|(at, (name, time, flops))| {
                (name, best.get(at).map_or(time, |best| best.1.min(time)), flops)
            })
            .collect();
    }
    let peak = kernels::peak_flops(isa) * 1e-9;
    let mut total = 0.0;
    for (name, seconds, flops) in &best {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rate = *flops as f64 / seconds * 1e-9;
        println!("{:8.3} ms {rate:6.1} GFLOP/s {:4.0} %  {name}", seconds * 1e3, rate / peak * 100.0);
        total += seconds;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = yolo.network.flops() as f64 / total * 1e-9;
    println!("{:8.3} ms {rate:6.1} GFLOP/s of {peak:.1}, all steps, {}", total * 1e3, isa.name());
    Ok(())
}
