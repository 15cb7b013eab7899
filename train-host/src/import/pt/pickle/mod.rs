//! What a pickle says, as data: values that name classes and calls but never look one up. Values refer to each other as
//! Python's do, so that a value written once and used often is there once.
//!
//! `pytorch-reader` keeps a module's tensors and drops the rest; what a model is made of is read here.

mod calls;
mod cost;
mod cursor;
mod machine;
mod nesting;
mod stack;

use crate::Result;

/// Index of a value.
type Id = usize;

/// Largest pickle read; that of yolov5n has 83 kB, that of a training checkpoint of yolov5x6 about 1 MB.
pub(super) const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    /// Integers and booleans, of this many bytes: no weights.
    Other(u64),
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(bytes) => bytes,
        }
    }
}

/// A flat array in an entry of its own.
#[derive(Debug, Clone)]
pub(super) struct Storage<'a> {
    pub element: Element,
    pub key: &'a str,
    /// Number of elements.
    pub len: u64,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Tensor<'a> {
    pub storage: Storage<'a>,
    /// First element.
    pub offset: u64,
    pub shape: Vec<u64>,
    /// Elements from one index of an axis to the next.
    pub strides: Vec<u64>,
}

enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Byte strings and integers beyond 64 bits: nothing that is needed.
    Opaque,
    Tuple(Vec<Id>),
    /// Lists and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global {
        module: &'a str,
        name: &'a str,
    },
    /// An object of `class` with its attributes.
    Instance {
        class: Id,
        state: Option<Id>,
    },
    /// The result of a call that is not interpreted.
    Call {
        callee: Id,
    },
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocol 2 or newer, as `torch.save` writes it.
    ///
    /// # Errors
    /// [`crate::Error::Model`] when it is damaged; names anything but classes of YOLOv5, torch and numpy; calls anything but
    /// the constructors torch writes; refers to itself; or would cost too much memory.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let pickle = machine::run(bytes)?;
        nesting::check(&pickle)?;
        Ok(pickle)
    }

    /// What was pickled.
    pub fn root(&self) -> Item<'_, 'a> {
        Item { pickle: self, id: self.root }
    }
}

/// A value of a pickle.
#[derive(Clone, Copy)]
pub(super) struct Item<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Item<'p, 'a> {
    fn value(self) -> &'p Value<'a> {
        &self.pickle.values[self.id]
    }

    fn other(self, id: Id) -> Self {
        Self { pickle: self.pickle, id }
    }

    pub fn is_none(self) -> bool {
        matches!(self.value(), Value::None)
    }

    pub fn bool(self) -> Option<bool> {
        if let Value::Bool(flag) = self.value() { Some(*flag) } else { None }
    }

    pub fn int(self) -> Option<i64> {
        if let Value::Int(int) = self.value() { Some(*int) } else { None }
    }

    /// An integer or a float.
    pub fn number(self) -> Option<f64> {
        match self.value() {
            Value::Float(float) => Some(*float),
            #[expect(clippy::cast_precision_loss, reason = "no integer compared as a number is beyond 2^52")]
            Value::Int(int) => Some(*int as f64),
            _ => None,
        }
    }

    pub fn text(self) -> Option<&'a str> {
        if let Value::Text(text) = self.value() { Some(text) } else { None }
    }

    pub fn tensor(self) -> Option<&'p Tensor<'a>> {
        if let Value::Tensor(tensor) = self.value() { Some(tensor) } else { None }
    }

    /// What is in a list, set or tuple.
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = Self>> {
        match self.value() {
            Value::List(items) | Value::Tuple(items) => Some(items.iter().map(move |&id| self.other(id))),
            _ => None,
        }
    }

    /// Keys and values of a dict, in order.
    pub fn entries(self) -> Option<impl DoubleEndedIterator<Item = (Self, Self)> + ExactSizeIterator> {
        let Value::Dict(entries) = self.value() else { return None };
        Some(entries.iter().map(move |&(key, value)| (self.other(key), self.other(value))))
    }

    /// The value under `key` of a dict.
    pub fn get(self, key: &str) -> Option<Self> {
        // Where a key was set twice, the last one holds.
        self.entries()?.rev().find(|(found, _)| found.text() == Some(key)).map(|(_, value)| value)
    }

    /// Module and name of an object's class.
    pub fn class(self) -> Option<(&'a str, &'a str)> {
        let Value::Instance { class, .. } = self.value() else { return None };
        self.other(*class).global()
    }

    /// The attribute `key` of an object.
    pub fn attribute(self, key: &str) -> Option<Self> {
        self.attributes()?.get(key)
    }

    /// The attributes of an object, a dict.
    pub fn attributes(self) -> Option<Self> {
        if let Value::Instance { state, .. } = self.value() { state.map(|id| self.other(id)) } else { None }
    }

    fn global(self) -> Option<(&'a str, &'a str)> {
        if let Value::Global { module, name } = self.value() { Some((module, name)) } else { None }
    }

    /// The value in a few words, for errors.
    pub fn show(self) -> String {
        let named = |id| match self.other(id).global() {
            Some((module, name)) => short(&format!("{module}.{name}")),
            None => "something".to_owned(),
        };
        match self.value() {
            Value::None => "None".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(int) => int.to_string(),
            Value::Float(float) => float.to_string(),
            Value::Text(text) => format!("{:?}", short(text)),
            Value::Opaque => "bytes or a huge integer".to_owned(),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Dict(entries) => format!("a dict of {}", entries.len()),
            Value::Global { .. } => format!("the name {}", named(self.id)),
            Value::Instance { class, .. } => format!("an object of {}", named(*class)),
            Value::Call { callee } => format!("the result of {}", named(*callee)),
            Value::Storage(_) => "a storage".to_owned(),
            Value::Tensor(tensor) => format!("a tensor of shape {:?}", tensor.shape),
        }
    }
}

/// The beginning of a text from the file, fit for an error message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
