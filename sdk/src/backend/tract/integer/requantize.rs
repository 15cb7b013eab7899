//! What stands behind the sums of an int8 convolution, in one pass as a tract operator: the bias, the requantization
//! that `int8` states, and a fused activation's table. tract's own `QLinearConv` takes five passes, and rounds otherwise
//! by a last bit.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::ops::{attribute, bytes, floats, ints};
use crate::int8::{self, SumTable};

/// Operator type. `multipliers` and `bias` have one entry a channel; either `zero_point` holds that of the result, or
/// `table` and `first` those of a [`SumTable`].
const REQUANTIZE: &str = "RepedgeInt8Requantize";

/// Adding and subtracting it rounds floats below 2²² in magnitude to whole numbers, halves to even, without a call.
const ROUND: f32 = 12_582_912.0;

/// Makes the operator known to `onnx`.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(REQUANTIZE, parse);
}

/// How sums become stored values.
#[derive(Debug, Clone, PartialEq)]
pub struct Requantize {
    /// For each channel.
    pub bias: Vec<i32>,
    /// For each channel, finite: see [`int8::multiplier`].
    pub multipliers: Vec<f32>,
    pub codes: Codes,
}

/// What a requantized sum is stored as.
#[derive(Debug, Clone, PartialEq)]
pub enum Codes {
    /// Itself plus the zero point, saturated.
    Shifted { zero_point: i32 },
    /// What a table of an activation has for it.
    Table { first: i32, entries: Vec<i8> },
}

/// Multipliers are finite.
impl Eq for Requantize {}

impl Codes {
    pub fn of_table(table: &SumTable) -> Self {
        Self::Table { first: table.first(), entries: table.entries().to_vec() }
    }
}

impl Requantize {
    /// The node that makes `output` of the sums `input`.
    pub fn node(&self, name: &str, input: &str, output: &str) -> NodeProto {
        let mut attribute = vec![
            floats("multipliers", self.multipliers.iter().copied()),
            ints("bias", self.bias.iter().map(|&bias| i64::from(bias))),
        ];
        match &self.codes {
            Codes::Shifted { zero_point } => {
                attribute.push(ints("zero_point", [i64::from(*zero_point)].into_iter()));
            }
            Codes::Table { first, entries } => {
                attribute.push(ints("first", [i64::from(*first)].into_iter()));
                attribute.push(bytes("table", entries.iter().map(|entry| entry.cast_unsigned()).collect()));
            }
        }
        NodeProto {
            op_type: REQUANTIZE.into(),
            name: name.to_owned(),
            input: vec![input.to_owned()],
            output: vec![output.to_owned()],
            attribute,
            ..NodeProto::default()
        }
    }

    fn of(node: &NodeProto) -> TractResult<Self> {
        let multipliers = attribute(node, "multipliers").context("multipliers")?.floats.clone();
        let values = &attribute(node, "bias").context("a bias")?.ints;
        let bias = values.iter().map(|&bias| Ok(i32::try_from(bias)?)).collect::<TractResult<Vec<i32>>>()?;
        let number = |name| -> TractResult<i32> {
            let value = attribute(node, name).and_then(|attribute| attribute.ints.first()).context(name)?;
            Ok(i32::try_from(*value)?)
        };
        let codes = match attribute(node, "table") {
            None => Codes::Shifted { zero_point: number("zero_point")? },
            Some(table) => Codes::Table {
                first: number("first")?,
                entries: table.s.iter().map(|entry| entry.cast_signed()).collect(),
            },
        };
        let filled = !matches!(&codes, Codes::Table { entries, .. } if entries.is_empty());
        let finite = multipliers.iter().all(|multiplier| multiplier.is_finite());
        ensure!(
            filled && finite && bias.len() == multipliers.len(),
            "a requantization with a value for each"
        );
        Ok(Self { bias, multipliers, codes })
    }

    /// As [`int8::requantize`] and [`SumTable::index`]: bounds are whole numbers, so that saturating before the rounding
    /// gives the same as after it.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the sum enters the product as f32, as stated; all else is within bounds that f32 and i8 hold"
    )]
    fn plane(&self, channel: usize, sums: &[i32], stored: &mut [i8]) {
        let (bias, multiplier) = (self.bias[channel], self.multipliers[channel]);
        let scaled = |&sum: &i32| sum.wrapping_add(bias) as f32 * multiplier;
        match &self.codes {
            Codes::Shifted { zero_point } => {
                let [low, high] = [int8::MIN - zero_point, int8::MAX - zero_point].map(|bound| bound as f32);
                for (stored, sum) in stored.iter_mut().zip(sums) {
                    let steps = scaled(sum).clamp(low, high) + ROUND - ROUND;
                    *stored = (steps as i32 + zero_point) as i8;
                }
            }
            Codes::Table { first, entries } => {
                let [low, high] = [*first as f32, *first as f32 + (entries.len() - 1) as f32];
                for (stored, sum) in stored.iter_mut().zip(sums) {
                    let step = scaled(sum).clamp(low, high) + ROUND - ROUND - low;
                    *stored = entries[step as usize];
                }
            }
        }
    }
}

fn parse(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Requantize::of(node)?), vec![]))
}

impl Op for Requantize {
    fn name(&self) -> StaticName {
        "Int8Requantize".into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Requantize {
    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs.first().context("sums")?;
        let sums = input.try_as_plain_ram()?;
        let sums = sums.as_slice::<i32>()?;
        let mut stored = vec![0_i8; sums.len()];
        let plane = (sums.len() / self.bias.len()).max(1);
        for (channel, (sums, stored)) in sums.chunks(plane).zip(stored.chunks_mut(plane)).enumerate() {
            self.plane(channel, sums, stored);
        }
        Ok(tvec!(Tensor::from_shape(input.shape(), &stored)?.into_tvalue()))
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(EvalOp::eval(self, &EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for Requantize {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs.first().context("a requantization of nothing")?;
        let one_image =
            matches!(fact.shape.as_concrete(), Some([1, channels, ..]) if *channels == self.bias.len());
        ensure!(fact.datum_type == i32::datum_type() && one_image, "a requantization of {fact:?}");
        Ok(tvec!(i8::fact(fact.shape.clone())))
    }
}

impl Expansion for Requantize {
    fn name(&self) -> StaticName {
        "Int8Requantize".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        solver.equals(&outputs[0].datum_type, i8::datum_type())?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
