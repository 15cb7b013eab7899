//! Random blocks of every geometry and branch set that can be folded.

use proptest::prelude::*;
use train_host::model::{Conv, Graph, NodeId, Op};

pub const EPS: f64 = 1e-3;

/// Where a block has its batch norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// One in every branch, the identity included.
    RepVgg,
    /// One in the dense branch and one after the sum; the identity is bare.
    QaRepVgg,
}

/// One block and the image it is tried on.
#[derive(Debug, Clone, Copy)]
pub struct BlockCase {
    pub form: Form,
    pub cin: usize,
    pub cout: usize,
    pub stride: usize,
    pub dilation: usize,
    pub groups: usize,
    pub identity: bool,
    pub side_px: usize,
    pub seed: u64,
}

/// Blocks of every kind.
pub fn cases() -> impl Strategy<Value = BlockCase> {
    let form = prop_oneof![Just(Form::RepVgg), Just(Form::QaRepVgg)];
    let groups = prop_oneof![Just(1_usize), Just(2), Just(3)];
    (form, groups, 1..4_usize, 1..4_usize, 1..3_usize, 1..4_usize, any::<bool>(), 8..20_usize, any::<u64>())
        .prop_map(|(form, groups, cin, cout, stride, dilation, identity, side_px, seed)| {
            let identity = identity && stride == 1;
            let cout = if identity { cin } else { cout };
            let (cin, cout) = (cin * groups, cout * groups);
            BlockCase { form, cin, cout, stride, dilation, groups, identity, side_px, seed }
        })
}

/// Stem (so that the block's input has as many channels as it likes, of both signs) and one block.
pub fn block(case: &BlockCase) -> Graph {
    let BlockCase { form, cin, cout, stride, dilation, groups, .. } = *case;
    let mut graph = Graph::default();
    let image = graph.push("image", Op::Input { channels: 3 }, &[]);
    let stem = Conv { cin: 3, cout: cin, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let stem = graph.push("stem", Op::Conv(stem), &[image]);
    let dense = Conv { cin, cout, kernel: 3, stride, pad: dilation, dilation, groups, bias: false };
    let pointwise = Conv { kernel: 1, pad: 0, dilation: 1, ..dense };
    let norm = Op::BatchNorm { channels: cout, eps: EPS };
    let branch = |graph: &mut Graph, name: &str, conv: Conv, normed: bool| -> NodeId {
        let id = graph.push(format!("b.{name}.conv"), Op::Conv(conv), &[stem]);
        if normed { graph.push(format!("b.{name}.bn"), norm, &[id]) } else { id }
    };
    let mut branches = vec![branch(&mut graph, "dense", dense, true)];
    branches.push(branch(&mut graph, "pointwise", pointwise, form == Form::RepVgg));
    if case.identity {
        branches.push(match form {
            Form::RepVgg => graph.push("b.identity", norm, &[stem]),
            Form::QaRepVgg => stem,
        });
    }
    let mut last = graph.push("b.add", Op::Add, &branches);
    if form == Form::QaRepVgg {
        last = graph.push("b.bn", norm, &[last]);
    }
    graph.outputs = vec![last];
    graph
}
