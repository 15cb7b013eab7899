//! A small detector with YOLO11's attention block, C2PSA: what is special about it is that activations are multiplied with
//! each other, by nodes that stay in floats between nodes that run in int8.

use train_host::model::{
    Activation, Architecture, Attention, Conv, FusedModel, Graph, Head, NodeId, Op, Overrides,
};

use super::random_weights;

const CHANNELS: usize = 32;
const ATTENTION: Attention = Attention { heads: 2, key_dim: 4, head_dim: 8 };
const ANCHORS_PX: [[f32; 2]; 3] = [[10.0, 14.0], [23.0, 27.0], [37.0, 58.0]];

/// The detector with random weights for images of `imgsz` pixels, a multiple of 8. Its attention is called
/// `attn`.
pub fn attention_model(imgsz: usize) -> FusedModel {
    let classes = vec!["a".to_owned(), "b".to_owned()];
    let template = Architecture::load("yolov5n", &Overrides::default(), &classes).unwrap();
    let head = Head::with_anchors(classes, vec![8], vec![ANCHORS_PX.to_vec()]);
    let graph = graph(3 * (5 + head.classes.len()));
    let weights = random_weights(&graph, 7);
    let architecture = Architecture { name: "attention".into(), graph, head, ..template };
    FusedModel { architecture, weights, imgsz }
}

fn graph(outputs: usize) -> Graph {
    let mut graph = Graph::default();
    let image = graph.push("images", Op::Input { channels: 3 }, &[]);
    let stem = stem(&mut graph, image);
    let half = CHANNELS / 2;
    let rest = graph.push("rest", Op::Slice { start: 0, len: half }, &[stem]);
    let part = graph.push("part", Op::Slice { start: half, len: half }, &[stem]);
    let attended = attended(&mut graph, part, half);
    let part = graph.push("shortcut", Op::Add, &[part, attended]);
    let joined = graph.push("joined", Op::Concat, &[rest, part]);
    let raw = conv(&mut graph, "raw", joined, pointwise(CHANNELS, outputs));
    graph.outputs = vec![raw];
    graph
}

/// From pixels to a map at stride 8, in steps of 2: rknn-toolkit2 crashes on a single convolution of that stride in int8.
/// With Relu, which every engine computes alike, so that what differs behind it is attention's.
fn stem(graph: &mut Graph, image: NodeId) -> NodeId {
    let mut map = image;
    for (level, [cin, cout]) in [[3, 8], [8, 16], [16, CHANNELS]].into_iter().enumerate() {
        let halving = Conv { kernel: 3, stride: 2, pad: 1, ..pointwise(cin, cout) };
        let sums = conv(graph, &format!("stem.{level}"), map, halving);
        map = graph.push(format!("stem.{level}.act"), Op::Act(Activation::Relu), &[sums]);
    }
    map
}

/// Attention over `part`, and its values by where they are.
fn attended(graph: &mut Graph, part: NodeId, channels: usize) -> NodeId {
    let Attention { heads, key_dim, head_dim } = ATTENTION;
    let of_head = 2 * key_dim + head_dim;
    let qkv = conv(graph, "qkv", part, pointwise(channels, heads * of_head));
    let sums = graph.push("attn", Op::Attention(ATTENTION), &[qkv]);
    let values = (0..heads).map(|head| {
        let start = head * of_head + 2 * key_dim;
        graph.push(format!("values.{head}"), Op::Slice { start, len: head_dim }, &[qkv])
    });
    let values: Vec<NodeId> = values.collect();
    let values = graph.push("values", Op::Concat, &values);
    let depthwise = Conv { kernel: 3, pad: 1, groups: channels, ..pointwise(channels, channels) };
    let position = conv(graph, "position", values, depthwise);
    let sums = graph.push("attn.sum", Op::Add, &[sums, position]);
    conv(graph, "proj", sums, pointwise(channels, channels))
}

fn conv(graph: &mut Graph, name: &str, input: NodeId, conv: Conv) -> NodeId {
    graph.push(name, Op::Conv(conv), &[input])
}

fn pointwise(cin: usize, cout: usize) -> Conv {
    Conv { cin, cout, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true }
}
