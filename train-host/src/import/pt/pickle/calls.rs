//! Which names a pickle may say and which calls it may ask for. Nothing is ever called: the few calls that torch writes are
//! understood, those of numpy and the standard library stand for themselves, and all others are refused by name.

use super::stack::damaged;
use super::{Element, Id, Storage, Tensor, Value, short};
use crate::import::pt::refuse_with;
use crate::{Error, Result};

/// Packages whose classes a checkpoint may hold. `models` and `utils` are YOLOv5's own.
const PACKAGES: [&str; 6] = ["models", "utils", "torch", "numpy", "collections", "ultralytics"];

/// Other names that checkpoints hold.
const NAMES: [(&str, &[&str]); 7] = [
    ("__builtin__", BUILTINS),
    ("builtins", BUILTINS),
    ("_codecs", &["encode"]),
    ("argparse", &["Namespace"]),
    ("datetime", &["datetime", "date", "timedelta"]),
    ("pathlib", PATHS),
    ("pathlib._local", PATHS),
];
const BUILTINS: &[&str] = &["set", "frozenset", "bytearray", "complex", "slice", "range", "object"];
const PATHS: &[&str] = &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"];

/// Calls without a meaning for a model, which stand for themselves; numpy writes the first for `best_fitness`.
const UNINTERPRETED: [(&str, &str); 14] = [
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    ("torch", "Size"),
    ("torch", "device"),
    ("datetime", "datetime"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "WindowsPath"),
];

/// Storage classes of torch and their elements.
const STORAGES: [(&str, Element); 10] = [
    ("HalfStorage", Element::F16),
    ("BFloat16Storage", Element::Bf16),
    ("FloatStorage", Element::F32),
    ("DoubleStorage", Element::F64),
    ("LongStorage", Element::Other(8)),
    ("IntStorage", Element::Other(4)),
    ("ShortStorage", Element::Other(2)),
    ("CharStorage", Element::Other(1)),
    ("ByteStorage", Element::Other(1)),
    ("BoolStorage", Element::Other(1)),
];

/// Most axes of a tensor.
const MAX_AXES: usize = 8;

/// What a call comes to.
pub(super) enum Outcome<'a> {
    /// A value that is there already.
    Same(Id),
    /// A dict of these keys and values, in turn.
    Dict(Vec<Id>),
    List(Vec<Id>),
    Tensor(Tensor<'a>),
    /// Something that no part of a model is made of.
    Uninterpreted,
}

/// Refuses a name that no checkpoint of YOLOv5 has.
pub(super) fn check_global(module: &str, name: &str) -> Result<()> {
    let package = module.split('.').next().unwrap_or_default();
    let listed = NAMES.iter().any(|(known, names)| *known == module && names.contains(&name));
    if listed || PACKAGES.contains(&package) { Ok(()) } else { Err(hostile("names", module, name)) }
}

/// What calling `callee` with `arguments` comes to.
pub(super) fn reduce<'a>(values: &[Value<'a>], callee: Id, arguments: Id) -> Result<Outcome<'a>> {
    let &Value::Global { module, name } = &values[callee] else {
        return Err(damaged("a call of something that is no name"));
    };
    let Value::Tuple(arguments) = &values[arguments] else {
        return Err(damaged(format!("a call of {} without arguments", short(name))));
    };
    match (module, name, &arguments[..]) {
        ("collections", "OrderedDict", []) => Ok(Outcome::Dict(Vec::new())),
        ("collections", "OrderedDict", [items]) => pairs(values, *items).map(Outcome::Dict),
        ("builtins" | "__builtin__", "set" | "frozenset", []) => Ok(Outcome::List(Vec::new())),
        ("builtins" | "__builtin__", "set" | "frozenset", [items]) => {
            sequence(values, *items).map(|items| Outcome::List(items.to_vec()))
        }
        ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
            tensor(values, [*storage, *offset, *shape, *strides]).map(Outcome::Tensor)
        }
        ("torch._utils", "_rebuild_parameter", [data, ..]) => Ok(Outcome::Same(*data)),
        _ if UNINTERPRETED.contains(&(module, name)) => Ok(Outcome::Uninterpreted),
        _ => Err(hostile("calls", module, name)),
    }
}

/// The storage that the persistent id `id`, a tuple, stands for.
pub(super) fn storage<'a>(values: &[Value<'a>], id: Id) -> Result<Storage<'a>> {
    let wrong = || damaged("a storage that is described in another way than torch.save does");
    let Value::Tuple(fields) = &values[id] else { return Err(wrong()) };
    let [tag, class, key, _device, len] = fields[..] else { return Err(wrong()) };
    let (Value::Text("storage"), &Value::Text(key)) = (&values[tag], &values[key]) else {
        return Err(wrong());
    };
    let &Value::Global { module: "torch", name } = &values[class] else { return Err(wrong()) };
    let element = STORAGES.iter().find(|(known, _)| *known == name).map(|(_, element)| *element);
    let element = element.ok_or_else(|| damaged(format!("a storage of type torch.{}", short(name))))?;
    Ok(Storage { element, key, len: natural(values, len)? })
}

fn tensor<'a>(values: &[Value<'a>], [storage, offset, shape, strides]: [Id; 4]) -> Result<Tensor<'a>> {
    let Value::Storage(storage) = &values[storage] else {
        return Err(damaged("a tensor without a storage"));
    };
    let axes = |id| -> Result<Vec<u64>> {
        let sides = sequence(values, id)?;
        if sides.len() > MAX_AXES {
            return Err(damaged(format!("a tensor of {} axes", sides.len())));
        }
        sides.iter().map(|&side| natural(values, side)).collect()
    };
    let (shape, strides) = (axes(shape)?, axes(strides)?);
    if shape.len() != strides.len() {
        return Err(damaged(format!("a tensor of shape {shape:?} and strides {strides:?}")));
    }
    Ok(Tensor { storage: (**storage).clone(), offset: natural(values, offset)?, shape, strides })
}

fn natural(values: &[Value], id: Id) -> Result<u64> {
    match values[id] {
        Value::Int(int) if int >= 0 => Ok(int.unsigned_abs()),
        _ => Err(damaged("a size that is no natural number")),
    }
}

fn sequence<'v>(values: &'v [Value], id: Id) -> Result<&'v [Id]> {
    match &values[id] {
        Value::Tuple(items) | Value::List(items) => Ok(items),
        _ => Err(damaged("something else where a list should be")),
    }
}

fn pairs(values: &[Value], id: Id) -> Result<Vec<Id>> {
    let mut flat = Vec::new();
    for &pair in sequence(values, id)? {
        let &[key, value] = sequence(values, pair)? else {
            return Err(damaged("an entry that is no key and value"));
        };
        flat.extend([key, value]);
    }
    Ok(flat)
}

fn hostile(verb: &str, module: &str, name: &str) -> Error {
    refuse_with(
        format!("a pickle that {verb} {}", short(&format!("{module}.{name}"))),
        "a checkpoint of YOLOv5, which needs classes of YOLOv5, torch and numpy only",
        "nothing was run; do not open this file in Python, where it could run code, unless you know who made it",
    )
}
