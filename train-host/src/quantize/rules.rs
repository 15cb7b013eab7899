//! What boards ask of a model's scales, held against what they were found for. Never changes a scale.

use boards::{Between, Board, Int8, Outputs, Scales};

use super::scheme::QuantizedModel;
use crate::model::{NodeId, Op};
use crate::{Error, Result};

/// The strictest rules that the scales of `model` keep, whatever they were found for; a rule about what the model does not
/// have is kept.
pub(super) fn kept_by(model: &QuantizedModel) -> Int8 {
    let (graph, tensors) = (&model.architecture.graph, &model.scheme.tensors);
    let all = |is_meant: fn(&Op) -> bool, holds: &dyn Fn(NodeId) -> bool| {
        let meant = |id: &NodeId| is_meant(&graph.nodes[*id].op) && model.is_int8(*id);
        (0..graph.nodes.len()).filter(meant).all(holds)
    };
    let shares = |id: NodeId| graph.nodes[id].inputs.iter().all(|&input| tensors[input] == tensors[id]);
    let is_stored = |id: &NodeId| !model.is_int8(*id) || tensors[*id].is_some();
    let scales = |are_shared: bool| if are_shared { Scales::Shared } else { Scales::Own };
    let reads_stored = |id: NodeId| model.fused_convolution(id).is_none();
    Int8 {
        concat: scales(all(|op| matches!(op, Op::Concat), &shares)),
        add: scales(all(|op| matches!(op, Op::Add), &shares)),
        activation: if all(|op| matches!(op, Op::Act(_)), &reads_stored) {
            Between::Stored
        } else {
            Between::Fused
        },
        outputs: if graph.outputs.iter().all(is_stored) { Outputs::Stored } else { Outputs::Real },
    }
}

/// Each rule of `asked` that a model quantized for `kept` may break: its name in board files, what was kept and what is
/// asked. An engine that rescales, fuses, or reads sums takes a model without them as well, so that only one side of each
/// rule is the stricter.
pub(super) fn broken(asked: Int8, kept: Int8) -> Vec<[&'static str; 3]> {
    let own = |asked: Scales, kept: Scales| (asked, kept) == (Scales::Shared, Scales::Own);
    let rules = [
        (own(asked.concat, kept.concat), ["concat", "own", "shared"]),
        (own(asked.add, kept.add), ["add", "own", "shared"]),
        (
            (asked.activation, kept.activation) == (Between::Stored, Between::Fused),
            ["activation", "fused", "stored"],
        ),
        ((asked.outputs, kept.outputs) == (Outputs::Stored, Outputs::Real), ["outputs", "real", "stored"]),
    ];
    rules.into_iter().filter(|(is_broken, _)| *is_broken).map(|(_, rule)| rule).collect()
}

/// Checks that `model`, which errors call `what`, was quantized for an engine that asks at least what `board`'s asks.
///
/// # Errors
/// [`Error::Input`] naming the rules, both sides of each, and the board.
pub fn expect_kept(what: &str, model: &QuantizedModel, board: &Board) -> Result<()> {
    let broken = broken(board.int8, model.scheme.rules);
    if broken.is_empty() {
        return Ok(());
    }
    let told = |side: usize| {
        let rules = broken.iter().map(|rule| format!("{} = {:?}", rule[0], rule[side]));
        rules.collect::<Vec<_>>().join(", ")
    };
    Err(Error::input(
        format!("{what} is quantized for int8 rules with {}", told(1)),
        format!("{}, as the int8 engine of board {:?} asks", told(2), board.name),
        format!("quantize the model it was made of again, with --target {}", board.name),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Int8 = Int8 {
        concat: Scales::Shared,
        add: Scales::Shared,
        activation: Between::Stored,
        outputs: Outputs::Stored,
    };
    const LENIENT: Int8 =
        Int8 { concat: Scales::Own, add: Scales::Own, activation: Between::Fused, outputs: Outputs::Real };

    #[test]
    fn only_what_is_asked_and_was_not_kept_is_broken() {
        let names = |asked: Int8, kept: Int8| -> Vec<&str> {
            broken(asked, kept).into_iter().map(|[name, ..]| name).collect()
        };
        assert_eq!(names(STRICT, LENIENT), ["concat", "add", "activation", "outputs"]);
        for lenient in [STRICT, LENIENT] {
            assert!(names(LENIENT, lenient).is_empty() && names(lenient, STRICT).is_empty());
        }
        assert_eq!(names(Int8 { concat: Scales::Shared, ..LENIENT }, LENIENT), ["concat"]);
        assert_eq!(names(STRICT, Int8 { add: Scales::Own, ..STRICT }), ["add"]);
        assert_eq!(names(Int8 { activation: Between::Stored, ..LENIENT }, LENIENT), ["activation"]);
        assert_eq!(names(STRICT, Int8 { outputs: Outputs::Real, ..STRICT }), ["outputs"]);
    }

    /// Whoever changes a board's rules has to know which files it takes from then on.
    #[test]
    fn models_for_npus_run_on_cpus_and_not_the_other_way_round() {
        let rules = |name: &str| Board::find(name).unwrap().int8;
        for npu in boards::names().filter(|name| Board::find(name).unwrap().npu.is_some()) {
            assert!(broken(rules("host"), rules(npu)).is_empty(), "{npu}");
            assert_eq!(broken(rules(npu), rules("host")), [["outputs", "real", "stored"]], "{npu}");
        }
    }
}
