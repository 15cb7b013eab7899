//! Convolutions of stored values whose results stay floats: they are summed in int8 all the same, and the sums scaled.

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::ZERO;
use super::index::{FLOAT, Index};

/// Lets convolutions of stored values whose results stay floats sum in int8: DQ→Conv becomes ConvInteger, scaled.
pub(super) fn integer_sums(graph: &mut GraphProto) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut constants = Vec::new();
    {
        let index = Index::of(graph);
        for node in &graph.node {
            match scaled_sums(&index, node, &mut constants) {
                Some(replacement) => nodes.extend(replacement),
                None => nodes.push(node.clone()),
            }
        }
    }
    graph.node = nodes;
    graph.initializer.append(&mut constants);
}

fn scaled_sums(
    index: &Index<'_>,
    conv: &NodeProto,
    constants: &mut Vec<TensorProto>,
) -> Option<[NodeProto; 4]> {
    let [x, w, rest @ ..] = conv.input.as_slice() else { return None };
    if conv.op_type != "Conv" {
        return None;
    }
    let x = index.dequantized(x)?;
    let w = index.weights(w)?;
    let bias = match rest {
        [] => vec![0; w.channels],
        [bias] => index.bias_values(index.bias(bias, x.quant.scale, &w)?)?,
        _ => return None,
    };
    let scales: Vec<f32> = (0..w.channels).map(|channel| w.scale(channel) * x.quant.scale).collect();
    #[expect(clippy::cast_precision_loss, reason = "a bias beyond 24 bits is rounded as every sum is")]
    let real_bias = bias.iter().zip(&scales).map(|(&bias, scale)| bias as f32 * scale).collect();
    let [sums, reals, scaled] = ["sums", "reals", "scaled"].map(|part| format!("{}.{part}", conv.name));
    let [scale_name, bias_name] = ["scales", "biases"].map(|part| format!("{}.{part}", conv.name));
    constants.push(along_channels(&scale_name, scales));
    constants.push(along_channels(&bias_name, real_bias));
    let node = |op: &str, name: &str, input: Vec<String>, output: String, attribute| NodeProto {
        op_type: op.into(),
        name: name.to_owned(),
        input,
        output: vec![output],
        attribute,
        ..NodeProto::default()
    };
    let operands = [x.name, w.name, x.zero_point_name, ZERO].map(str::to_owned).to_vec();
    let to_float = AttributeProto {
        name: "to".into(),
        r#type: AttributeType::Int as i32,
        i: i64::from(FLOAT),
        ..AttributeProto::default()
    };
    Some([
        node("ConvInteger", &conv.name, operands, sums.clone(), conv.attribute.clone()),
        node("Cast", &reals, vec![sums], reals.clone(), vec![to_float]),
        node("Mul", &scaled, vec![reals.clone(), scale_name], scaled.clone(), vec![]),
        node(
            "Add",
            &format!("{}.biased", conv.name),
            vec![scaled.clone(), bias_name],
            conv.output.first()?.clone(),
            vec![],
        ),
    ])
}

fn along_channels(name: &str, values: Vec<f32>) -> TensorProto {
    TensorProto {
        dims: vec![1, i64::try_from(values.len()).unwrap_or(i64::MAX), 1, 1],
        data_type: FLOAT,
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}
