//! Prints attention as the matrix products, softmax and reshapes that engines know. Decides nothing about its numbers:
//! they are defined at [`Attention`].

use super::{Printer, attr_int, attr_ints, int};
use crate::model::Attention;

/// Axis of channels within a head, of queries, keys and values.
const CHANNEL_AXIS: usize = 2;
/// Axis of the positions that are summed over.
const LAST_AXIS: usize = 3;

impl Printer<'_> {
    pub(super) fn attention(
        &mut self,
        name: &str,
        attention: &Attention,
        [height, width]: [usize; 2],
        inputs: Vec<String>,
        output: String,
    ) {
        let Attention { heads, key_dim, head_dim } = *attention;
        let positions = height * width;
        let part = |part: &str| format!("{name}.{part}");
        let split = self.reshape(&part("heads"), inputs, &[1, heads, 2 * key_dim + head_dim, positions]);
        let parts = [part("query"), part("key"), part("value")];
        let sizes = [key_dim, key_dim, head_dim].map(int);
        let sizes = self.ints(part("sizes"), &sizes);
        let axis = vec![attr_int("axis", CHANNEL_AXIS)];
        self.emit_all("Split", &part("split"), vec![split, sizes], parts.to_vec(), axis);
        let [query, key, value] = parts;

        let query = self.transpose(&part("rows"), query);
        let products = self.computed("MatMul", &part("products"), vec![query, key]);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "channel counts are small, and ONNX holds f32"
        )]
        let scale = (1.0 / (key_dim as f64).sqrt()) as f32;
        // Not called `scale`: that is what a node's quantization is called behind its name.
        let scale = self.floats(part("inverse_root"), &[], &[scale]);
        let scaled = self.computed("Mul", &part("scaled"), vec![products, scale]);
        let weights = part("weights");
        let axis = vec![attr_int("axis", LAST_AXIS)];
        self.emit("Softmax", &weights, vec![scaled], weights.clone(), axis);
        let weights = self.transpose(&part("columns"), weights);
        let sums = self.computed("MatMul", &part("sums"), vec![value, weights]);
        let shape = self.shape_of(&part("joined"), &[1, heads * head_dim, height, width]);
        self.emit("Reshape", name, vec![sums, shape], output, vec![]);
    }

    /// Swaps the last two axes of four.
    fn transpose(&mut self, name: &str, input: String) -> String {
        let order = vec![attr_ints("perm", &[0, 1, 3, 2])];
        self.emit("Transpose", name, vec![input], name.to_owned(), order);
        name.to_owned()
    }

    fn computed(&mut self, op: &str, name: &str, inputs: Vec<String>) -> String {
        self.emit(op, name, inputs, name.to_owned(), vec![]);
        name.to_owned()
    }

    fn reshape(&mut self, name: &str, mut inputs: Vec<String>, shape: &[usize]) -> String {
        inputs.push(self.shape_of(name, shape));
        self.computed("Reshape", name, inputs)
    }

    fn shape_of(&mut self, name: &str, shape: &[usize]) -> String {
        let sides: Vec<i64> = shape.iter().map(|&side| int(side)).collect();
        self.ints(format!("{name}.shape"), &sides)
    }
}

#[cfg(test)]
mod tests {
    use artifact::{Tensor, TensorData};
    use repedge::backend::Session;
    use repedge::backend::tract::TractSession;

    use super::*;
    use crate::export::onnx;
    use crate::model::reference::{Plane, run};
    use crate::model::{Conv, Graph, Op, Weights};

    #[test]
    fn tract_computes_the_definition() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let conv =
            Conv { cin: 3, cout: 23, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: false };
        let qkv = graph.push("qkv", Op::Conv(conv), &[image]);
        let slice = graph.push("slice", Op::Slice { start: 2, len: 20 }, &[qkv]);
        let attention = Attention { heads: 2, key_dim: 3, head_dim: 4 };
        let sum = graph.push("attn", Op::Attention(attention), &[slice]);
        graph.outputs = vec![sum];
        let mut weights = Weights::default();
        let wave = |i: usize| (i as f32 * 0.7).sin() * 2.0;
        weights.insert("qkv.weight", &[23, 3, 1, 1], (0..69).map(wave).collect());

        let side = 6;
        let outputs: Vec<String> = vec!["attn".into()];
        let specs = super::super::specs(&graph, &outputs, side).unwrap();
        let bytes = onnx::write_graph(&graph, &weights, side).unwrap();
        let mut session = TractSession::from_onnx(&bytes, specs.input, specs.outputs).unwrap();
        let image: Vec<f32> = (0..3 * side * side).map(|i| (i as f32 * 0.31).cos()).collect();
        let input = Tensor { data: TensorData::F32(image.clone()), ..Tensor::zeroed(session.input()) };
        let mut found = vec![Tensor::zeroed(&session.outputs()[0])];
        session.run(&input, &mut found).unwrap();
        let TensorData::F32(found) = &found[0].data else { unreachable!() };

        let plane = Plane { shape: [3, side, side], data: image.iter().map(|&v| f64::from(v)).collect() };
        let expected = &run(&graph, &weights, &plane)[0];
        assert_eq!(expected.shape, [8, side, side]);
        assert_eq!(found.len(), expected.data.len());
        for (found, expected) in found.iter().zip(&expected.data) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
        }
    }
}
