//! Makes activations and sums part of the convolutions before them. A convolution moves to the place of what it takes in,
//! where all that either reads is there.

use crate::network::{Activation, Network, Node, Operator, Value};

/// Fuses what can be fused.
pub fn fuse(network: &mut Network) {
    let mut at = 0;
    while at < network.nodes.len() {
        let node = &network.nodes[at];
        let candidates = match node.operator {
            Operator::Activate(_) => [Some(node.inputs[0]), None],
            Operator::Add if node.inputs[0] != node.inputs[1] => [1, 0].map(|input| Some(node.inputs[input])),
            _ => [None, None],
        };
        let makers = candidates.into_iter().flatten();
        let makers = makers.filter(|&value| is_read_once(network, value));
        let makers = makers.filter_map(|value| Some((maker(network, value)?, value)));
        let mut joined =
            makers.filter_map(|(maker, value)| Some((maker, join(&network.nodes[maker], node, value)?)));
        if let Some((maker, node)) = joined.next() {
            network.nodes[at] = node;
            network.nodes.remove(maker);
        } else {
            at += 1;
        }
    }
}

fn maker(network: &Network, value: Value) -> Option<usize> {
    network.nodes.iter().position(|node| node.output == value)
}

fn is_read_once(network: &Network, value: Value) -> bool {
    let reads = network.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == value).count();
    reads == 1 && !network.outputs.contains(&value)
}

/// The convolution `maker` of `value` together with `node`, which reads it.
fn join(maker: &Node, node: &Node, value: Value) -> Option<Node> {
    let Operator::Convolution(conv) = &maker.operator else { return None };
    let mut conv = conv.clone();
    let mut inputs = maker.inputs.clone();
    if inputs.len() > 1 {
        return None;
    }
    match node.operator {
        Operator::Activate(activation) if conv.activation == Activation::None => conv.activation = activation,
        Operator::Add => inputs.extend(node.inputs.iter().filter(|&&input| input != value)),
        _ => return None,
    }
    Some(Node { operator: Operator::Convolution(conv), inputs, output: node.output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;
    use crate::network::{Convolution, Windows};

    fn point() -> Operator {
        Operator::Convolution(Convolution {
            weights: vec![1.0],
            bias: vec![0.0],
            windows: Windows::POINT,
            activation: Activation::None,
        })
    }

    #[test]
    fn a_bottleneck_is_one_convolution() {
        let mut network = Network::new();
        let image = network.input(Shape { channels: 1, height: 4, width: 4 });
        let sums = network.node(point(), &[image]).unwrap();
        let active = network.node(Operator::Activate(Activation::Relu), &[sums]).unwrap();
        let sum = network.node(Operator::Add, &[image, active]).unwrap();
        network.output(sum);
        fuse(&mut network);
        let [node] = network.nodes.as_slice() else { panic!("{:?}", network.nodes) };
        assert_eq!((node.inputs.as_slice(), node.output), ([image, image].as_slice(), sum));
        let Operator::Convolution(conv) = &node.operator else { panic!("{node:?}") };
        assert_eq!(conv.activation, Activation::Relu);
    }

    #[test]
    fn what_is_read_twice_or_given_out_stays() {
        let mut network = Network::new();
        let image = network.input(Shape { channels: 1, height: 4, width: 4 });
        let sums = network.node(point(), &[image]).unwrap();
        let active = network.node(Operator::Activate(Activation::Relu), &[sums]).unwrap();
        let twice = network.node(Operator::Add, &[active, active]).unwrap();
        network.output(twice);
        network.output(sums);
        fuse(&mut network);
        assert_eq!(network.nodes.len(), 3);
    }
}
