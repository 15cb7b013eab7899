//! Fills the templates of pages, which escape everything but plots. Knows no page.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::{Error, Result};

/// Pages and their parts, by the name they include each other under.
const TEMPLATES: [(&str, &str); 4] = [
    ("report.html", include_str!("../../templates/report.html")),
    ("article.html", include_str!("../../templates/article.html")),
    ("grid.html", include_str!("../../templates/grid.html")),
    ("style.css", include_str!("../../templates/style.css")),
];

/// The page `name` showing `page`.
///
/// # Errors
/// [`Error::Backend`] when the template does not fit its page.
pub(super) fn fill(name: &str, page: &impl Serialize) -> Result<String> {
    render(name, page).map_err(|error| {
        Error::backend(
            format!("the template {name} failed: {error:#}"),
            "a template that fits its page",
            "this is a defect of train-host: report it",
        )
    })
}

fn render(name: &str, page: &impl Serialize) -> std::result::Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in TEMPLATES {
        templates.add_template(name, text)?;
    }
    templates.get_template(name)?.render(Serde(page))
}
