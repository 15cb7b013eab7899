//! `results.csv` of a training run: one line of numbers an epoch, columns found by name. Only reads it.

use std::path::Path;

use serde::Serialize;

use crate::{Error, Result};

/// One epoch of training; a column that is absent, empty or not finite is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Epoch {
    /// Number of the epoch.
    pub epoch: f64,
    /// Mean box loss.
    pub box_loss: Option<f64>,
    /// Mean objectness loss.
    pub obj_loss: Option<f64>,
    /// Mean class loss.
    pub cls_loss: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub lr: Option<f64>,
    /// Validation precision, 0..1.
    pub precision: Option<f64>,
    /// Validation recall, 0..1.
    pub recall: Option<f64>,
    /// Validation mAP at IoU 0.5, 0..1.
    pub map50: Option<f64>,
    /// Validation mAP at IoU 0.50:0.95, 0..1.
    pub map: Option<f64>,
    /// Training speed.
    pub images_per_second: Option<f64>,
    /// Seconds spent training.
    pub train_seconds: Option<f64>,
    /// Seconds spent validating.
    pub val_seconds: Option<f64>,
}

/// Reads the epochs of `path`, in the order of the file.
///
/// # Errors
/// [`Error::Artifact`] when the file cannot be read; [`Error::Input`] naming the line that is not a row of numbers.
pub fn read(path: &Path) -> Result<Vec<Epoch>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    parse(&text).map_err(|(line, found)| {
        Error::input(
            format!("{}:{line}: {found}", path.display()),
            "the columns that train-host train writes, with a number in each",
            "results.csv was edited or cut short: use the one of an intact run",
        )
    })
}

/// The epochs, or the number of the line that is wrong and what it holds.
fn parse(text: &str) -> std::result::Result<Vec<Epoch>, (usize, String)> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, header)) = lines.next() else { return Ok(Vec::new()) };
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    if !columns.contains(&"epoch") {
        return Err((1, format!("columns {header:?} without \"epoch\"")));
    }
    lines.map(|(at, line)| row(&columns, line).map_err(|found| (at + 1, found))).collect()
}

fn row(columns: &[&str], line: &str) -> std::result::Result<Epoch, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != columns.len() {
        return Err(format!("{} fields for {} columns", fields.len(), columns.len()));
    }
    let mut epoch = Epoch::default();
    let mut number = None;
    for (&column, &field) in columns.iter().zip(&fields) {
        let value = value(field)?;
        match column {
            "epoch" => number = value,
            "box_loss" => epoch.box_loss = value,
            "obj_loss" => epoch.obj_loss = value,
            "cls_loss" => epoch.cls_loss = value,
            "lr" => epoch.lr = value,
            "precision" => epoch.precision = value,
            "recall" => epoch.recall = value,
            "map50" => epoch.map50 = value,
            "map" => epoch.map = value,
            "images_per_second" => epoch.images_per_second = value,
            "train_seconds" => epoch.train_seconds = value,
            "val_seconds" => epoch.val_seconds = value,
            _ => {}
        }
    }
    epoch.epoch = number.ok_or("a row without the number of its epoch")?;
    Ok(epoch)
}

fn value(field: &str) -> std::result::Result<Option<f64>, String> {
    if field.is_empty() || field == "null" {
        return Ok(None);
    }
    let number: f64 = field.parse().map_err(|_| format!("{field:?} where a number belongs"))?;
    Ok(number.is_finite().then_some(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_found_by_name_and_gaps_stay_gaps() {
        let epochs = parse("epoch,map50,new,lr\n0,,7,0.1\n1,0.5,7,NaN\n\n").unwrap();
        assert_eq!(epochs.len(), 2);
        assert_eq!((epochs[0].epoch, epochs[0].map50, epochs[0].lr), (0.0, None, Some(0.1)));
        assert_eq!((epochs[1].epoch, epochs[1].map50, epochs[1].lr), (1.0, Some(0.5), None));
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(parse("epoch,map\n0,0.1\n1\n").unwrap_err().0, 3);
        assert_eq!(
            parse("epoch,map\n0,good\n").unwrap_err(),
            (2, String::from("\"good\" where a number belongs"))
        );
        assert_eq!(parse("a,b\n").unwrap_err().0, 1);
        assert_eq!(parse("epoch,map\n,1\n").unwrap_err().0, 2);
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("epoch,map\n{text}"));
        }
    }
}
