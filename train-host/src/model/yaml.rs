//! Reads a model description in YOLOv5's YAML grammar, `[from, number, module, args]` a row, plus our keys `act` and
//! `block`. Knows the grammar, not the modules: `layers` gives rows their meaning.

use std::fmt::Write as _;

use artifact::Fault;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

use super::graph::Activation;
use super::validate::Outcome;
use crate::{Error, Result, yaml};

const MAX_ROWS: usize = 1000;
const MAX_REPEATS: usize = 100;
const MAX_MULTIPLE: f64 = 16.0;

/// How a re-parameterizable block is built for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// 3×3 conv + BN beside 1×1 conv + BN beside, where shapes allow, an identity BN (RepVGG, arXiv 2101.03697).
    Repvgg,
    /// 3×3 conv + BN beside a bare 1×1 conv beside, where shapes allow, the input itself; one BN after the sum
    /// (QARepVGG, arXiv 2212.01593): its fused weights survive int8.
    Qarepvgg,
}

/// A parsed description; rows are not yet checked against the modules they name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    pub image_channels: usize,
    pub depth_multiple: f64,
    pub width_multiple: f64,
    pub act: Activation,
    pub block: Block,
    pub anchors_px: Vec<Vec<[f32; 2]>>,
    /// Backbone rows, then head rows.
    pub rows: Vec<Row>,
    /// How many of `rows` are the backbone's.
    backbone_len: usize,
}

/// One row of the description.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Indices of the rows read: absolute, or negative from this row; a list only where the file has a list.
    pub from: From,
    pub number: usize,
    pub module: String,
    pub args: Vec<Value>,
}

/// The `from` column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum From {
    One(i64),
    Many(Vec<i64>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys and values")]
struct Raw {
    /// Required by the grammar, replaced by the dataset's class count.
    #[serde(rename = "nc")]
    _nc: Option<u32>,
    #[serde(default = "rgb")]
    ch: usize,
    depth_multiple: f64,
    width_multiple: f64,
    #[serde(default = "silu")]
    act: Activation,
    #[serde(default = "repvgg")]
    block: Block,
    anchors: Vec<Vec<f32>>,
    backbone: Vec<Value>,
    head: Vec<Value>,
}

fn rgb() -> usize {
    3
}

fn silu() -> Activation {
    Activation::Silu
}

fn repvgg() -> Block {
    Block::Repvgg
}

impl Description {
    /// Parses `text`; `origin` names it in errors.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        if text.len() > yaml::MAX_BYTES {
            return Err(wrong(
                origin,
                format!("{} bytes", text.len()),
                format!("at most {} bytes", yaml::MAX_BYTES),
            ));
        }
        let raw: Raw = yaml::parse(text.as_bytes()).map_err(|error| {
            wrong(
                origin,
                error,
                "the keys nc, depth_multiple, width_multiple, anchors, backbone, head and optionally act, block, ch",
            )
        })?;
        for (key, value) in [("depth_multiple", raw.depth_multiple), ("width_multiple", raw.width_multiple)] {
            if !(value > 0.0 && value <= MAX_MULTIPLE) {
                return Err(wrong(
                    origin,
                    format!("{key}: {value}"),
                    format!("above 0, at most {MAX_MULTIPLE}"),
                ));
            }
        }
        let anchors_px = parse_anchors(origin, &raw.anchors)?;
        let (backbone, head) = (raw.backbone.len(), raw.head.len());
        if backbone == 0 || head == 0 || backbone + head > MAX_ROWS {
            return Err(wrong(
                origin,
                format!("{backbone} backbone rows and {head} head rows"),
                format!("at least one of each, at most {MAX_ROWS} together"),
            ));
        }
        let rows =
            raw.backbone.iter().chain(&raw.head).enumerate().map(|(index, row)| {
                parse_row(row).map_err(|fault| at_layer(origin, index, &show(row), fault))
            });
        Ok(Self {
            image_channels: raw.ch,
            depth_multiple: raw.depth_multiple,
            width_multiple: raw.width_multiple,
            act: raw.act,
            block: raw.block,
            anchors_px,
            rows: rows.collect::<Result<_>>()?,
            backbone_len: raw.backbone.len(),
        })
    }

    /// The description as canonical YAML that parses to this description again; `classes` is written as `nc`.
    pub fn to_yaml(&self, classes: usize) -> String {
        let mut text = format!(
            "nc: {classes}\nch: {}\ndepth_multiple: {}\nwidth_multiple: {}\nact: {}\nblock: {}\nanchors:\n",
            self.image_channels,
            self.depth_multiple,
            self.width_multiple,
            keyword(self.act),
            keyword(self.block),
        );
        for level in &self.anchors_px {
            let sides: Vec<String> = level.iter().flatten().map(f32::to_string).collect();
            let _ = writeln!(text, "  - [{}]", sides.join(", "));
        }
        let (backbone, head) = self.rows.split_at(self.backbone_len);
        for (title, rows) in [("backbone", backbone), ("head", head)] {
            let _ = writeln!(text, "{title}:");
            for row in rows {
                let _ = writeln!(text, "  - {}", row.show());
            }
        }
        text
    }
}

impl Row {
    /// The row as YAML in one line, for errors and [`Description::to_yaml`].
    pub fn show(&self) -> String {
        let from = match &self.from {
            From::One(from) => from.to_string(),
            From::Many(list) => format!("{list:?}"),
        };
        let args: Vec<String> = self.args.iter().map(show).collect();
        format!("[{from}, {}, {}, [{}]]", self.number, self.module, args.join(", "))
    }
}

/// An error of `fault` in row `index`, shown as `row`.
pub(super) fn at_layer(origin: &str, index: usize, row: &str, fault: Fault) -> Error {
    Error::Model(Fault { found: format!("{origin}: layer {index} {row}: {}", fault.found), ..fault })
}

fn parse_row(row: &Value) -> Outcome<Row> {
    let fault =
        |found: &str, expected: &str| Fault::new(found, expected, "write [from, number, module, args]");
    let Some([from, number, module, args]) = row.as_sequence().map(Vec::as_slice) else {
        return Err(fault("a row of another form", "a list of four: [from, number, module, args]"));
    };
    let from = parse_from(from).ok_or_else(|| fault("a bad `from`", "a layer number or a list of them"))?;
    let number = number
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| (1..=MAX_REPEATS).contains(n))
        .ok_or_else(|| fault("a bad `number`", &format!("an integer from 1 to {MAX_REPEATS}")))?;
    let module = module.as_str().ok_or_else(|| fault("a bad `module`", "the name of a module"))?;
    let args = args.as_sequence().ok_or_else(|| fault("bad `args`", "a list"))?;
    Ok(Row { from, number, module: module.to_owned(), args: args.clone() })
}

fn parse_from(value: &Value) -> Option<From> {
    match value {
        Value::Number(number) => number.as_i64().map(From::One),
        Value::Sequence(list) => list.iter().map(Value::as_i64).collect::<Option<_>>().map(From::Many),
        _ => None,
    }
}

fn parse_anchors(origin: &str, levels: &[Vec<f32>]) -> Result<Vec<Vec<[f32; 2]>>> {
    let expected = "for each output the same number of pairs width, height in pixels, all positive";
    let first = levels.first().map_or(0, Vec::len);
    if first == 0 || !first.is_multiple_of(2) || levels.iter().any(|level| level.len() != first) {
        let lengths: Vec<usize> = levels.iter().map(Vec::len).collect();
        return Err(wrong(origin, format!("anchor lists of {lengths:?} numbers"), expected));
    }
    if let Some(side) = levels.iter().flatten().find(|side| !(side.is_finite() && **side > 0.0)) {
        return Err(wrong(origin, format!("an anchor side of {side}"), expected));
    }
    Ok(levels.iter().map(|level| level.as_chunks::<2>().0.to_vec()).collect())
}

/// How a setting is written, in descriptions and on the command line.
pub(crate) fn keyword(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |possible| possible.get_name().to_owned())
}

/// A YAML value in one short line.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.chars().take(80).filter(|c| !c.is_control()).collect(),
        Value::Sequence(list) => {
            let items: Vec<String> = list.iter().take(16).map(show).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(_) => "{…}".into(),
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, show(&tagged.value)),
    }
}

fn wrong(origin: &str, found: impl std::fmt::Display, expected: impl Into<String>) -> Error {
    Error::model(
        format!("{origin}: {found}"),
        expected,
        "compare with the descriptions in train-host/models, which are in YOLOv5's YAML grammar",
    )
}
