//! The file's nodes in an order in which they can be computed, with tensors by number instead of by name. Holds what the
//! outputs depend on and nothing else. Knows no operator.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use artifact::Fault;

use super::fault::broken;
use super::proto::{Graph, Node, Tensor, ValueInfo};

/// Most nodes a model may have; the largest models read here have about a thousand.
const MAX_NODES: usize = 5_000;

/// Number of a tensor.
pub(super) type TensorId = usize;

/// What makes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// Nothing in the file: it is put in, as the input in this place.
    Input(usize),
    /// It stands in the file, at this place.
    Stored(usize),
    /// The step of this number.
    Step(usize),
}

/// A node with its tensors.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub node: &'a Node<'a>,
    /// None for an optional input that was left out.
    pub inputs: Vec<Option<TensorId>>,
    /// None for an optional output that was left out.
    pub outputs: Vec<Option<TensorId>>,
}

/// The sorted graph.
#[derive(Debug)]
pub(super) struct Net<'a> {
    pub steps: Vec<Step<'a>>,
    pub stored: &'a [Tensor<'a>],
    /// By [`TensorId`].
    pub makers: Vec<Maker>,
    /// By [`TensorId`].
    pub names: Vec<&'a str>,
    /// What is put in, and what the file says about it.
    pub input: TensorId,
    pub image: &'a ValueInfo<'a>,
    pub outputs: Vec<TensorId>,
    /// By [`TensorId`]: the steps that read it, once for each time.
    pub users: Vec<Vec<usize>>,
}

impl<'a> Net<'a> {
    /// Sorts `graph`.
    ///
    /// # Errors
    /// When a tensor has two makers or none, a node depends on itself, or there is not exactly one image to put in.
    pub fn sort(graph: &'a Graph<'a>) -> Result<Self, Fault> {
        if graph.nodes.len() > MAX_NODES {
            return Err(broken(format!("{} nodes, at most {MAX_NODES} are read", graph.nodes.len())));
        }
        if graph.sparse {
            return Err(broken("sparse weights, which are not read"));
        }
        let tensors = Tensors::collect(graph)?;
        let outputs = graph.outputs.iter().map(|name| tensors.find(name, "an output of the model"));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        if outputs.is_empty() {
            return Err(broken("a model without outputs"));
        }
        let inputs = Inputs::resolve(graph, &tensors, &outputs)?;
        let order = inputs.order(graph, &tensors)?;
        let (input, place) = the_input(graph, &tensors, &inputs, &outputs)?;
        let mut makers = tensors.makers;
        let mut users = vec![Vec::new(); makers.len()];
        let mut steps = Vec::with_capacity(order.len());
        for (step, &node) in order.iter().enumerate() {
            let (made, read) = (tensors.made[node].clone(), inputs.of[node].clone());
            made.iter().flatten().for_each(|&tensor| makers[tensor] = Maker::Step(step));
            read.iter().flatten().for_each(|&tensor| users[tensor].push(step));
            steps.push(Step { node: &graph.nodes[node], inputs: read, outputs: made });
        }
        let (stored, image) = (&graph.initializers[..], &graph.inputs[place]);
        Ok(Self { steps, stored, makers, names: tensors.names, input, image, outputs, users })
    }

    /// The step that makes `tensor`, if one does.
    pub fn step_of(&self, tensor: TensorId) -> Option<&Step<'a>> {
        match self.makers[tensor] {
            Maker::Step(step) => Some(&self.steps[step]),
            Maker::Input(_) | Maker::Stored(_) => None,
        }
    }
}

/// All tensors by name. Before sorting, a [`Maker::Step`] is the number of a node.
struct Tensors<'a> {
    ids: HashMap<&'a str, TensorId>,
    names: Vec<&'a str>,
    makers: Vec<Maker>,
    /// For each node, the tensors it makes.
    made: Vec<Vec<Option<TensorId>>>,
}

impl<'a> Tensors<'a> {
    fn collect(graph: &'a Graph<'a>) -> Result<Self, Fault> {
        let mut tensors =
            Self { ids: HashMap::new(), names: Vec::new(), makers: Vec::new(), made: Vec::new() };
        for (place, tensor) in graph.initializers.iter().enumerate() {
            tensors.add(tensor.name, Maker::Stored(place))?;
        }
        // Before IR version 4 every initializer was an input as well.
        for (place, input) in graph.inputs.iter().enumerate() {
            if !matches!(tensors.ids.get(input.name).map(|&id| tensors.makers[id]), Some(Maker::Stored(_))) {
                tensors.add(input.name, Maker::Input(place))?;
            }
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            let mut add = |name: &&'a str| match *name {
                "" => Ok(None),
                name => tensors.add(name, Maker::Step(number)).map(Some),
            };
            let made = node.outputs.iter().map(&mut add).collect::<Result<_, _>>()?;
            tensors.made.push(made);
        }
        Ok(tensors)
    }

    fn add(&mut self, name: &'a str, maker: Maker) -> Result<TensorId, Fault> {
        let id = self.names.len();
        if self.ids.insert(name, id).is_some() {
            return Err(broken(format!("two tensors called {name:?}")));
        }
        self.names.push(name);
        self.makers.push(maker);
        Ok(id)
    }

    fn find(&self, name: &str, role: &str) -> Result<TensorId, Fault> {
        self.ids.get(name).copied().ok_or_else(|| broken(format!("{name:?}, {role}, which nothing makes")))
    }
}

/// What each node reads, of those that the outputs depend on.
struct Inputs {
    of: Vec<Vec<Option<TensorId>>>,
    needed: Vec<bool>,
}

impl Inputs {
    fn resolve(graph: &Graph, tensors: &Tensors, outputs: &[TensorId]) -> Result<Self, Fault> {
        let count = graph.nodes.len();
        let mut inputs = Self { of: vec![Vec::new(); count], needed: vec![false; count] };
        let mut open: Vec<TensorId> = outputs.to_vec();
        while let Some(tensor) = open.pop() {
            let Maker::Step(number) = tensors.makers[tensor] else { continue };
            if std::mem::replace(&mut inputs.needed[number], true) {
                continue;
            }
            let node = &graph.nodes[number];
            let role = format!("an input of node {:?} ({})", node.name, node.op);
            let find = |name: &&str| match *name {
                "" => Ok(None),
                name => tensors.find(name, &role).map(Some),
            };
            inputs.of[number] = node.inputs.iter().map(find).collect::<Result<_, _>>()?;
            open.extend(inputs.of[number].iter().flatten());
        }
        Ok(inputs)
    }

    /// The needed nodes, each after what it reads; where several could follow, the first in the file does.
    fn order(&self, graph: &Graph, tensors: &Tensors) -> Result<Vec<usize>, Fault> {
        let mut waiting = vec![0_usize; graph.nodes.len()];
        let mut readers = vec![Vec::new(); tensors.names.len()];
        let needed = || (0..graph.nodes.len()).filter(|&number| self.needed[number]);
        for number in needed() {
            for &tensor in self.of[number].iter().flatten() {
                if matches!(tensors.makers[tensor], Maker::Step(_)) {
                    waiting[number] += 1;
                    readers[tensor].push(number);
                }
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            needed().filter(|&number| waiting[number] == 0).map(Reverse).collect();
        let mut order = Vec::new();
        while let Some(Reverse(number)) = ready.pop() {
            order.push(number);
            for &reader in tensors.made[number].iter().flatten().flat_map(|&tensor| &readers[tensor]) {
                waiting[reader] -= 1;
                if waiting[reader] == 0 {
                    ready.push(Reverse(reader));
                }
            }
        }
        match needed().find(|&number| waiting[number] > 0) {
            None => Ok(order),
            Some(number) => {
                Err(broken(format!("node {:?} depends on its own result", graph.nodes[number].name)))
            }
        }
    }
}

/// The one input that the outputs depend on, and its place.
fn the_input(
    graph: &Graph,
    tensors: &Tensors,
    inputs: &Inputs,
    outputs: &[TensorId],
) -> Result<(TensorId, usize), Fault> {
    let needed = (0..graph.nodes.len()).filter(|&number| inputs.needed[number]);
    let read: BTreeSet<TensorId> =
        needed.flat_map(|number| inputs.of[number].iter().flatten()).chain(outputs).copied().collect();
    let place = |id: TensorId| match tensors.makers[id] {
        Maker::Input(place) => Some((id, place)),
        Maker::Stored(_) | Maker::Step(_) => None,
    };
    match read.into_iter().filter_map(place).collect::<Vec<_>>()[..] {
        [input] => Ok(input),
        ref found => {
            let names: Vec<&str> = found.iter().map(|&(id, _)| tensors.names[id]).collect();
            Err(Fault::new(
                format!("a model with {} inputs: {names:?}", names.len()),
                "one input, the image",
                "export the bare detector, without pre- or post-processing that asks for more",
            ))
        }
    }
}
