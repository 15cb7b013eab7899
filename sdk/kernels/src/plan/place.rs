//! Where images lie: what a concatenation reads is made inside of its output, a slice lies in what it is of, and images whose
//! times do not overlap share memory. Only places; nothing is computed here.

use crate::Unsupported;
use crate::layout::View;
use crate::network::{Network, Node, Operator, Value};

/// A slice of channels of another image.
#[derive(Debug, Clone, Copy)]
struct Part {
    whole: Value,
    first: usize,
}

/// A place for every image but those that callers give.
#[derive(Debug)]
pub struct Places {
    views: Vec<Option<View>>,
    /// What has to be copied because it lies elsewhere, in front of a node: the node, what lies where, and where it goes.
    pub copies: Vec<(usize, View, View)>,
    /// Floats in all.
    pub floats: usize,
}

impl Places {
    /// Places the images of `network`, whose concatenations and slices must meet at multiples of a block's channels.
    pub fn of(network: &Network) -> Result<Self, Unsupported> {
        let mut parts: Vec<Option<Part>> = vec![None; network.shapes.len()];
        let mut copies: Vec<(usize, Part, Part, usize)> = Vec::new();
        // The last first: so a concatenation has its place before what it reads.
        for (at, node) in network.nodes.iter().enumerate().rev() {
            for (value, part) in shares(network, node)? {
                let whole = Part { whole: value, first: 0 };
                match (&mut parts[value.0], &node.operator) {
                    (free @ None, _) => *free = Some(part),
                    (_, Operator::Slice(channels)) => copies.push((at, part, whole, channels.len())),
                    _ => copies.push((at, whole, part, network.shape(value).channels)),
                }
            }
        }
        let roots: Vec<(Value, usize)> = (0..network.shapes.len())
            .map(|value| root(&parts, Part { whole: Value(value), first: 0 }))
            .collect();
        let (offsets, floats) = allocate(network, &roots);
        let view = |(whole, first): (Value, usize), channels: usize| {
            let offset = offsets[whole.0]?;
            let whole = View::whole(network.shape(whole), network.kind(whole), offset);
            Some(whole.channels(first, channels))
        };
        let views =
            roots.iter().zip(&network.shapes).map(|(&root, shape)| view(root, shape.channels)).collect();
        let copies = copies.into_iter().filter_map(|(at, from, to, channels)| {
            Some((at, view(root(&parts, from), channels)?, view(root(&parts, to), channels)?))
        });
        Ok(Self { copies: copies.collect(), views, floats })
    }

    /// Where `value` lies.
    pub fn view(&self, value: Value) -> Result<View, Unsupported> {
        self.views[value.0].ok_or_else(|| Unsupported::new("an image that nothing makes"))
    }
}

/// The images that `node` could leave where they are made or lie: each, and where that is.
fn shares(network: &Network, node: &Node) -> Result<Vec<(Value, Part)>, Unsupported> {
    let mut shares = Vec::new();
    match &node.operator {
        Operator::Concat => {
            let mut first = 0;
            for &input in &node.inputs {
                shares.push((input, Part { whole: node.output, first }));
                first += network.shape(input).channels;
            }
        }
        Operator::Slice(channels) => {
            shares.push((node.output, Part { whole: node.inputs[0], first: channels.start }));
        }
        _ => {}
    }
    let lanes = network.kind(node.output).lanes();
    match shares.iter().find(|(_, part)| part.first % lanes != 0) {
        Some((_, part)) => Err(Unsupported::new(format!("images that meet at channel {}", part.first))),
        None => Ok(shares),
    }
}

/// The image that a part lies in at last, and its first channel there.
fn root(parts: &[Option<Part>], mut part: Part) -> (Value, usize) {
    while let Some(next) = parts[part.whole.0] {
        part = Part { whole: next.whole, first: part.first + next.first };
    }
    (part.whole, part.first)
}

/// An image that lies for itself, and when.
#[derive(Debug, Clone, Copy)]
struct Life {
    value: Value,
    floats: usize,
    from: usize,
    to: usize,
}

/// Offsets of the images that lie for themselves, and how much that takes: the largest first, each as low as it can.
fn allocate(network: &Network, roots: &[(Value, usize)]) -> (Vec<Option<usize>>, usize) {
    let mut lives: Vec<Option<Life>> = vec![None; network.shapes.len()];
    for (time, node) in network.nodes.iter().enumerate() {
        for &value in node.inputs.iter().chain([&node.output]) {
            let whole = roots[value.0].0;
            if network.inputs.contains(&whole) {
                continue;
            }
            let floats = View::floats(network.shape(whole), network.kind(whole));
            let life = lives[whole.0].get_or_insert(Life { value: whole, floats, from: time, to: time });
            life.to = time;
        }
    }
    let mut lives: Vec<Life> = lives.into_iter().flatten().collect();
    lives.sort_by_key(|life| std::cmp::Reverse(life.floats));
    let mut placed: Vec<(usize, Life)> = Vec::new();
    let mut offsets = vec![None; network.shapes.len()];
    for life in lives {
        let at_once = |other: &Life| life.from <= other.to && other.from <= life.to;
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(_, other)| at_once(other))
            .map(|(offset, other)| (*offset, offset + other.floats))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + life.floats <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[life.value.0] = Some(offset);
        placed.push((offset, life));
    }
    let floats = placed.iter().map(|(offset, life)| offset + life.floats).max().unwrap_or(0);
    (offsets, floats)
}
