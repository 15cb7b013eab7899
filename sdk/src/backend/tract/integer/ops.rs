//! The operators on stored values that tract lacks, as tract operators: tables, and a sum. They compute what `int8`
//! states.

use artifact::Quant;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::internal::*;

use crate::int8;

/// Operator type of a table over stored values, its 256 entries in the attribute `table`.
pub const TABLE: &str = "RepedgeInt8Table";
/// Operator type of a sum of stored values; `scales` and `zero_points` hold those of the inputs, then the output's.
pub const ADD: &str = "RepedgeInt8Add";

/// Makes the operators known to `onnx`.
pub fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(TABLE, parse_table);
    onnx.op_register.insert(ADD, parse_add);
}

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn parse_table(_: &ParsingContext<'_>, node: &NodeProto) -> Parsed {
    let entries = attribute(node, "table").map(|attribute| attribute.s.as_slice()).unwrap_or_default();
    let entries: &[u8; 256] = entries.try_into().context("a table of 256 entries")?;
    let table = Table(Box::new(entries.map(u8::cast_signed)));
    Ok((ElementWiseOp(Box::new(table), None).into_hir(), vec![]))
}

fn parse_add(_: &ParsingContext<'_>, node: &NodeProto) -> Parsed {
    let scales = attribute(node, "scales").map(|attribute| attribute.floats.as_slice()).unwrap_or_default();
    let zero_points =
        attribute(node, "zero_points").map(|attribute| attribute.ints.as_slice()).unwrap_or_default();
    let quant = |(&scale, &zero_point): (&f32, &i64)| -> TractResult<Quant> {
        Ok(Quant { scale, zero_point: i32::try_from(zero_point)? })
    };
    let mut quants = scales.iter().zip(zero_points).map(quant).collect::<TractResult<Vec<Quant>>>()?;
    let to = quants.pop().context("scales of a sum")?;
    ensure!(!quants.is_empty() && quants.len() == node.input.len(), "a sum with a scale for each input");
    Ok((expand(Add { inputs: quants.iter().map(|&quant| reals(quant)).collect(), from: quants, to }), vec![]))
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn bytes(name: &str, s: Vec<u8>) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::String as i32, s, ..AttributeProto::default() }
}

pub(super) fn floats(name: &str, values: impl Iterator<Item = f32>) -> AttributeProto {
    let r#type = AttributeType::Floats as i32;
    AttributeProto { name: name.into(), r#type, floats: values.collect(), ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, values: impl Iterator<Item = i64>) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.into(), r#type, ints: values.collect(), ..AttributeProto::default() }
}

/// Entry for each stored value by its bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Box<int8::Table>);

impl Table {
    /// Its entries.
    pub fn entries(&self) -> &int8::Table {
        &self.0
    }
}

impl ElementWiseMiniOp for Table {
    fn name(&self) -> String {
        "Int8Table".into()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        let mut values = tensor.try_as_plain_ram_mut()?;
        for value in values.as_slice_mut::<i8>()? {
            *value = self.0[int8::index(*value)];
        }
        Ok(())
    }
}

/// Real value of each stored value of an input, by its bits.
type Reals = Box<[f32; 256]>;

fn reals(quant: Quant) -> Reals {
    let mut reals = Box::new([0.0; 256]);
    for stored in i8::MIN..=i8::MAX {
        reals[int8::index(stored)] = int8::dequantize(stored, quant);
    }
    reals
}

/// A sum of stored values.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    from: Vec<Quant>,
    inputs: Vec<Reals>,
    to: Quant,
}

impl Add {
    /// What the inputs mean, and what the sum is stored as.
    pub fn quants(&self) -> (Vec<Quant>, Quant) {
        (self.from.clone(), self.to)
    }
}

/// Scales are finite: they were read as such.
impl Eq for Add {}

impl Op for Add {
    fn name(&self) -> StaticName {
        "Int8Add".into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Add {
    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut sums = vec![0.0_f32; inputs[0].len()];
        for (at, (input, reals)) in inputs.iter().zip(&self.inputs).enumerate() {
            let values = input.try_as_plain_ram()?;
            for (sum, &stored) in sums.iter_mut().zip(values.as_slice::<i8>()?) {
                let real = reals[int8::index(stored)];
                *sum = if at == 0 { real } else { *sum + real };
            }
        }
        let stored: Vec<i8> = sums.into_iter().map(|sum| int8::quantize(sum, self.to)).collect();
        Ok(tvec!(Tensor::from_shape(inputs[0].shape(), &stored)?.into_tvalue()))
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(EvalOp::eval(self, &EvalContext::out_of_plan(), inputs)?))
    }
}

impl TypedOp for Add {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = inputs.first().context("a sum of nothing")?;
        ensure!(
            inputs.len() == self.inputs.len()
                && inputs
                    .iter()
                    .all(|input| input.datum_type == i8::datum_type() && input.shape == fact.shape),
            "a sum of {inputs:?}"
        );
        Ok(tvec!(i8::fact(fact.shape.clone())))
    }
}

impl Expansion for Add {
    fn name(&self) -> StaticName {
        "Int8Add".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for input in inputs {
            solver.equals(&input.datum_type, &outputs[0].datum_type)?;
            solver.equals(&input.shape, &outputs[0].shape)?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
