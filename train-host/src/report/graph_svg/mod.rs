//! Draws a graph as SVG: a card a layer, inside it what the layer computes from left to right, beside it what it gives
//! and costs; layers read from above, and from further up along curves. One file without external resources.

mod card;
mod grid;
mod parts;
mod sheet;
mod svg;
mod units;

use std::collections::HashMap;
use std::fmt;

use card::Card;

use super::numbers::{gflops, grouped};
use crate::model::{Architecture, Graph, NodeId, Outline};

/// Which form of a model is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Trained,
    Fused,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trained => "trained",
            Self::Fused => "fused",
        })
    }
}

/// What every card is drawn from.
struct Context<'a> {
    graph: &'a Graph,
    outline: &'a Outline,
    /// For each node those that read it.
    users: Vec<Vec<NodeId>>,
    /// Index of the layer of each node but the image.
    layer_of: HashMap<NodeId, usize>,
    /// Operations of all layers together.
    flops: u64,
}

/// The graph of `architecture`, whose layers for square images of `imgsz` pixels `outline` holds.
pub(super) fn draw(form: Form, architecture: &Architecture, outline: &Outline, imgsz: usize) -> String {
    let total = outline.total();
    let nodes = outline.layers.iter().flat_map(|layer| layer.nodes.iter().map(|&id| (id, layer.index)));
    let context = Context {
        graph: &architecture.graph,
        outline,
        users: architecture.graph.users(),
        layer_of: nodes.collect(),
        flops: total.flops,
    };
    let cards: Vec<Card<'_>> = outline.layers.iter().map(|layer| Card::new(&context, layer)).collect();
    let facts = format!(
        "{imgsz}×{imgsz} px, {} classes: {} parameters, {} GFLOPs, {} nodes",
        architecture.head.classes.len(),
        grouped(total.parameters),
        gflops(total.flops),
        grouped(total.nodes),
    );
    sheet::draw(&format!("{} as {form}", architecture.name), &facts, &cards)
}

#[cfg(test)]
mod tests;
