//! Where a checkpoint comes from, as far as it says so: release, part, epoch, date, hyper-parameters.

use super::pickle::Item;
use super::plain::plain;
use super::refuse;
use crate::Result;
use crate::model::checkpoint::Provenance;

/// Longest date kept; YOLOv5 writes 26 characters.
const MAX_DATE_BYTES: usize = 64;

/// The origin of `model`, the `part` of the checkpoint `root`.
pub(super) fn provenance(root: Item, part: &str, model: Item) -> Result<Provenance> {
    // A finished training sets its checkpoint's epoch to -1.
    let epoch = root.get("epoch").and_then(Item::int).and_then(|epoch| u64::try_from(epoch).ok());
    let date = root.get("date").and_then(Item::text).filter(|date| date.len() <= MAX_DATE_BYTES);
    let hyper = model.attribute("hyp").filter(|hyp| !hyp.is_none());
    let hyper_parameters = match hyper.map(|hyp| plain("the hyper-parameters", hyp)).transpose()? {
        None => serde_json::Map::new(),
        Some(serde_json::Value::Object(hyper)) => hyper,
        Some(_) => return Err(refuse("hyper-parameters that are no dict", "names with values")),
    };
    Ok(Provenance {
        format: "YOLOv5 checkpoint".to_owned(),
        release: release(model).to_owned(),
        part: part.to_owned(),
        epoch,
        date: date.map(str::to_owned),
        hyper_parameters,
    })
}

/// Release 6.2 renamed the class; release 6.0 replaced Focus.
fn release(model: Item) -> &'static str {
    let layer = |index: &str| {
        let layers = model.attribute("_modules")?.get("model")?.attribute("_modules")?;
        layers.get(index)?.class().map(|(_, name)| name)
    };
    match (model.class(), layer("0")) {
        (_, Some("Focus")) => "5.0 or older",
        (Some((_, "DetectionModel")), _) => "6.2 to 7.0",
        _ => "6.0 or 6.1",
    }
}
