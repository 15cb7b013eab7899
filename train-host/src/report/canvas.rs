//! The surface plots are drawn on: an SVG string, for a page (text takes the page's color) or for a file of its own
//! (black on white). Never knows what is drawn.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBAColor, RGBColor, TextStyle, WHITE,
};

use crate::{Error, Result};

/// Where a plot will be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Inside the HTML report: no background, and text in the page's own color, light or dark.
    Page,
    /// In an SVG file: black on white.
    File,
}

/// Text and axes. A color nothing else uses, so that [`Surface::Page`] can hand it over to the page.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
const INK_SVG: &str = "\"#010203\"";

/// Colors of series, told apart on white and on black.
const PALETTE: [RGBColor; 8] = [
    RGBColor(59, 130, 246),
    RGBColor(249, 115, 22),
    RGBColor(16, 185, 129),
    RGBColor(168, 85, 247),
    RGBColor(239, 68, 68),
    RGBColor(6, 182, 212),
    RGBColor(202, 138, 4),
    RGBColor(236, 72, 153),
];

/// Color of series number `index`; colors repeat after eight.
pub(super) fn color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// Area of a plot before a coordinate system is laid over it.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws an SVG of `size` units through `paint`.
pub(super) fn draw(
    size: (u32, u32),
    surface: Surface,
    paint: impl FnOnce(&Area<'_>) -> std::result::Result<(), String>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        if surface == Surface::File {
            area.fill(&WHITE).map_err(|e| cannot_draw(&e.to_string()))?;
        }
        paint(&area).map_err(|e| cannot_draw(&e))?;
        area.present().map_err(|e| cannot_draw(&e.to_string()))?;
    }
    Ok(match surface {
        Surface::Page => svg.replace(INK_SVG, "\"currentColor\""),
        Surface::File => svg,
    })
}

/// How a piece of text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub height: u32,
    pub color: RGBAColor,
    pub weight: Weight,
    pub across: HPos,
    pub turned: Turned,
}

/// Weight of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Normal,
    Bold,
}

/// Direction of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Left to right.
    No,
    /// Bottom to top.
    Up,
}

impl Text {
    /// Left-aligned ink of the given height.
    pub fn new(height: u32) -> Self {
        Self { height, color: INK.to_rgba(), weight: Weight::Normal, across: HPos::Left, turned: Turned::No }
    }

    /// The plotters style, vertically centered on its point.
    pub fn style(self) -> TextStyle<'static> {
        let weight = match self.weight {
            Weight::Normal => FontStyle::Normal,
            Weight::Bold => FontStyle::Bold,
        };
        let turn = match self.turned {
            Turned::No => FontTransform::None,
            Turned::Up => FontTransform::Rotate270,
        };
        let font = (FontFamily::SansSerif, self.height, weight).into_font().transform(turn);
        TextStyle { color: self.color.to_backend_color(), ..TextStyle::from(font) }
            .pos(Pos::new(self.across, VPos::Center))
    }
}

/// Estimated width of sans-serif text: SVG leaves the font to the viewer.
pub(super) fn text_width(text: &str, height: u32) -> i32 {
    let characters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
    let height = i32::try_from(height).unwrap_or(i32::MAX);
    characters.saturating_mul(height).saturating_mul(47) / 100
}

/// Shortens `name` to at most `limit` characters, with "…" where something was cut: behind its first third, because
/// names of one kind often begin alike.
pub(super) fn shorten(name: &str, limit: usize) -> String {
    if name.chars().count() <= limit {
        return name.to_owned();
    }
    let left = limit.saturating_sub(1);
    let end = name.chars().count() - (left - left / 3);
    name.chars().take(left / 3).chain(['…']).chain(name.chars().skip(end)).collect()
}

fn cannot_draw(why: &str) -> Error {
    Error::backend(
        format!("a plot could not be drawn: {why}"),
        "finite values in the results",
        "look for NaN or infinite values in results.csv and the evaluation files",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_takes_the_color_of_the_page_and_file_stays_black_on_white() {
        let paint = |area: &Area<'_>| {
            let text = Text::new(20).style();
            area.draw_text("a<b", &text, (5, 5)).map_err(|e| e.to_string())
        };
        let page = draw((50, 50), Surface::Page, paint).unwrap();
        assert!(page.contains("currentColor") && !page.contains("#010203") && page.contains("a&lt;b"));
        let file = draw((50, 50), Surface::File, paint).unwrap();
        assert!(file.contains("#010203") && file.contains("#FFFFFF") && file.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn long_names_are_cut_by_characters_not_bytes() {
        assert_eq!(shorten("Blutplättchen", 20), "Blutplättchen");
        assert_eq!(shorten("äöüß", 3), "…üß");
        assert_eq!(shorten("mse + mixed precision + bias correction", 16), "mse +…correction");
        assert_eq!(shorten("äöüß", 0), "…");
    }
}
