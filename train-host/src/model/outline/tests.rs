use super::*;
use crate::model::complexity::count;
use crate::model::{Conv, Head, MODEL_NAMES, Overrides};

fn load(name: &str) -> Architecture {
    let classes: Vec<String> = (0..3).map(|class| class.to_string()).collect();
    Architecture::load(name, &Overrides::default(), &classes).unwrap()
}

#[test]
fn layers_are_the_rows_and_add_up_to_the_model() {
    for name in MODEL_NAMES {
        let architecture = load(name);
        let outline = Outline::of(&architecture, 64).unwrap();
        let whole = count(&architecture.graph, 64).unwrap();
        let total = outline.total();
        assert_eq!(
            (total.nodes, total.parameters, total.flops),
            (whole.layers, whole.parameters, whole.flops),
            "{name}"
        );
        let indices: Vec<usize> = outline.layers.iter().map(|layer| layer.index).collect();
        assert_eq!(indices, (0..indices.len()).collect::<Vec<_>>(), "{name}");
        let last = outline.layers.last().unwrap();
        assert_eq!((last.module.as_str(), &last.results), ("Detect", &architecture.graph.outputs));
    }
}

#[test]
fn a_layer_says_where_it_reads_and_what_it_gives() {
    let outline = Outline::of(&load("repyolov5n"), 64).unwrap();
    let layer = |index: usize| &outline.layers[index];
    assert_eq!((layer(0).from.as_slice(), layer(0).module.as_str()), (&[From::Image][..], "Conv"));
    assert_eq!(layer(12).from, [From::Layer(11), From::Layer(6)]);
    assert_eq!(layer(24).from, [17, 20, 23].map(From::Layer));
    assert_eq!((layer(6).module.as_str(), layer(6).repeats), ("C3Rep", 3));
    assert_eq!((layer(9).repeats, layer(24).repeats), (1, 1), "pools and outputs are no repeats");
    let shapes: Vec<_> = layer(24).results.iter().map(|&id| outline.shapes[id]).collect();
    assert_eq!(shapes, [[24, 8, 8], [24, 4, 4], [24, 2, 2]]);
    let a1 = Outline::of(&load("yolov5s-repvgg-a1"), 64).unwrap();
    assert_eq!((a1.layers[6].module.as_str(), a1.layers[6].repeats), ("RepConv", 13));
}

#[test]
fn a_graph_with_names_of_its_own_has_a_layer_an_operator() {
    let mut graph = Graph::default();
    let conv = |cin, cout| {
        Op::Conv(Conv { cin, cout, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true })
    };
    let image = graph.push("images", Op::Input { channels: 3 }, &[]);
    let first = graph.push("/stem/Conv", conv(3, 8), &[image]);
    let act = graph.push("/stem/Act", Op::Act(crate::model::Activation::Relu), &[first]);
    let sum = graph.push("sum", Op::Add, &[first, act]);
    let output = graph.push("out", conv(8, 6), &[sum]);
    graph.outputs = vec![output];
    let head = Head::with_anchors(vec!["a".into()], vec![1], vec![vec![[4.0, 4.0]]]);
    let architecture = Architecture { name: "other".into(), description: String::new(), graph, head };
    let outline = Outline::of(&architecture, 8).unwrap();
    let layers: Vec<_> = outline.layers.iter().map(|l| (l.name.as_str(), l.module.as_str())).collect();
    // Its convolution is read twice, so the activation is a layer of its own.
    assert_eq!(layers, [("/stem/Conv", "Conv"), ("/stem/Act", "Act"), ("sum", "Add"), ("out", "Conv")]);
    assert_eq!(outline.layers[2].from, [From::Layer(0), From::Layer(1)]);
    assert_eq!(outline.total().parameters, 3 * 8 + 8 + 8 * 6 + 6);
}
