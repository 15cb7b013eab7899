//! Makes a dataset speak of a model's classes, by name. Never guesses: a class the model does not know is an error.

use crate::dataset::Dataset;
use crate::{Error, Result};

/// `dataset` with its labels renumbered to `model`'s classes.
///
/// Names decide, so their order may differ and the dataset may lack some. A dataset whose names are only numbers
/// (a data.yaml with `nc` and no `names`) is taken to have the model's classes in order when there are as many.
///
/// # Errors
/// [`Error::Data`] naming a class of the dataset that the model does not have.
pub fn align(mut dataset: Dataset, model: &[String]) -> Result<Dataset> {
    if dataset.classes == model {
        return Ok(dataset);
    }
    if !(is_unnamed(&dataset.classes) && dataset.classes.len() == model.len()) {
        let place =
            |name: &String| model.iter().position(|known| known == name).ok_or_else(|| unknown(name, model));
        let places: Vec<usize> = dataset.classes.iter().map(place).collect::<Result<_>>()?;
        for label in dataset.samples.iter_mut().flat_map(|sample| &mut sample.boxes) {
            label.class = *places.get(label.class).ok_or_else(|| unknown(&label.class.to_string(), model))?;
        }
    }
    dataset.classes = model.to_vec();
    Ok(dataset)
}

fn is_unnamed(classes: &[String]) -> bool {
    classes.iter().enumerate().all(|(index, name)| *name == index.to_string())
}

fn unknown(name: &str, model: &[String]) -> Error {
    Error::data(
        format!("class {name:?} of the dataset is not one of the model's"),
        format!("only classes the model was trained for: {}", model.join(", ")),
        "evaluate on a dataset with the same classes, or rename them in its data file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{LabelBox, Sample};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// One image with one label of each class in `labels`.
    fn dataset(classes: &[&str], labels: &[usize]) -> Dataset {
        let label = |&class: &usize| LabelBox { class, cx: 0.5, cy: 0.5, w: 0.1, h: 0.1 };
        let boxes = labels.iter().map(label).collect();
        let sample = Sample { image: "a.png".into(), width_px: 10, height_px: 10, boxes };
        Dataset { classes: names(classes), samples: vec![sample], ..Dataset::default() }
    }

    fn labels(dataset: &Dataset) -> Vec<usize> {
        dataset.samples.iter().flat_map(|s| &s.boxes).map(|b| b.class).collect()
    }

    #[test]
    fn labels_follow_the_names() {
        let aligned = align(dataset(&["dog", "cat"], &[0, 1, 0]), &names(&["cat", "cow", "dog"])).unwrap();
        assert_eq!(labels(&aligned), [2, 0, 2]);
        assert_eq!(aligned.classes, names(&["cat", "cow", "dog"]));
    }

    #[test]
    fn a_class_the_model_does_not_know_is_named() {
        let error = align(dataset(&["cat", "newt"], &[0]), &names(&["cat", "dog"])).unwrap_err().to_string();
        assert!(error.contains("newt") && error.contains("cat, dog"), "{error}");
    }

    #[test]
    fn a_dataset_without_names_takes_the_models_when_the_count_fits() {
        let aligned = align(dataset(&["0", "1"], &[1]), &names(&["cat", "dog"])).unwrap();
        assert_eq!(labels(&aligned), [1]);
        assert_eq!(aligned.classes, names(&["cat", "dog"]));
        assert!(align(dataset(&["0", "1"], &[1]), &names(&["cat", "dog", "cow"])).is_err());
    }

    #[test]
    fn a_label_out_of_range_is_an_error_not_a_panic() {
        assert!(align(dataset(&["dog", "cat"], &[5]), &names(&["cat", "dog"])).is_err());
    }
}
