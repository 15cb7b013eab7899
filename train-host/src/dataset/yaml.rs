//! YOLO's data.yaml: `path`, `train`, `val`, `test`, `names`, `nc`. Reads the description only, no images or labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use super::{Split, first_repeated};
use crate::{Error, yaml};

/// A data.yaml with its paths resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataYaml {
    /// The folder that relative paths start from.
    pub root: PathBuf,
    /// Class names, where the file gives them or their number.
    pub classes: Option<Vec<String>>,
    /// Where each split's data lies.
    pub splits: BTreeMap<Split, Vec<PathBuf>>,
}

impl DataYaml {
    /// Reads and resolves the file at `path`.
    ///
    /// # Errors
    /// [`Error::Artifact`] when it cannot be read, [`Error::Data`] when it is no data.yaml or names a missing path.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::parse(&yaml::read(path)?, path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| wrong(path, &reason);
        let yaml: Value = yaml::parse(bytes).map_err(wrong)?;
        if !yaml.is_mapping() {
            return Err(wrong("no keys at the top level".into()));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = match yaml.get("path") {
            None | Some(Value::Null) => folder.to_path_buf(),
            Some(Value::String(base)) => plain(&folder.join(base)),
            Some(other) => return Err(wrong(format!("`path` is {other:?}, not a folder name"))),
        };
        let mut splits = BTreeMap::new();
        for split in Split::ALL {
            let places = places(&yaml, split).map_err(wrong)?;
            let places: Vec<PathBuf> =
                places.iter().map(|place| resolve(&root, place)).collect::<Result<_, _>>().map_err(wrong)?;
            if !places.is_empty() {
                splits.insert(split, places);
            }
        }
        if splits.is_empty() {
            return Err(wrong("none of `train`, `val` and `test` names a place".into()));
        }
        Ok(Self { root, classes: classes(&yaml).map_err(wrong)?, splits })
    }
}

/// The class names in the text of the data.yaml at `path`, whose other entries may be missing.
///
/// # Errors
/// [`Error::Data`] when it is no YAML or its `names` and `nc` make no sense.
pub(crate) fn yaml_names(text: &[u8], path: &Path) -> Result<Option<Vec<String>>, Error> {
    let yaml: Value = yaml::parse(text).map_err(|reason| wrong(path, &reason))?;
    classes(&yaml).map_err(|reason| wrong(path, &reason))
}

fn wrong(path: &Path, reason: &str) -> Error {
    Error::data(
        format!("{}: {reason}", path.display()),
        "a YOLO data.yaml: `names`, and folders of images or .txt lists under `train`, `val` and `test`",
        "for example: `path: .`, `train: images/train`, `val: images/val`, `names: [cat, dog]`, one a line",
    )
}

/// The places a split's key names: none, one, or a list.
fn places(yaml: &Value, split: Split) -> Result<Vec<String>, String> {
    let key = split.name();
    match yaml.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Sequence(many)) => many
            .iter()
            .map(|v| v.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` lists {v:?}, not a path")))
            .collect(),
        Some(other) => Err(format!("`{key}` is {other:?}, not a path")),
    }
}

/// `place` below `root`. Exports that write `../train/images` for a folder beside the data.yaml are common enough to
/// be understood.
fn resolve(root: &Path, place: &str) -> Result<PathBuf, String> {
    let written = root.join(place);
    let without_up = place.strip_prefix("../").map(|rest| root.join(rest));
    [Some(written.clone()), without_up]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
        .map(|path| plain(&path))
        .ok_or_else(|| format!("{} does not exist", written.display()))
}

/// `path` without `.` components.
fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|part| part.as_os_str() != ".").collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// Names from `names` (list, or map from 0 on), else `0`, `1`, … up to `nc`.
fn classes(yaml: &Value) -> Result<Option<Vec<String>>, String> {
    let count = match yaml.get("nc") {
        None | Some(Value::Null) => None,
        Some(nc) => Some(
            nc.as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| format!("`nc` is {nc:?}, not a number"))?,
        ),
    };
    let names = match yaml.get("names") {
        None | Some(Value::Null) => None,
        Some(Value::Sequence(names)) => Some(names.iter().map(name).collect::<Result<Vec<_>, _>>()?),
        Some(Value::Mapping(names)) => Some(names_by_id(names)?),
        Some(other) => return Err(format!("`names` is {other:?}, neither list nor map")),
    };
    match (names, count) {
        (Some(names), _) if names.is_empty() => Err("`names` is empty".into()),
        (Some(names), Some(count)) if names.len() != count => {
            Err(format!("`nc` is {count} but `names` has {} entries", names.len()))
        }
        (Some(names), _) => match first_repeated(names.iter()) {
            Some(name) => Err(format!("`names` has two classes called {name:?}: rename one of them")),
            None => Ok(Some(names)),
        },
        // Enough for any detector, and too few to exhaust memory.
        (None, Some(count)) if (1..=100_000).contains(&count) => {
            Ok(Some((0..count).map(|i| i.to_string()).collect()))
        }
        (None, Some(count)) => Err(format!("`nc` is {count}")),
        (None, None) => Ok(None),
    }
}

fn names_by_id(names: &serde_yaml_ng::Mapping) -> Result<Vec<String>, String> {
    let mut by_id = BTreeMap::new();
    for (id, value) in names {
        let id = id.as_u64().ok_or_else(|| format!("`names` has the key {id:?}, not a class id"))?;
        by_id.insert(id, name(value)?);
    }
    if let Some((gap, _)) = (0..).zip(by_id.keys()).find(|(expected, id)| expected != *id) {
        return Err(format!("`names` has no class {gap}"));
    }
    Ok(by_id.into_values().collect())
}

/// A class name; YAML reads `1` or `yes` as something else than text.
fn name(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("`names` has the entry {other:?}, not a name")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(text: &str) -> Result<DataYaml, Error> {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["images/train", "valid/images"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let yaml = DataYaml::parse(text.as_bytes(), &dir.path().join("data.yaml"))?;
        let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap_or(path).to_path_buf();
        Ok(DataYaml {
            root: relative(&yaml.root),
            splits: yaml.splits.iter().map(|(k, v)| (*k, v.iter().map(relative).collect())).collect(),
            ..yaml
        })
    }

    #[test]
    fn names_come_as_list_map_or_number() {
        let classes = |text: &str| parse(&format!("train: images/train\n{text}")).unwrap().classes;
        let names = |names: &[&str]| Some(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(classes("names: [a, 2, yes]"), names(&["a", "2", "yes"]));
        assert_eq!(classes("names: {1: b, 0: a}\nnc: 2"), names(&["a", "b"]));
        assert_eq!(classes("nc: 2"), names(&["0", "1"]));
        assert_eq!(classes(""), None);
    }

    #[test]
    fn paths_start_from_the_file() {
        let yaml =
            parse("path: .\ntrain: images/train\nval: [../valid/images, images/train]\nnames: [a]").unwrap();
        assert_eq!(yaml.splits[&Split::Train], [PathBuf::from("images/train")]);
        assert_eq!(yaml.splits[&Split::Val], [PathBuf::from("valid/images"), PathBuf::from("images/train")]);
        assert!(!yaml.splits.contains_key(&Split::Test));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("train: images/train\nnames: [a, b]\nnc: 3", "`nc` is 3"),
            ("train: images/train\nnames: {0: a, 2: b}", "no class 1"),
            ("train: images/train\nnames: []", "empty"),
            ("train: images/train\nnames: [a, b, a]", "two classes called \"a\""),
            ("train: images/train\nnames: {0: a, 1: a}", "two classes called \"a\""),
            ("train: nowhere\nnames: [a]", "nowhere does not exist"),
            ("names: [a]", "none of"),
            ("train: 3", "not a path"),
            ("- a", "no keys"),
            ("a: [", "line"),
            ("train: images/train\nnc: -1", "not a number"),
            ("train: images/train\nnc: 99999999999999", "`nc` is"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("data.yaml"), "{text}: {error}");
        }
    }

    #[test]
    fn aliases_do_not_make_a_small_file_large() {
        let text = format!("train: &a [{}]\nval: [{}]\n", "x,".repeat(100_000), "*a,".repeat(20_000));
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("aliases") && error.contains("data.yaml"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, text in "(names|nc|train|path|val)?[:\\[\\]{}&*a-c0-9 \n,.-]{0,40}") {
            let _ = DataYaml::parse(&bytes, Path::new("data.yaml"));
            let _ = DataYaml::parse(text.as_bytes(), Path::new("data.yaml"));
        }
    }
}
