//! An article: titled sections of paragraphs, tables, plots and pictures, as one HTML file without external resources or
//! as Markdown that refers to files beside it. Knows nothing of what is told.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::pictures::Picture;
use super::table::Table;
use super::template;
use crate::Result;

/// Something to be read.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Article {
    /// Its title.
    pub title: String,
    /// The sentences under the title.
    pub lead: String,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part of an article.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// Text before everything else.
    pub paragraphs: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
    /// SVG documents drawn for [`super::Surface::Page`].
    pub plots: Vec<String>,
    /// Pictures inside the page.
    pub pictures: Vec<Picture>,
    /// Files with the plots and pictures, for Markdown, relative to where that will lie.
    pub files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    article: &'a Article,
    version: &'static str,
}

impl Article {
    /// The article as one HTML document.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the template fails.
    pub fn html(&self) -> Result<String> {
        template::fill("article.html", &Page { article: self, version: env!("CARGO_PKG_VERSION") })
    }

    /// The article as Markdown, with links to its plots and pictures.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.lead);
        for section in &self.sections {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n## {}\n", section.title);
            for paragraph in &section.paragraphs {
                let _ = write!(text, "\n{paragraph}\n");
            }
            for table in &section.tables {
                let _ = write!(text, "\n{}", table.markdown());
            }
            for file in &section.files {
                let name =
                    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let _ = write!(text, "\n![{name}](<{}>)\n", file.display());
            }
        }
        text
    }
}

impl Table {
    /// The table in GitHub's Markdown, columns aligned for reading as text.
    pub fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let rows: Vec<Vec<String>> =
            std::iter::once(&self.head).chain(&self.rows).map(|row| row.iter().map(cell).collect()).collect();
        let widths: Vec<usize> = (0..self.head.len())
            .map(|at| {
                rows.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max().unwrap_or(0).max(3)
            })
            .collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let _ = if at == 0 {
                    write!(text, "| {cell:<width$} ")
                } else {
                    write!(text, "| {cell:>width$} ")
                };
            }
            text.push_str("|\n");
            if number == 0 {
                for (at, &width) in widths.iter().enumerate() {
                    let line = "-".repeat(width + 1);
                    let _ = if at == 0 { write!(text, "|{line}-") } else { write!(text, "|{line}:") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article() -> Article {
        let table = Table::new(&["variant", "mAP"], vec![vec!["a|b".into(), "1.5".into()]]);
        let section = Section {
            title: "Accuracy <1>".into(),
            paragraphs: vec!["Measured & judged.".into()],
            tables: vec![table],
            plots: vec!["<svg></svg>".into()],
            pictures: vec![Picture::new("x.png", b"\x89PNG1").unwrap()],
            files: vec!["map.svg".into(), "pictures/a b.png".into()],
        };
        Article { title: "T".into(), lead: "L".into(), sections: vec![section] }
    }

    #[test]
    fn markdown_is_aligned_escaped_and_links_its_files() {
        let expected = "# T\n\nL\n\n## Accuracy <1>\n\nMeasured & judged.\n\n| variant | mAP |\n|---------|----:|\n\
                        | a\\|b    | 1.5 |\n\n![map](<map.svg>)\n\n![a b](<pictures/a b.png>)\n";
        assert_eq!(article().markdown(), expected);
    }

    #[test]
    fn html_escapes_text_keeps_plots_and_needs_no_other_file() {
        let page = article().html().unwrap();
        for text in
            ["Accuracy &lt;1&gt;", "Measured &amp; judged.", "<svg></svg>", "data:image/png;base64,", "a|b"]
        {
            assert!(page.contains(text), "{text} is missing");
        }
        assert!(!page.contains("{{") && !page.contains("http") && !page.contains("map.svg"));
    }
}
