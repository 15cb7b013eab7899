//! One convolution, as often as is asked, on the unit whose name is asked: for emulators, which count instructions.
//! `one-convolution UNIT float|int8 KERNEL STRIDE CHANNELS SIDE RUNS`, where a unit of no known name lists the names.

use std::env;
use std::num::NonZero;

use kernels::{
    Activation, Codes, Convolution, Ending, Given, IntegerConvolution, Isa, Kind, Network, Operator, Plan,
    Shape, Taken, Windows,
};

fn operator(kind: Kind, [kernel, stride, channels]: [usize; 3]) -> Operator {
    let count = channels * channels * kernel * kernel;
    let windows =
        Windows { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], pad_end: [kernel / 2; 2] };
    match kind {
        Kind::Real => Operator::Convolution(Convolution {
            weights: vec![0.01; count],
            bias: vec![0.1; channels],
            windows,
            activation: Activation::Relu,
        }),
        Kind::Stored => Operator::Integer(IntegerConvolution {
            weights: vec![3; count],
            windows,
            zero_point: -128,
            ending: Ending::Stored {
                bias: vec![100; channels],
                multipliers: vec![0.01; channels],
                codes: Codes::Shifted { zero_point: -128 },
            },
        }),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [unit, kind, sizes @ ..] = arguments.as_slice() else {
        return Err("UNIT float|int8 KERNEL STRIDE CHANNELS SIDE RUNS".into());
    };
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    let [kernel, stride, channels, side, runs] = sizes.as_slice() else { return Err("five numbers".into()) };
    let units = Isa::available();
    let isa = units.iter().find(|isa| isa.name() == unit).ok_or_else(|| {
        format!("units are {}", units.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "))
    })?;
    let kind = if kind == "int8" { Kind::Stored } else { Kind::Real };
    let mut network = Network::new();
    let image = network.input_of(Shape { channels: *channels, height: *side, width: *side }, kind);
    let output = network.node(operator(kind, [*kernel, *stride, *channels]), &[image])?;
    network.output(output);
    let (inputs, outputs) = (network.shape(image).len(), network.shape(output).len());
    let plan = Plan::new(network, *isa, NonZero::<usize>::MIN)?;
    let mut workspace = plan.workspace();
    let (reals, codes) = (vec![0.5; inputs], vec![5; inputs]);
    let (mut real_results, mut code_results) = (vec![0.0; outputs], vec![0; outputs]);
    for _ in 0..*runs {
        match kind {
            Kind::Real => plan.run(&mut workspace, &[Given::Real(&reals)], [Taken::Real(&mut real_results)]),
            Kind::Stored => {
                plan.run(&mut workspace, &[Given::Stored(&codes)], [Taken::Stored(&mut code_results)]);
            }
        }
    }
    println!("{outputs} outputs a run");
    Ok(())
}
