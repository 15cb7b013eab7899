//! What the toolkit is told of how to compile, beside chip and pixels: in one place, so that a build record tells what the
//! compiled model was really made with. Never finds anything out.

use serde::{Deserialize, Serialize};

use super::protocol::Algorithm;

/// What the toolkit is not to do to a graph.
const DISABLED_RULES: [&str; 5] = [
    // Turns a convolution behind a concatenation into a sum of convolutions in half floats, which RV1106 does not know and
    // other chips compute slower than int8.
    "fuse_concat_conv",
    // Make one operator of attention. They were seen to crash on a YOLO11 in int8; half floats compute the same without.
    "fuse_exmatmul_add_mul_exsoftmax13_exmatmul_to_sdpa",
    "fuse_matmul_add_mul_softmax_matmul_to_sdpa",
    // Rearrange the heads of attention with torch, which is not there: see `stand_in_for_torch` of the worker.
    "reduce_reshape_op_around_split",
    "reduce_reshape_op_around_concat",
];

/// Arguments of the toolkit's `config`, by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rewrites of the graph that it leaves out.
    pub disable_rules: Vec<String>,
    /// How it finds ranges, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantized_algorithm: Option<Algorithm>,
    /// For what each scale of a kernel is, where it finds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantized_method: Option<Method>,
}

/// For what the toolkit finds a scale each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// For each output channel of a kernel.
    Channel,
}

impl Config {
    /// What this version tells the toolkit, which finds ranges by `algorithm`, where it does.
    pub(super) fn of(algorithm: Option<Algorithm>) -> Self {
        Self {
            disable_rules: DISABLED_RULES.map(str::to_owned).into(),
            quantized_algorithm: algorithm,
            quantized_method: algorithm.map(|_| Method::Channel),
        }
    }

    /// The first argument in which `other` is another, and both of its values.
    pub(super) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let told = |config: &Self| {
            [
                ("disable_rules", format!("{:?}", config.disable_rules)),
                ("quantized_algorithm", named(config.quantized_algorithm)),
                ("quantized_method", named(config.quantized_method)),
            ]
        };
        let mut pairs = told(self).into_iter().zip(told(other));
        let ((name, ours), (_, theirs)) = pairs.find(|(ours, theirs)| ours != theirs)?;
        Some((name, ours, theirs))
    }
}

fn named(value: Option<impl std::fmt::Debug>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_toolkits_names() {
        let calibrated = Config::of(Some(Algorithm::Mmse));
        let json = serde_json::to_value(&calibrated).unwrap();
        assert_eq!(json["quantized_algorithm"], "mmse");
        assert_eq!(json["quantized_method"], "channel");
        assert_eq!(json["disable_rules"][0], "fuse_concat_conv");
        let given = serde_json::to_value(Config::of(None)).unwrap();
        assert_eq!(given.as_object().unwrap().keys().collect::<Vec<_>>(), ["disable_rules"]);
    }

    #[test]
    fn a_difference_is_named() {
        let ours = Config::of(None);
        assert_eq!(ours.difference(&ours.clone()), None);
        let other = Config { disable_rules: vec!["none".into()], ..ours.clone() };
        assert_eq!(ours.difference(&other).unwrap().0, "disable_rules");
        let other = Config { quantized_algorithm: Some(Algorithm::Mmse), ..ours.clone() };
        assert_eq!(ours.difference(&other).unwrap().0, "quantized_algorithm");
    }
}
