//! Checks that the pickled modules do what our graph does: strides, paddings, epsilons, activations, shortcuts. Shapes of
//! weights alone do not tell. A fork of YOLOv5 that changed one of them is refused, never computed wrongly.

use super::module::Modules;
use super::pickle::{Item, short};
use super::{refuse, refuse_with};
use crate::model::{Activation, Architecture, Conv, LEAKY_SLOPE, Op};
use crate::{Error, Result};

/// The activation of the model's convolutions, by the class of the first.
pub(super) fn activation(modules: &Modules) -> Result<Option<Activation>> {
    let first = modules.iter().find(|(path, _)| path.ends_with(".act"));
    first.map(|(path, module)| activation_of(path, module)).transpose()
}

/// Checks each node of the graph against the module of its name.
///
/// # Errors
/// [`Error::Model`] naming the first module that differs.
pub(super) fn check(architecture: &Architecture, modules: &Modules) -> Result<()> {
    refuse_fused(modules)?;
    let mut shortcuts = 0;
    for node in &architecture.graph.nodes {
        let name = node.name.as_str();
        match node.op {
            Op::Conv(conv) => check_conv(name, &conv, modules.get(name)?)?,
            Op::BatchNorm { eps, .. } => check_number(name, modules.get(name)?, "eps", eps)?,
            Op::Act(act) => {
                let found = activation_of(name, modules.get(name)?)?;
                expect(found == act, || {
                    differs(name, "activation", &format!("{found:?}"), &format!("{act:?}"))
                })?;
            }
            Op::MaxPool { kernel, stride, pad } => check_pool(modules, name, [kernel, stride, pad])?,
            Op::Upsample { factor } => check_upsample(name, factor, modules.get(name)?)?,
            Op::Add => {
                let bottleneck = name.strip_suffix(".add").unwrap_or(name);
                expect(adds(modules.get(bottleneck)?), || differs(bottleneck, "add", "false", "true"))?;
                shortcuts += 1;
            }
            // These have no module of their own; descriptions know no slices and no attention.
            Op::Input { .. } | Op::Concat | Op::SpaceToDepth | Op::Slice { .. } | Op::Attention(_) => {}
        }
    }
    let pickled = modules.iter().filter(|(_, module)| adds(*module)).count();
    expect(pickled == shortcuts, || {
        refuse(
            format!("{pickled} bottlenecks with a shortcut"),
            format!("{shortcuts}, as the description says"),
        )
    })
}

/// Whether a module is a bottleneck that adds its input to its result.
fn adds(module: Item) -> bool {
    module.attribute("add").and_then(Item::bool) == Some(true)
}

fn activation_of(path: &str, module: Item) -> Result<Activation> {
    let class = module.class().map_or("", |(_, name)| name);
    match class {
        "SiLU" => Ok(Activation::Silu),
        "ReLU" => Ok(Activation::Relu),
        "Mish" => Ok(Activation::Mish),
        "LeakyReLU" => {
            check_number(path, module, "negative_slope", LEAKY_SLOPE)?;
            Ok(Activation::LeakyRelu)
        }
        _ => Err(refuse_with(
            format!("activation {} at {path:?}", short(class)),
            "SiLU, ReLU, LeakyReLU or Mish",
            "train the model again with one of these: `train-host train --act`",
        )),
    }
}

/// A fused model has biases where batch norms were.
fn refuse_fused(modules: &Modules) -> Result<()> {
    let fused = modules.iter().find(|(path, module)| {
        let is_conv = matches!(module.class(), Some(("models.common", "Conv")));
        is_conv && modules.find(&format!("{path}.bn")).is_none()
    });
    match fused {
        None => Ok(()),
        Some((path, _)) => Err(refuse_with(
            format!("module {path:?} without a batch norm: a model that was fused before it was saved"),
            "a training checkpoint, whose convolutions have batch norms",
            "take the checkpoint from the training run's folder (weights/best.pt), not one saved after export",
        )),
    }
}

fn check_conv(name: &str, conv: &Conv, module: Item) -> Result<()> {
    let sides = [
        ("kernel_size", conv.kernel),
        ("stride", conv.stride),
        ("padding", conv.pad),
        ("dilation", conv.dilation),
    ];
    for (attribute, expected) in sides {
        check_side(name, module, attribute, expected)?;
    }
    let groups = module.attribute("groups").and_then(Item::int);
    expect(groups == i64::try_from(conv.groups).ok(), || {
        differs(name, "groups", &format!("{groups:?}"), &conv.groups.to_string())
    })?;
    check_text(name, module, "padding_mode", "zeros")
}

/// `SPPF` has one pool that it applies three times; our graph has three.
fn check_pool(modules: &Modules, name: &str, [kernel, stride, pad]: [usize; 3]) -> Result<()> {
    let shared = name.rsplit_once('.').and_then(|(parent, _)| modules.find(parent));
    let is_pool = |module: &Item| matches!(module.class(), Some((_, "MaxPool2d")));
    let module = modules.find(name).or(shared).filter(is_pool);
    let module = module.ok_or_else(|| differs(name, "class", "another module", "MaxPool2d"))?;
    for (attribute, expected) in
        [("kernel_size", kernel), ("stride", stride), ("padding", pad), ("dilation", 1)]
    {
        check_side(name, module, attribute, expected)?;
    }
    let rounds_up = module.attribute("ceil_mode").and_then(Item::bool);
    expect(rounds_up == Some(false), || differs(name, "ceil_mode", &format!("{rounds_up:?}"), "false"))
}

fn check_upsample(name: &str, factor: usize, module: Item) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "factors are small")]
    check_number(name, module, "scale_factor", factor as f64)?;
    check_text(name, module, "mode", "nearest")
}

/// A setting that torch keeps as one number or as one an axis.
fn check_side(name: &str, module: Item, attribute: &str, expected: usize) -> Result<()> {
    let found = module.attribute(attribute);
    let is_expected = |item: Item| item.int() == i64::try_from(expected).ok();
    let fits = found.is_some_and(|item| match item.items() {
        Some(mut sides) => sides.len() == 2 && sides.all(is_expected),
        None => is_expected(item),
    });
    expect(fits, || {
        let shown = found.map(|item| match item.items() {
            Some(sides) => format!("{:?}", sides.take(4).map(Item::show).collect::<Vec<_>>()),
            None => item.show(),
        });
        differs(name, attribute, &format!("{shown:?}"), &expected.to_string())
    })
}

fn check_number(name: &str, module: Item, attribute: &str, expected: f64) -> Result<()> {
    let found = module.attribute(attribute).and_then(Item::number);
    let fits = found == Some(expected);
    expect(fits, || differs(name, attribute, &format!("{found:?}"), &expected.to_string()))
}

fn check_text(name: &str, module: Item, attribute: &str, expected: &str) -> Result<()> {
    let found = module.attribute(attribute);
    expect(found.and_then(Item::text) == Some(expected), || {
        differs(name, attribute, &found.map_or_else(String::new, Item::show), expected)
    })
}

fn expect(fits: bool, error: impl FnOnce() -> Error) -> Result<()> {
    if fits { Ok(()) } else { Err(error()) }
}

fn differs(name: &str, attribute: &str, found: &str, expected: &str) -> Error {
    refuse_with(
        format!("module {name:?} with {attribute} {found}"),
        format!("{attribute} {expected}, as YOLOv5 has it"),
        "models of a changed YOLOv5 are not supported",
    )
}
