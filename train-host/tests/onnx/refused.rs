//! What is not understood is refused by the name of its node, with the reason.

use crate::detectors::decoded_anchors;
use crate::file::{Attr, Onnx, window};
use crate::{over, refusal, stem};

#[test]
fn nodes_without_a_counterpart_are_named_with_the_reason() {
    type Build = fn(&mut Onnx, &str) -> String;
    let refused: [(&str, &str, Build); 14] = [
        ("HardSwish", "HardSwish as an activation", |onnx, x| onnx.add("HardSwish", &[x], &[])),
        ("Mul", "HardSwish as an activation", |onnx, x| {
            let gate = onnx.add("HardSigmoid", &[x], &[]);
            onnx.add("Mul", &[x, &gate], &[])
        }),
        ("LeakyRelu", "a slope of 0.01", |onnx, x| onnx.add("LeakyRelu", &[x], &[])),
        ("LeakyRelu", "a slope of 0.2", |onnx, x| {
            onnx.add("LeakyRelu", &[x], &[("alpha", Attr::Float(0.2))])
        }),
        ("GlobalAveragePool", "not supported", |onnx, x| onnx.add("GlobalAveragePool", &[x], &[])),
        ("DequantizeLinear", "export the float model", |onnx, x| onnx.add("DequantizeLinear", &[x], &[])),
        ("If", "onnxsim", |onnx, x| onnx.add("If", &[x], &[])),
        ("Mul", "a product or difference", |onnx, x| onnx.add("Mul", &[x, x], &[])),
        ("Conv", "only square ones", |onnx, x| {
            let weight = onnx.random(&[8, 8, 1, 3], 0.5);
            onnx.add("Conv", &[x, &weight], &[("pads", Attr::Ints(vec![0, 1, 0, 1]))])
        }),
        ("Conv", "only square ones", |onnx, x| {
            let weight = onnx.random(&[8, 8, 2, 2], 0.5);
            onnx.add("Conv", &[x, &weight], &[("pads", Attr::Ints(vec![0, 0, 1, 1]))])
        }),
        ("Cast", "Cast between feature maps", |onnx, x| onnx.add("Cast", &[x], &[("to", Attr::Int(7))])),
        ("MaxPool", "ceil_mode", |onnx, x| {
            onnx.add("MaxPool", &[x], &[window(3, 2, 0), vec![("ceil_mode", Attr::Int(1))]].concat())
        }),
        ("Resize", "only nearest", |onnx, x| {
            let scales = onnx.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
            onnx.add("Resize", &[x, "", &scales], &[("mode", Attr::Text("linear"))])
        }),
        ("Resize", "other neighbors", |onnx, x| {
            let scales = onnx.floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
            onnx.add("Resize", &[x, "", &scales], &[("nearest_mode", Attr::Text("ceil"))])
        }),
    ];
    for (op, reason, build) in refused {
        let onnx = over(|onnx| {
            let x = stem(onnx, 8);
            build(onnx, &x)
        });
        let error = refusal(&onnx);
        // The last node before the three convolutions of the head.
        let node = &onnx.nodes[onnx.nodes.len() - 4];
        assert_eq!(node.op, op);
        assert!(error.contains(&format!("model.onnx: node {:?} ({op})", node.name)), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_first_node_in_the_file_is_named() {
    let onnx = over(|onnx| {
        let x = stem(onnx, 8);
        let x = onnx.add("Elu", &[&x], &[]);
        let x = onnx.conv(&x, [8, 8], 1, 1);
        onnx.add("HardSwish", &[&x], &[])
    });
    assert!(refusal(&onnx).contains("(Elu)"));
}

#[test]
fn models_that_scale_the_image_are_refused() {
    let onnx = over(|onnx| {
        let scale = onnx.floats(&[], &[255.0]);
        let image = onnx.add("Div", &["images", &scale], &[]);
        onnx.conv(&image, [3, 8], 4, 4)
    });
    assert!(refusal(&onnx).contains("RGB from 0 to 1"));
}

#[test]
fn files_that_are_no_detector_of_one_image_are_refused_with_the_reason() {
    let spoiled = |spoil: fn(&mut Onnx)| {
        let mut onnx = decoded_anchors();
        spoil(&mut onnx);
        refusal(&onnx)
    };
    assert!(spoiled(|onnx| onnx.opset = 10).contains("opset 10"));
    assert!(spoiled(|onnx| onnx.opset = 22).contains("opset 22"));
    assert!(spoiled(|onnx| onnx.inputs[0].2[0] = Some(8)).contains("one RGB image"));
    assert!(spoiled(|onnx| onnx.inputs[0].2[1] = Some(1)).contains("one RGB image"));
    assert!(spoiled(|onnx| onnx.inputs[0].2.truncate(3)).contains("one RGB image"));
    assert!(spoiled(|onnx| onnx.inputs[0].2[3] = Some(64)).contains("square"));
    assert!(spoiled(|onnx| onnx.inputs[0].1 = 2).contains("data type 2"));
    assert!(spoiled(|onnx| onnx.outputs[0] = "nowhere".into()).contains("nothing makes"));
    assert!(spoiled(|onnx| onnx.nodes[3].inputs[0] = "nowhere".into()).contains("nothing makes"));
    assert!(spoiled(|onnx| onnx.outputs.clear()).contains("without outputs"));
    assert!(spoiled(|onnx| onnx.nodes[4].outputs = onnx.nodes[3].outputs.clone()).contains("two tensors"));
    assert!(
        spoiled(|onnx| onnx.nodes[3].inputs[0] = onnx.nodes[4].outputs[0].clone()).contains("its own result")
    );
    assert!(spoiled(|onnx| onnx.metadata.push(("task".into(), "segment".into()))).contains("segment"));
    assert!(spoiled(|onnx| onnx.metadata.push(("names".into(), "['a']".into()))).contains("1 class names"));
    assert!(
        spoiled(|onnx| {
            let part = onnx.inputs[0].clone();
            onnx.inputs.push(("more".into(), part.1, part.2));
            onnx.nodes[0].inputs[0] = "more".into();
        })
        .contains("2 inputs")
    );
    assert!(
        spoiled(|onnx| {
            let image = onnx.nodes[0].inputs[0].clone();
            onnx.outputs.push(image);
        })
        .contains("from the image without a convolution")
    );
}
