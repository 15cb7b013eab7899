//! The ablation for people: tables, plots and pictures with the sentences that say how they came about. Rounds for
//! reading; the JSON document and the CSV files do not.

mod accuracy;
pub(super) mod numbers;
mod speed;

use std::path::Path;

use super::document::Document;
use super::outputs::Output;
use crate::Result;
use crate::console::counted;
use crate::export::bundle::{CONFIDENCE, IOU};
use crate::report::{Article, Picture, Section, Surface};

/// Plots as files: name and SVG document.
type Plots = Vec<(Output, String)>;

/// The article and the plots it refers to.
pub struct Written {
    /// Sections with everything but files.
    pub article: Article,
    /// Plots as files: name and SVG document.
    pub plots: Plots,
}

/// Writes about `document`, whose pictures lie in `out`.
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) when a plot cannot be drawn; an I/O error for a missing picture.
pub fn write(document: &Document, out: &Path) -> Result<Written> {
    let mut plots = Vec::new();
    let sections = vec![
        accuracy::accuracy(document, &mut plots)?,
        accuracy::sizes(document),
        speed::training(&document.cost),
        speed::inference(document, &mut plots)?,
        pictures(document, out)?,
    ];
    let article = Article {
        title: format!("Ablation: {}", document.plan.name),
        lead: lead(document),
        sections: sections.into_iter().flatten().collect(),
    };
    Ok(Written { article, plots })
}

fn lead(document: &Document) -> String {
    let plan = &document.plan;
    let data = plan.data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    format!(
        "{} variants on {data}: {} epochs at {} px, batch {}, on {} with {}, seeds {}; evaluated on the {} images of the \
         {} split. Compared to {}. {}.",
        document.variants.len(),
        plan.epochs,
        plan.imgsz,
        plan.batch,
        plan.device,
        counted(plan.threads, "thread"),
        seeds.join(", "),
        plan.images,
        plan.split,
        plan.baseline,
        document.machine
    )
}

fn pictures(document: &Document, out: &Path) -> Result<Option<Section>> {
    if document.pictures.is_empty() {
        return Ok(None);
    }
    let seed = document.plan.seeds.first().map(u64::to_string).unwrap_or_default();
    Ok(Some(Section {
        title: "Detections".into(),
        paragraphs: vec![format!(
            "Left the labels, in the middle {}, right the variant, both of seed {seed}, as a device shows them: confidence \
             from {CONFIDENCE}, NMS at IoU {IOU}.",
            document.plan.baseline
        )],
        pictures: document
            .pictures
            .iter()
            .map(|file| Picture::read(&out.join(file)))
            .collect::<Result<_>>()?,
        files: document.pictures.clone(),
        ..Section::default()
    }))
}

/// Draws a plot for the page and as a file.
fn plot(
    section: &mut Section,
    plots: &mut Plots,
    file: Output,
    draw: impl Fn(Surface) -> Result<Option<String>>,
) -> Result<()> {
    if let (Some(page), Some(svg)) = (draw(Surface::Page)?, draw(Surface::File)?) {
        section.plots.push(page);
        section.files.push(file.name().into());
        plots.push((file, svg));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::document;
    use super::*;

    #[test]
    fn markdown_tells_accuracy_cost_times_and_the_bar() {
        let dir = tempfile::tempdir().unwrap();
        let written = write(&document(1.2, 1.0), dir.path()).unwrap();
        let text = written.article.markdown();
        for part in [
            "| rep     | 61.00 ± 1.41 |",
            "+1.00",
            "12.00 (1.200)",
            "engine: it holds.",
            "| rep unfused |  tract | plain fused | 1.200 |       1.200–1.200 |    > 1 |   yes |",
            "![map](<map.svg>)",
            "![timing-tract](<timing-tract.svg>)",
            "seeds 0, 1",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let names: Vec<&str> = written.plots.iter().map(|(file, _)| file.name()).collect();
        assert_eq!(names, ["map.svg", "map50.svg", "curves.svg", "timing-tract.svg"]);
        assert!(written.article.html().unwrap().contains("61.00 ± 1.41"));
    }

    #[test]
    fn a_failed_bar_is_told_with_its_figures() {
        let dir = tempfile::tempdir().unwrap();
        let text = write(&document(1.2, 1.05), dir.path()).unwrap().article.markdown();
        assert!(text.contains("it FAILS for 1 of 2.") && text.contains("≤ 1.02 |    NO |"), "{text}");
    }
}
