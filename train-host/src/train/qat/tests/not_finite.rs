//! A loss that is no number: the layer of the float model that made it has a name.

use super::*;

#[test]
fn a_layer_that_is_infinite_for_an_image_trained_on_is_named() {
    let Case { mut float, int8, images, folder } = case(Activation::Relu, Int8::default());
    let convs =
        float.architecture.graph.nodes.iter().filter(|node| matches!(node.op, crate::model::Op::Conv(_)));
    let node = convs.map(|node| node.name.clone()).nth(2).unwrap();
    let name = format!("{node}.bias");
    let mut bias = float.weights.get(&name).unwrap().data.clone();
    bias[0] = f32::INFINITY;
    float.weights.insert(&name, &[bias.len()], bias);
    let qat = Qat::new(settings(1, 0), &images, Progress::Hidden).unwrap();
    let error = qat.train(&float, &int8).unwrap_err().to_string();
    assert!(error.contains(&format!("{node:?}")) && error.contains("loss of"), "{error}");
    drop(folder);
}
