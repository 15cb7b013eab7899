//! What `train-host fuse --json` wrote, as far as the report shows it. Only reads it.

use serde::Deserialize;

use super::numbers::grouped;
use super::table::Table;

/// Outcome of a fusing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FuseRecord {
    /// Trained model.
    pub before: Size,
    /// Fused model.
    pub after: Size,
    /// Difference of the outputs by group of channels.
    pub groups: Vec<Group>,
    /// Largest relative error of all groups.
    pub largest_error: f64,
    /// Most that was allowed.
    pub error_bar: f64,
}

/// Size of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Size {
    /// Nodes of the graph.
    pub nodes: usize,
    /// Learned values.
    pub parameters: usize,
}

/// Difference of one group of output channels between trained (a) and fused (b).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Group {
    /// Name of the output.
    pub output: String,
    /// Which channels.
    pub group: String,
    /// max|a − b|.
    pub max_abs_difference: f64,
    /// max|a|.
    pub max_abs: f64,
    /// Their ratio.
    pub relative: f64,
}

impl FuseRecord {
    pub(super) fn errors(&self) -> Table {
        let row = |g: &Group| {
            let name = format!("{} {}", g.output, g.group);
            let [difference, relative] =
                [g.max_abs_difference, g.relative].map(|value| format!("{value:.2e}"));
            vec![name, difference, format!("{:.2}", g.max_abs), relative]
        };
        Table::new(&["output", "max |a − b|", "max |a|", "relative"], self.groups.iter().map(row).collect())
    }

    pub(super) fn sizes(&self) -> Table {
        let row =
            |name: &str, size: Size| vec![name.to_owned(), size.nodes.to_string(), grouped(size.parameters)];
        Table::new(&["", "nodes", "parameters"], vec![row("trained", self.before), row("fused", self.after)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fuse::{ChannelGroup, GroupError};

    #[test]
    fn what_fuse_measures_can_be_read() {
        let measured = GroupError {
            output: "output0".into(),
            group: ChannelGroup::Objectness,
            max_abs_difference: 2e-6,
            max_abs: 8.0,
            relative: 2.5e-7,
        };
        let document = json!({
            "model": "m", "before": {"nodes": 3, "parameters": 1234567}, "after": {"nodes": 2, "parameters": 9},
            "groups": [measured], "largest_error": 2.5e-7, "error_bar": 1e-4, "out": "f.safetensors",
        });
        let record: FuseRecord = serde_json::from_value(document).unwrap();
        assert_eq!(record.errors().rows, [["output0 objectness", "2.00e-6", "8.00", "2.50e-7"]]);
        assert_eq!(record.sizes().rows[0], ["trained", "3", "1,234,567"]);
    }
}
