//! Checks that a pickle's values form no cycle and nest no deeper than a model does, so that whatever walks them ends.

use super::{Id, Pickle, Value};
use crate::Result;
use crate::import::pt::refuse;

/// Deepest nesting accepted: a checkpoint of YOLOv5 has about 40 levels.
const MAX_DEPTH: usize = 200;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    /// On the way down to where the search is.
    Open,
    Done,
}

/// Depth-first search from the root, with a stack of its own.
pub(super) fn check(pickle: &Pickle) -> Result<()> {
    let mut marks = vec![Mark::New; pickle.values.len()];
    let mut path: Vec<(Id, Vec<Id>)> = Vec::new();
    let mut next = Some(pickle.root);
    loop {
        if let Some(id) = next.take() {
            if marks[id] == Mark::Open {
                return Err(refuse("a value that holds itself", "values that form a tree"));
            }
            if marks[id] == Mark::New {
                marks[id] = Mark::Open;
                path.push((id, children(&pickle.values[id])));
            }
            if path.len() > MAX_DEPTH {
                return Err(refuse(
                    format!("values nested deeper than {MAX_DEPTH} levels"),
                    "a YOLOv5 checkpoint, which has about 40",
                ));
            }
        }
        let Some((id, rest)) = path.last_mut() else { return Ok(()) };
        next = rest.pop();
        if next.is_none() {
            marks[*id] = Mark::Done;
            path.pop();
        }
    }
}

fn children(value: &Value) -> Vec<Id> {
    match value {
        Value::Tuple(items) | Value::List(items) => items.clone(),
        Value::Dict(entries) => entries.iter().flat_map(|&(key, value)| [key, value]).collect(),
        Value::Instance { class, state } => std::iter::once(*class).chain(*state).collect(),
        _ => Vec::new(),
    }
}
