//! The tree of `torch.nn` modules of a pickled model, flat: every module under its path, every tensor under the name that
//! YOLOv5 and our graphs have for it. Knows torch's conventions, not YOLOv5's.

use std::collections::BTreeMap;

use super::pickle::{Item, Tensor, short};
use super::refuse;
use crate::{Error, Result};

/// Most modules and tensors of a model; yolov5x6 has about 1000 of each.
const MAX_PARTS: usize = 20_000;
/// Most attributes a module has, or children, or tensors. The widest has a few hundred layers.
const MAX_ENTRIES: usize = 2000;
const MAX_DEPTH: usize = 24;
const MAX_NAME_BYTES: usize = 64;

/// Modules and tensors of a model by their dotted paths (`model.0.conv`, `model.0.conv.weight`).
#[derive(Default)]
pub(super) struct Modules<'p, 'a> {
    modules: BTreeMap<String, Item<'p, 'a>>,
    tensors: BTreeMap<String, &'p Tensor<'a>>,
}

impl<'p, 'a> Modules<'p, 'a> {
    /// All below `model`.
    ///
    /// # Errors
    /// [`Error::Model`] naming a part that is no module, or no tensor, where there should be one.
    pub fn of(model: Item<'p, 'a>) -> Result<Self> {
        let mut modules = Self::default();
        modules.add(String::new(), model, 0)?;
        Ok(modules)
    }

    /// The module at `path`.
    ///
    /// # Errors
    /// [`Error::Model`] when there is none.
    pub fn get(&self, path: &str) -> Result<Item<'p, 'a>> {
        self.find(path).ok_or_else(|| {
            refuse(
                format!("no module {path:?} in the checkpoint"),
                "the modules that the checkpoint's own description asks for",
            )
        })
    }

    /// The module at `path`, if there is one.
    pub fn find(&self, path: &str) -> Option<Item<'p, 'a>> {
        self.modules.get(path).copied()
    }

    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&'p Tensor<'a>> {
        self.tensors.get(name).copied()
    }

    /// Paths and modules, in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Item<'p, 'a>)> {
        self.modules.iter().map(|(path, module)| (path.as_str(), *module))
    }

    /// Names of the tensors, in order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    fn add(&mut self, path: String, module: Item<'p, 'a>, depth: usize) -> Result<()> {
        let attributes = module.attributes().filter(|attributes| {
            module.class().is_some()
                && attributes.entries().is_some_and(|entries| entries.len() <= MAX_ENTRIES)
        });
        let attributes = attributes.ok_or_else(|| {
            unexpected(&path, module, &format!("a module of at most {MAX_ENTRIES} attributes"))
        })?;
        if depth > MAX_DEPTH || self.modules.len() + self.tensors.len() > MAX_PARTS {
            return Err(refuse(
                format!("modules deeper than {MAX_DEPTH} levels, or more than {MAX_PARTS} parts"),
                "a model of YOLOv5, which has under 2000 in 7 levels",
            ));
        }
        for table in ["_parameters", "_buffers"] {
            for (name, value) in parts(&path, attributes, table)? {
                let tensor = value.tensor().ok_or_else(|| unexpected(&name, value, "a tensor"))?;
                self.tensors.insert(name, tensor);
            }
        }
        for (name, child) in parts(&path, attributes, "_modules")? {
            self.add(name, child, depth + 1)?;
        }
        self.modules.insert(path, module);
        Ok(())
    }
}

/// What one of a module's tables holds under whole names, without entries that are None.
fn parts<'p, 'a>(path: &str, attributes: Item<'p, 'a>, table: &str) -> Result<Vec<(String, Item<'p, 'a>)>> {
    let found = attributes.get(table);
    let entries = found.and_then(Item::entries).filter(|entries| entries.len() <= MAX_ENTRIES);
    let entries = entries.ok_or_else(|| {
        let table = format!("its table {table}, a dict of at most {MAX_ENTRIES} entries");
        unexpected(path, found.unwrap_or(attributes), &table)
    })?;
    let mut parts = Vec::new();
    for (name, value) in entries.filter(|(_, value)| !value.is_none()) {
        let plain = |name: &&str| {
            name.len() <= MAX_NAME_BYTES
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let name = name.text().filter(plain).ok_or_else(|| unexpected(path, name, "the name of a part"))?;
        parts.push((if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, value));
    }
    Ok(parts)
}

fn unexpected(path: &str, found: Item, expected: &str) -> Error {
    refuse(format!("{} in module {:?}", found.show(), short(path)), expected)
}
