//! Where images lie: what a concatenation reads is made inside of its output, and images whose times do not overlap share
//! memory. Only places; nothing is computed here.

use crate::Unsupported;
use crate::layout::{BLOCK, View};
use crate::network::{Network, Operator, Value};

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
    /// Inputs of concatenations that lie elsewhere and have to be copied: the node, its input, and where that goes.
    pub copies: Vec<(usize, usize, View)>,
    /// Floats in all.
    pub floats: usize,
}

impl Places {
    /// Places the images of `network`, whose concatenations must meet at multiples of [`BLOCK`] channels.
    pub fn of(network: &Network) -> Result<Self, Unsupported> {
        let mut parts: Vec<Option<Part>> = vec![None; network.shapes.len()];
        let mut copies = Vec::new();
        // The last first: so a concatenation has its place before what it reads.
        for (at, node) in network.nodes.iter().enumerate().rev() {
            if node.operator != Operator::Concat {
                continue;
            }
            let mut first = 0;
            for (number, &input) in node.inputs.iter().enumerate() {
                if first % BLOCK != 0 {
                    return Err(Unsupported::new(format!("images that meet at channel {first}")));
                }
                let part = Part { whole: node.output, first };
                match &mut parts[input.0] {
                    Some(_) => copies.push((at, number, part)),
                    free => *free = Some(part),
                }
                first += network.shape(input).channels;
            }
        }
        let roots: Vec<(Value, usize)> = (0..network.shapes.len())
            .map(|value| root(&parts, Part { whole: Value(value), first: 0 }))
            .collect();
        let (offsets, floats) = allocate(network, &roots);
        let view = |value: Value, (whole, first): (Value, usize)| {
            let offset = offsets[whole.0]?;
            Some(View::whole(network.shape(whole), offset).channels(first, network.shape(value).channels))
        };
        let views = roots.iter().enumerate().map(|(value, &root)| view(Value(value), root)).collect();
        let copies = copies.into_iter().filter_map(|(at, number, part)| {
            let input = network.nodes[at].inputs[number];
            Some((at, number, view(input, root(&parts, part))?))
        });
        Ok(Self { copies: copies.collect(), views, floats })
    }

    /// Where `value` lies.
    pub fn view(&self, value: Value) -> Result<View, Unsupported> {
        self.views[value.0].ok_or_else(|| Unsupported::new("an image that nothing makes"))
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
            let floats = View::floats(network.shape(whole));
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
