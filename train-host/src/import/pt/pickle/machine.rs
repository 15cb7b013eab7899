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
    let mut machine = Machine { stack: Stack::default() };
    // Every reader holds the pickle itself, ours and the next one.
    machine.stack.charge(2 * bytes.len() as u64)?;
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
    machine.stack.finish()
}

struct Machine<'a> {
    stack: Stack<'a>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // PROTO, FRAME
            0x80 => {
                let version = input.u8()?;
                if version > 5 { Err(damaged(format!("pickle protocol {version}"))) } else { Ok(()) }
            }
            0x95 => input.u64().map(drop),
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => self.stack.push(Value::Int(input.i32()?.into())),
            b'K' => self.stack.push(Value::Int(input.u8()?.into())),
            b'M' => self.stack.push(Value::Int(input.u16()?.into())),
            0x8a => {
                let len = input.u8()?.into();
                self.stack.push(long(input.take(len)?))
            }
            0x8b => {
                let len = input.u32()?.into();
                self.stack.push(long(input.take(len)?))
            }
            b'G' => self.stack.push(Value::Float(input.f64()?)),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => {
                let len = input.u8()?.into();
                self.stack.push_text(input.text(len)?)
            }
            b'X' => {
                let len = input.u32()?.into();
                self.stack.push_text(input.text(len)?)
            }
            0x8d => {
                let len = input.u64()?;
                self.stack.push_text(input.text(len)?)
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => {
                let len = input.u8()?.into();
                self.stack.push_bytes(input.take(len)?)
            }
            b'B' => {
                let len = input.u32()?.into();
                self.stack.push_bytes(input.take(len)?)
            }
            0x8e | 0x96 => {
                let len = input.u64()?;
                self.stack.push_bytes(input.take(len)?)
            }
            _ => self.step_on_stack(instruction, input),
        }
    }

    /// Instructions that take values from the stack.
    fn step_on_stack(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // MARK, POP, POP_MARK, DUP
            b'(' => self.stack.mark(),
            b'0' => self.stack.pop_value_or_mark(),
            b'1' => self.stack.pop_to_mark().map(drop),
            b'2' => self.stack.top().and_then(|top| self.stack.push_copy(top)),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.stack.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.stack.pop_many(usize::from(instruction - 0x84))?;
                self.stack.push_holder(Value::Tuple(items.clone()), &items)
            }
            b't' => {
                let items = self.stack.pop_to_mark()?;
                self.stack.push_holder(Value::Tuple(items.clone()), &items)
            }
            // EMPTY_LIST and EMPTY_SET, LIST and FROZENSET, APPEND, APPENDS and ADDITEMS
            b']' | 0x8f => self.stack.push(Value::List(Vec::new())),
            b'l' | 0x91 => {
                let items = self.stack.pop_to_mark()?;
                self.stack.push_holder(Value::List(items.clone()), &items)
            }
            b'a' => self.stack.pop().and_then(|item| self.stack.append(&[item])),
            b'e' | 0x90 => self.stack.pop_to_mark().and_then(|items| self.stack.append(&items)),
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.stack.pop_to_mark()?;
                self.stack.push(Value::Dict(Vec::new())).and_then(|()| self.stack.set_items(&items))
            }
            b's' => self.stack.pop_many(2).and_then(|items| self.stack.set_items(&items)),
            b'u' => self.stack.pop_to_mark().and_then(|items| self.stack.set_items(&items)),
            _ => self.step_on_memo(instruction, input),
        }
    }

    /// Instructions of the memo, and those that make objects.
    fn step_on_memo(&mut self, instruction: u8, input: &mut Cursor<'a>) -> Result<()> {
        match instruction {
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' => input.u8().and_then(|index| self.stack.recall(index.into())),
            b'j' => input.u32().and_then(|index| self.stack.recall(index)),
            b'q' => input.u8().and_then(|index| self.stack.memoize(index.into())),
            b'r' => input.u32().and_then(|index| self.stack.memoize(index)),
            0x94 => {
                let index =
                    u32::try_from(self.stack.memo_len()).map_err(|_| damaged("a memo without end"))?;
                self.stack.memoize(index)
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                self.stack.push_global(module, name)
            }
            0x93 => {
                let [module, name] = self.stack.pop_array()?;
                match (&self.stack.values()[module], &self.stack.values()[name]) {
                    (&Value::Text(module), &Value::Text(name)) => self.stack.push_global(module, name),
                    _ => Err(damaged("a name that is no text")),
                }
            }
            // BINPERSID, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'Q' => {
                let id = self.stack.pop()?;
                let storage = calls::storage(self.stack.values(), id)?;
                self.stack.push(Value::Storage(Box::new(storage)))
            }
            b'R' => {
                let [callee, arguments] = self.stack.pop_array()?;
                self.reduce(callee, arguments)
            }
            0x81 => {
                let [class, _] = self.stack.pop_array()?;
                self.stack.push_instance(class)
            }
            0x92 => {
                let [class, _, _] = self.stack.pop_array()?;
                self.stack.push_instance(class)
            }
            b'b' => self.stack.build(),
            other => Err(refuse(
                format!("pickle instruction {other:#04x}"),
                "a pickle of protocol 2 to 5 as torch.save writes it",
            )),
        }
    }

    fn reduce(&mut self, callee: Id, arguments: Id) -> Result<()> {
        match calls::reduce(self.stack.values(), callee, arguments)? {
            Outcome::Same(id) => self.stack.push_copy(id),
            Outcome::Dict(items) => {
                self.stack.push(Value::Dict(Vec::new())).and_then(|()| self.stack.set_items(&items))
            }
            Outcome::List(items) => self.stack.push_holder(Value::List(items.clone()), &items),
            Outcome::Tensor(tensor) => self.stack.push(Value::Tensor(Box::new(tensor))),
            Outcome::Uninterpreted => {
                self.stack.push_costing(Value::Call { callee }, VALUE + self.stack.copy_of(&[callee]))
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
