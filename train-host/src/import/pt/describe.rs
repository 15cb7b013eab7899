//! What model a checkpoint holds: YOLOv5's own description (`yaml`) turned back into YAML, with the class names and, from the
//! Detect layer, the anchors, which training may have changed. Never touches weights, except for anchors and strides.

use serde_json::{Value, json};

use super::module::Modules;
use super::pickle::{Item, Tensor, short};
use super::plain::plain;
use super::structure::activation;
use super::zip::Archive;
use super::{as_index, refuse, refuse_with, tensors};
use crate::Result;
use crate::model::{Architecture, Overrides};

/// Side of the images that YOLOv5 trains on unless told otherwise, in pixels.
const DEFAULT_IMGSZ: usize = 640;
const MAX_CLASSES: usize = 2000;

/// A model without weights, and the size of the images it was trained on.
pub(super) struct Described {
    pub architecture: Architecture,
    /// Side of the square images, in pixels.
    pub imgsz: usize,
}

/// Describes `model`, which is part of the checkpoint `root`; `stem` names it where it does not name itself.
pub(super) fn describe(
    root: Item,
    model: Item,
    modules: &Modules,
    archive: &mut Archive,
    stem: &str,
) -> Result<Described> {
    let yaml = model.attribute("yaml").filter(|yaml| yaml.entries().is_some());
    let yaml = yaml
        .ok_or_else(|| refuse("a model without its description `yaml`", "a model of YOLOv5 5.0 or newer"))?;
    let mut rows = Vec::new();
    let (backbone, mut head) = (section(yaml, "backbone")?, section(yaml, "head")?);
    // Detect's arguments are names in YOLOv5's files; what they stand for is taken from the module.
    if let Some([_, _, Value::String(module), args]) =
        head.last_mut().and_then(Value::as_array_mut).map(Vec::as_mut_slice)
        && module == "Detect"
    {
        *args = json!(["nc", "anchors"]);
    }
    rows.extend(backbone.iter().chain(&head));
    let prefix = format!("model.{}", rows.len().saturating_sub(1));
    let classes = class_names(model)?;
    let detect = detect_layer(modules, &prefix, classes.len())?;
    let (strides, anchors_px) = anchors(detect, modules, archive, &prefix)?;
    let act = activation(modules)?;
    let description = json!({
        "nc": classes.len(),
        "ch": number_or(yaml, "ch", json!(3))?,
        "depth_multiple": number_or(yaml, "depth_multiple", json!(1.0))?,
        "width_multiple": number_or(yaml, "width_multiple", json!(1.0))?,
        "anchors": anchors_px,
        "backbone": backbone,
        "head": head,
    });
    let text = serde_yaml_ng::to_string(&description)
        .map_err(|error| refuse(format!("a description that is no YAML: {error}"), "a model of YOLOv5"))?;
    let overrides = Overrides { act, ..Overrides::default() };
    let architecture = Architecture::parse(&name(model, stem), &text, &overrides, &classes)?;
    check_strides(&architecture, &strides)?;
    let imgsz = trained_imgsz(root, &architecture);
    Ok(Described { architecture, imgsz })
}

fn section(yaml: Item, key: &str) -> Result<Vec<Value>> {
    match yaml.get(key).map(|rows| plain(&format!("yaml[{key:?}]"), rows)).transpose()? {
        Some(Value::Array(rows)) => Ok(rows),
        _ => Err(refuse(format!("a description without the rows of its {key}"), "a model of YOLOv5")),
    }
}

fn number_or(yaml: Item, key: &str, default: Value) -> Result<Value> {
    yaml.get(key).map_or(Ok(default), |number| plain(&format!("yaml[{key:?}]"), number))
}

/// Release 5 and 6 have a list, release 7 a dict from number to name.
fn class_names(model: Item) -> Result<Vec<String>> {
    let names = model.attribute("names").ok_or_else(|| refuse("a model without class names", "`names`"))?;
    let wrong =
        || refuse(format!("class names that are {}", names.show()), "a name for each class, in order");
    let mut classes = Vec::new();
    if let Some(entries) = names.entries().filter(|entries| entries.len() <= MAX_CLASSES) {
        for (index, (key, name)) in entries.enumerate() {
            let in_order = key.int().and_then(|key| usize::try_from(key).ok()) == Some(index);
            classes.push(name.text().filter(|_| in_order).ok_or_else(wrong)?.to_owned());
        }
    } else {
        let items = names.items().filter(|items| items.len() <= MAX_CLASSES).ok_or_else(wrong)?;
        for name in items {
            classes.push(name.text().ok_or_else(wrong)?.to_owned());
        }
    }
    Ok(classes)
}

fn detect_layer<'p, 'a>(modules: &Modules<'p, 'a>, path: &str, classes: usize) -> Result<Item<'p, 'a>> {
    let detect = modules.get(path)?;
    if !matches!(detect.class(), Some(("models.yolo", "Detect"))) {
        return Err(refuse_with(
            format!("{} as the last layer", detect.show()),
            "models.yolo.Detect",
            "only detectors are supported",
        ));
    }
    let found = detect.attribute("nc").and_then(Item::int);
    if found != i64::try_from(classes).ok() {
        return Err(refuse(
            format!("{classes} class names and a Detect layer for {found:?}"),
            "a name for each class",
        ));
    }
    Ok(detect)
}

/// Strides, and anchors in pixels: Detect keeps them divided by its strides.
fn anchors(
    detect: Item,
    modules: &Modules,
    archive: &mut Archive,
    path: &str,
) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    let stride = detect.attribute("stride").and_then(Item::tensor);
    let anchors = modules.tensor(&format!("{path}.anchors"));
    let (Some(stride), Some(anchors)) = (stride, anchors) else {
        return Err(refuse("a Detect layer without anchors or strides", "a model of YOLOv5"));
    };
    let strides = small_values(archive, "the strides", stride)?;
    let units = small_values(archive, "the anchors", anchors)?;
    let [levels, per_level, 2] = anchors.shape[..] else {
        return Err(refuse(format!("anchors of shape {:?}", anchors.shape), "[levels, anchors, 2]"));
    };
    if levels != strides.len() as u64 || levels == 0 || per_level == 0 {
        return Err(refuse(
            format!("anchors of shape {:?} at {} strides", anchors.shape, strides.len()),
            "a stride a level",
        ));
    }
    let per_level = units.len() / strides.len();
    let levels = units.chunks_exact(per_level).zip(&strides);
    let anchors_px = levels.map(|(level, stride)| level.iter().map(|side| side * stride).collect()).collect();
    Ok((strides, anchors_px))
}

fn small_values(archive: &mut Archive, what: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let wrong =
        || refuse(format!("{what} as a tensor of shape {:?}", tensor.shape), "a short list of numbers");
    let len = tensors::len(tensor).filter(|_| tensors::is_dense(tensor)).ok_or_else(wrong)?;
    let bytes = archive.small_storage(tensor.storage.key)?;
    let values = tensors::floats(tensor.storage.element, &bytes).ok_or_else(wrong)?;
    let (start, end) = (as_index(tensor.offset)?, as_index(tensor.offset.saturating_add(len))?);
    values.get(start..end).map(<[f32]>::to_vec).ok_or_else(wrong)
}

/// The model's own name for itself (`yolov5n.yaml`), else the file's.
fn name(model: Item, stem: &str) -> String {
    let own = model.attribute("yaml_file").and_then(Item::text).map(|file| file.trim_end_matches(".yaml"));
    let fits = |name: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
    };
    own.filter(fits).map_or_else(|| short(stem), str::to_owned)
}

fn check_strides(architecture: &Architecture, found: &[f32]) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "strides are small powers of two")]
    let fits = architecture.head.strides.iter().map(|&stride| stride as f32).eq(found.iter().copied());
    if fits {
        return Ok(());
    }
    Err(refuse(
        format!("a Detect layer with strides {found:?}"),
        format!("{:?}, which the layers before it make", architecture.head.strides),
    ))
}

/// From the training's options (`opt`, release 7), rounded up to a multiple of the largest stride as YOLOv5 does.
fn trained_imgsz(root: Item, architecture: &Architecture) -> usize {
    let options = root.get("opt");
    let imgsz = options.and_then(|options| options.get("imgsz")).and_then(Item::int);
    let imgsz = imgsz.and_then(|imgsz| usize::try_from(imgsz).ok()).unwrap_or(DEFAULT_IMGSZ);
    let step = architecture.head.strides.iter().copied().max().unwrap_or(1);
    let rounded = imgsz.checked_next_multiple_of(step);
    rounded.filter(|&imgsz| architecture.check_imgsz(imgsz).is_ok()).unwrap_or(DEFAULT_IMGSZ)
}
