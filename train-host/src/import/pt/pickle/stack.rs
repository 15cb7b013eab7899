//! The stack, the memo and all values of a pickle while it is read. Refers where Python refers, and charges what a reader
//! would spend that copies instead.

use std::collections::HashMap;

use super::cost::{Cost, TABLE_ENTRY, TENSOR, TEXT, VALUE};
use super::{Id, Pickle, Value, calls};
use crate::import::pt::refuse;
use crate::{Error, Result};

/// Most values waiting on the stack. Python's pickler writes lists and dicts a thousand items at a time.
const MAX_STACK: usize = 1 << 16;
/// Most open brackets; a checkpoint of YOLOv5 has about 40.
const MAX_MARKS: usize = 1000;

/// The tables of a `torch.nn.Module`, all that `pytorch-reader` keeps of one.
const MODULE_TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

#[derive(Default)]
pub(super) struct Stack<'a> {
    values: Vec<Value<'a>>,
    /// What a copy of each value costs.
    copies: Vec<u64>,
    stack: Vec<Id>,
    /// Heights of the stack at the open brackets.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    cost: Cost,
}

impl<'a> Stack<'a> {
    /// The one value left is what was pickled.
    pub fn finish(mut self) -> Result<Pickle<'a>> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(damaged("a pickle that leaves something behind"));
        }
        Ok(Pickle { values: self.values, root })
    }

    pub fn charge(&mut self, bytes: u64) -> Result<()> {
        self.cost.add(bytes)
    }

    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    pub fn memo_len(&self) -> usize {
        self.memo.len()
    }

    pub fn push_costing(&mut self, value: Value<'a>, copy: u64) -> Result<()> {
        self.values.push(value);
        self.copies.push(copy);
        self.push_copy(self.values.len() - 1)
    }

    pub fn push(&mut self, value: Value<'a>) -> Result<()> {
        let extra = if let Value::Storage(_) | Value::Tensor(_) = value { TENSOR } else { 0 };
        self.push_costing(value, VALUE + extra)
    }

    pub fn push_text(&mut self, text: &'a str) -> Result<()> {
        self.push_costing(Value::Text(text), VALUE + TEXT + text.len() as u64)
    }

    pub fn push_bytes(&mut self, bytes: &'a [u8]) -> Result<()> {
        self.push_costing(Value::Opaque, VALUE + TEXT + bytes.len() as u64)
    }

    pub fn push_global(&mut self, module: &'a str, name: &'a str) -> Result<()> {
        calls::check_global(module, name)?;
        self.push_costing(
            Value::Global { module, name },
            VALUE + 2 * TEXT + (module.len() + name.len()) as u64,
        )
    }

    /// Pushes the value that `hold` makes of `items`, which cost what they cost when they were made.
    pub fn push_holder(&mut self, hold: fn(Vec<Id>) -> Value<'a>, items: Vec<Id>) -> Result<()> {
        let copy = self.copy_of(&items);
        self.push(hold(items))?;
        if let Some(last) = self.copies.last_mut() {
            *last = last.saturating_add(copy);
        }
        Ok(())
    }

    /// Pushes a value once more, which is a copy to other readers.
    pub fn push_copy(&mut self, id: Id) -> Result<()> {
        self.cost.add(self.copies[id])?;
        if self.stack.len() >= MAX_STACK {
            return Err(damaged(format!("more than {MAX_STACK} values on the stack")));
        }
        self.stack.push(id);
        Ok(())
    }

    pub fn push_instance(&mut self, class: Id) -> Result<()> {
        if !matches!(self.values[class], Value::Global { .. }) {
            return Err(damaged("an object without a class"));
        }
        self.push_costing(Value::Instance { class, state: None }, VALUE + self.copies[class])
    }

    pub fn pop(&mut self) -> Result<Id> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(damaged("a bracket where a value should be"));
        }
        self.stack.pop().ok_or_else(|| damaged("an empty stack"))
    }

    pub fn pop_many(&mut self, count: usize) -> Result<Vec<Id>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    pub fn pop_array<const N: usize>(&mut self) -> Result<[Id; N]> {
        let mut items = [0; N];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        Ok(items)
    }

    pub fn pop_value_or_mark(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    pub fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| damaged("a bracket that was never opened"))?;
        Ok(self.stack.split_off(mark))
    }

    pub fn mark(&mut self) -> Result<()> {
        if self.marks.len() >= MAX_MARKS {
            return Err(damaged(format!("more than {MAX_MARKS} open brackets")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    pub fn top(&mut self) -> Result<Id> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    pub fn recall(&mut self, index: u32) -> Result<()> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or_else(|| damaged(format!("memo entry {index}, which was never made")))?;
        self.push_copy(id)
    }

    pub fn memoize(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        self.cost.add(TABLE_ENTRY.saturating_add(self.copies[top]))?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub fn append(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        let copy = self.copy_of(items);
        let Value::List(list) = &mut self.values[top] else {
            return Err(damaged("items for something that is no list"));
        };
        list.extend(items);
        self.copies[top] = self.copies[top].saturating_add(copy);
        Ok(())
    }

    pub fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        let table = TABLE_ENTRY * pairs.len() as u64;
        let copy = self.copy_of(items).saturating_add(table);
        let Value::Dict(entries) = &mut self.values[top] else {
            return Err(damaged("entries for something that is no dict"));
        };
        if !odd.is_empty() {
            return Err(damaged("a key without a value"));
        }
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        self.copies[top] = self.copies[top].saturating_add(copy);
        self.cost.add(table)
    }

    pub fn build(&mut self) -> Result<()> {
        let state_id = self.pop()?;
        let target = self.top()?;
        let kept = match &mut self.values[target] {
            Value::Instance { state, .. } if state.is_none() => {
                *state = Some(state_id);
                self.kept_of_object(state_id)
            }
            Value::Dict(_) | Value::Call { .. } => self.copies[state_id],
            _ => return Err(damaged("attributes for something that has none, or has them already")),
        };
        self.copies[target] = self.copies[target].saturating_add(kept);
        // The copy in the memo is replaced by one of the finished object.
        self.cost.add(self.copies[target])
    }

    /// What a copy of an object with these attributes costs `pytorch-reader` on top of its class.
    fn kept_of_object(&self, state: Id) -> u64 {
        let Value::Dict(entries) = &self.values[state] else { return self.copies[state] };
        let mut kept = 0u64;
        for table in MODULE_TABLES {
            let is_table = |id: Id| matches!(self.values[id], Value::Text(text) if text == table);
            match entries.iter().rev().find(|(key, _)| is_table(*key)) {
                Some(&(_, value)) => kept = kept.saturating_add(self.copies[value]),
                // No module.
                None => return self.copies[state],
            }
        }
        kept
    }

    pub fn copy_of(&self, items: &[Id]) -> u64 {
        items.iter().fold(0, |sum, &id| sum.saturating_add(self.copies[id]))
    }
}

pub(super) fn damaged(found: impl Into<String>) -> Error {
    refuse(found, "a whole pickle, as torch.save writes it")
}
