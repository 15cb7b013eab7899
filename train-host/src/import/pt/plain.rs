//! Plain values of a pickle (text, numbers, lists, dicts) as JSON values. Bounded, because a value that is referred to often
//! is written out every time.

use serde_json::{Map, Value};

use super::pickle::{Item, short};
use super::refuse;
use crate::Result;

/// Most values written out for one description; that of yolov5x6 has about 500.
const MAX_VALUES: usize = 20_000;
const MAX_TEXT_BYTES: usize = 256;

/// `item` as JSON; `what` names it in errors.
pub(super) fn plain(what: &str, item: Item) -> Result<Value> {
    convert(what, item, &mut 0)
}

fn convert(what: &str, item: Item, count: &mut usize) -> Result<Value> {
    *count += 1;
    if *count > MAX_VALUES {
        return Err(refuse(format!("{what} of more than {MAX_VALUES} values"), "a description of YOLOv5"));
    }
    if let Some(items) = item.items() {
        return items.map(|item| convert(what, item, count)).collect::<Result<_>>().map(Value::Array);
    }
    if let Some(entries) = item.entries() {
        let mut map = Map::new();
        for (key, value) in entries {
            let key = key.text().filter(|key| key.len() <= MAX_TEXT_BYTES);
            let key =
                key.ok_or_else(|| refuse(format!("a key of {what} that is no short text"), "short names"))?;
            map.insert(key.to_owned(), convert(what, value, count)?);
        }
        return Ok(Value::Object(map));
    }
    scalar(item).ok_or_else(|| {
        refuse(format!("{} in {}", item.show(), short(what)), "short text, finite numbers, lists and dicts")
    })
}

fn scalar(item: Item) -> Option<Value> {
    if item.is_none() {
        return Some(Value::Null);
    }
    if let Some(flag) = item.bool() {
        return Some(Value::Bool(flag));
    }
    if let Some(int) = item.int() {
        return Some(Value::from(int));
    }
    if let Some(text) = item.text() {
        return (text.len() <= MAX_TEXT_BYTES).then(|| Value::from(text));
    }
    serde_json::Number::from_f64(item.number()?).map(Value::Number)
}
