//! The instructions of pickles, which are programs for a stack machine: protocol 2, which `torch.save` writes, and the binary
//! instructions of protocols 3 to 5. Instructions that only protocols 0 and 1 need are refused. Source: Python's `pickletools`.

use super::calls::{self, Outcome};
use super::cost::VALUE;
use super::cursor::Cursor;
use super::stack::{Stack, damaged};
use super::{Id, Pickle, Value};
use crate::Result;
use crate::import::pt::refuse;

/// Runs the pickle `bytes` to its end.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>> {
    let mut input = Cursor::new(bytes);
    let mut machine = Stack::default();
    // Every reader holds the pickle itself, ours and the next one.
    machine.charge(2 * bytes.len() as u64)?;
    loop {
        let instruction = input.u8()?;
        if instruction == b'.' {
            break;
        }
        machine.step(instruction, &mut input)?;
    }
    if !input.is_at_end() {
        return Err(damaged("a pickle that goes on after its end"));
    }
    machine.finish()
}

impl<'a> Stack<'a> {
    fn step(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // PROTO, FRAME
            0x80 => {
                let version = input.u8()?;
                if version > 5 { Err(damaged(format!("pickle protocol {version}"))) } else { Ok(()) }
            }
            0x95 => input.u64().map(drop),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => self.push(Value::Int(input.i32()?.into())),
            b'K' => self.push(Value::Int(input.u8()?.into())),
            b'M' => self.push(Value::Int(input.u16()?.into())),
            0x8a | 0x8b => {
                let len = input.length(if instruction == 0x8a { 1 } else { 4 })?;
                self.push(long(input.take(len)?))
            }
            b'G' => self.push(Value::Float(input.f64()?)),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c | b'X' | 0x8d => {
                let len = input.length(match instruction {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                self.push_text(input.text(len)?)
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' | b'B' | 0x8e | 0x96 => {
                let len = input.length(match instruction {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.push_bytes(input.take(len)?)
            }
            _ => self.step_on_stack(instruction, input),
        }
    }

    /// Instructions that take values from the stack.
    fn step_on_stack(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // MARK, POP, POP_MARK, DUP
            b'(' => self.mark(),
            b'0' => self.pop_value_or_mark(),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => self.top().and_then(|top| self.push_copy(top)),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(instruction - 0x84))?;
                self.push_holder(Value::Tuple, items)
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_holder(Value::Tuple, items)
            }
            // EMPTY_LIST and EMPTY_SET, LIST and FROZENSET, APPEND, APPENDS and ADDITEMS
            b']' | 0x8f => self.push(Value::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push_holder(Value::List, items)
            }
            b'a' => self.pop().and_then(|item| self.append(&[item])),
            b'e' | 0x90 => self.pop_to_mark().and_then(|items| self.append(&items)),
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new())).and_then(|()| self.set_items(&items))
            }
            b's' => self.pop_many(2).and_then(|items| self.set_items(&items)),
            b'u' => self.pop_to_mark().and_then(|items| self.set_items(&items)),
            _ => self.step_on_memo(instruction, input),
        }
    }

    /// Instructions of the memo, and those that make objects.
    fn step_on_memo(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' => input.u8().and_then(|index| self.recall(index.into())),
            b'j' => input.u32().and_then(|index| self.recall(index)),
            b'q' => input.u8().and_then(|index| self.memoize(index.into())),
            b'r' => input.u32().and_then(|index| self.memoize(index)),
            0x94 => {
                let index = u32::try_from(self.memo_len()).map_err(|_| damaged("a memo without end"))?;
                self.memoize(index)
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                self.push_global(module, name)
            }
            0x93 => {
                let [module, name] = self.pop_array()?;
                match (&self.values()[module], &self.values()[name]) {
                    (&Value::Text(module), &Value::Text(name)) => self.push_global(module, name),
                    _ => Err(damaged("a name that is no text")),
                }
            }
            // BINPERSID, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'Q' => {
                let id = self.pop()?;
                let storage = calls::storage(self.values(), id)?;
                self.push(Value::Storage(Box::new(storage)))
            }
            b'R' => {
                let [callee, arguments] = self.pop_array()?;
                self.reduce(callee, arguments)
            }
            0x81 => {
                let [class, _] = self.pop_array()?;
                self.push_instance(class)
            }
            0x92 => {
                let [class, _, _] = self.pop_array()?;
                self.push_instance(class)
            }
            b'b' => self.build(),
            other => Err(refuse(
                format!("pickle instruction {other:#04x}"),
                "a pickle of protocol 2 to 5 as torch.save writes it",
            )),
        }
    }

    fn reduce(&mut self, callee: Id, arguments: Id) -> Result<()> {
        match calls::reduce(self.values(), callee, arguments)? {
            Outcome::Same(id) => self.push_copy(id),
            Outcome::Dict(items) => self.push(Value::Dict(Vec::new())).and_then(|()| self.set_items(&items)),
            Outcome::List(items) => self.push_holder(Value::List, items),
            Outcome::Tensor(tensor) => self.push(Value::Tensor(Box::new(tensor))),
            Outcome::Uninterpreted => {
                self.push_costing(Value::Call { callee }, VALUE + self.copy_of(&[callee]))
            }
        }
    }
}

/// A little-endian integer in two's complement, as short as possible.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}
