//! What is drawn as one box: a convolution with the batch norm and activation that only it feeds, a sum, a pool. Writes
//! their words; never decides where they stand.

use std::collections::HashMap;

use super::Context;
use super::parts::{self, Repeat};
use super::svg::Kind;
use crate::model::outline::{From, Layer};
use crate::model::{Activation, Attention, Conv, NodeId, Op};

/// A box.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub kind: Kind,
    /// What it is.
    pub name: String,
    /// Channels, and what follows inside.
    pub detail: String,
    /// Names of its nodes.
    pub tip: String,
    /// What it reads, each once.
    pub inputs: Vec<Input>,
}

/// Where an edge comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Index of a source in [`Scene::ports`].
    Port(usize),
    /// Index of a box before.
    Unit(usize),
}

/// The boxes of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scene {
    pub ports: Vec<From>,
    pub units: Vec<Unit>,
    /// First box and number of boxes of the part that repeats, and how often it does.
    pub repeat: Option<(Vec<usize>, usize)>,
}

/// The boxes of `layer`.
pub(super) fn scene(context: &Context<'_>, layer: &Layer) -> Scene {
    let repeat = parts::find(context, layer);
    let mut builder = Builder { context, layer, units: Vec::new(), unit_of: HashMap::new() };
    let hidden = |id: &NodeId| repeat.as_ref().is_some_and(|repeat| repeat.hidden.contains(id));
    for &id in layer.nodes.iter().filter(|id| !hidden(id)) {
        builder.add(id, repeat.as_ref());
    }
    let repeat = repeat.map(|repeat| {
        let mut units: Vec<usize> = repeat.shown.iter().map(|id| builder.unit_of[id]).collect();
        units.dedup();
        (units, repeat.times)
    });
    Scene { ports: layer.from.clone(), units: builder.units, repeat }
}

struct Builder<'a> {
    context: &'a Context<'a>,
    layer: &'a Layer,
    units: Vec<Unit>,
    unit_of: HashMap<NodeId, usize>,
}

impl Builder<'_> {
    fn add(&mut self, id: NodeId, repeat: Option<&Repeat>) {
        let node = &self.context.graph.nodes[id];
        if let Some(unit) = self.unit_before(id) {
            let what = match node.op {
                Op::Act(act) => short(act),
                _ => "BN",
            };
            let Unit { detail, tip, .. } = &mut self.units[unit];
            let gap = if detail.is_empty() { "" } else { " · " };
            *detail += &format!("{gap}{what}");
            *tip += &format!("\n{}", node.name);
            self.unit_of.insert(id, unit);
            return;
        }
        let mut inputs = Vec::new();
        for &input in &node.inputs {
            let shown = match repeat {
                Some(Repeat { result: (last, first), .. }) if input == *last => *first,
                _ => input,
            };
            if let Some(input) = self.input(shown).filter(|input| !inputs.contains(input)) {
                inputs.push(input);
            }
        }
        let (kind, name, detail) = self.words(id);
        self.unit_of.insert(id, self.units.len());
        self.units.push(Unit { kind, name, detail, tip: node.name.clone(), inputs });
    }

    /// The box that node `id` belongs into: that of its only input, when nothing else reads that.
    fn unit_before(&self, id: NodeId) -> Option<usize> {
        let node = &self.context.graph.nodes[id];
        let &[input] = node.inputs.as_slice() else { return None };
        let joins = matches!(node.op, Op::BatchNorm { .. } | Op::Act(_)) && self.context.users[input] == [id];
        // A batch norm behind a sum is a step of its own, as in QARepVGG.
        let keeps = matches!(node.op, Op::BatchNorm { .. })
            && !matches!(self.context.graph.nodes[input].op, Op::Conv(_));
        if joins && !keeps { self.unit_of.get(&input).copied() } else { None }
    }

    fn input(&self, id: NodeId) -> Option<Input> {
        if let Some(&unit) = self.unit_of.get(&id) {
            return Some(Input::Unit(unit));
        }
        let from = self.context.layer_of.get(&id).map_or(From::Image, |&layer| From::Layer(layer));
        self.layer.from.iter().position(|port| *port == from).map(Input::Port)
    }

    fn words(&self, id: NodeId) -> (Kind, String, String) {
        let channels = self.context.outline.shapes[id][0].to_string();
        match self.context.graph.nodes[id].op {
            Op::Conv(conv) => {
                let kind = match conv.kernel {
                    _ if self.context.graph.outputs.contains(&id) => Kind::Output,
                    1 => Kind::Pointwise,
                    _ => Kind::Conv,
                };
                let detail = if conv.bias { format!("{channels} · bias") } else { channels };
                (kind, window(&conv), detail)
            }
            Op::BatchNorm { .. } => (Kind::Norm, "BN".to_owned(), String::new()),
            Op::Act(act) => (Kind::Other, short(act).to_owned(), String::new()),
            Op::Add => (Kind::Add, "+".to_owned(), String::new()),
            Op::Concat => (Kind::Concat, "concat".to_owned(), channels),
            Op::MaxPool { kernel, stride, .. } => {
                (Kind::Pool, format!("max {kernel}×{kernel}{}", step(stride)), String::new())
            }
            Op::Upsample { factor } => (Kind::Resize, format!("up ×{factor}"), String::new()),
            Op::Slice { start, len } => (Kind::Other, format!("ch {start}–{}", start + len - 1), channels),
            Op::Attention(Attention { heads, .. }) => (Kind::Other, format!("attention ×{heads}"), channels),
            Op::SpaceToDepth => (Kind::Other, "2×2 → ch".to_owned(), channels),
            Op::Input { .. } => (Kind::Other, "image".to_owned(), channels),
        }
    }
}

/// Kernel, stride and what else is unusual.
fn window(conv: &Conv) -> String {
    let Conv { kernel, stride, groups, dilation, .. } = *conv;
    let mut text = format!("{kernel}×{kernel}{}", step(stride));
    if dilation > 1 {
        text += &format!(" d{dilation}");
    }
    if groups > 1 {
        text += &format!(" g{groups}");
    }
    text
}

fn step(stride: usize) -> String {
    if stride == 1 { String::new() } else { format!(" /{stride}") }
}

fn short(act: Activation) -> &'static str {
    match act {
        Activation::Silu => "SiLU",
        Activation::Relu => "ReLU",
        Activation::LeakyRelu => "LReLU",
        Activation::Mish => "Mish",
    }
}
