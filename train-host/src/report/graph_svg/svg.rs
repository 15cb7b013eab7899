//! Writes SVG elements. Everything that comes from outside passes through [`escape`]; never decides where things stand.

use std::fmt::{self, Write as _};

/// What a box computes; each has a color and a line in the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Conv,
    Pointwise,
    Norm,
    Add,
    Concat,
    Pool,
    Resize,
    Output,
    Other,
}

impl Kind {
    /// Class of its boxes and words of the legend.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Conv => ("conv", "convolution"),
            Self::Pointwise => ("pointwise", "1×1 convolution"),
            Self::Norm => ("norm", "batch norm"),
            Self::Add => ("add", "sum"),
            Self::Concat => ("concat", "concatenation"),
            Self::Pool => ("pool", "max pool"),
            Self::Resize => ("resize", "upsampling"),
            Self::Output => ("output", "output"),
            Self::Other => ("other", "other"),
        }
    }
}

/// Fill and stroke of each kind on light and on dark ground.
const COLORS: [(Kind, [&str; 4]); 9] = [
    (Kind::Conv, ["#dbeafe", "#3b82f6", "#1d3557", "#60a5fa"]),
    (Kind::Pointwise, ["#ccfbf1", "#0d9488", "#134e4a", "#2dd4bf"]),
    (Kind::Norm, ["#fef3c7", "#d97706", "#4a3410", "#fbbf24"]),
    (Kind::Add, ["#f3e8ff", "#9333ea", "#3b2358", "#c084fc"]),
    (Kind::Concat, ["#e5e7eb", "#6b7280", "#374151", "#9ca3af"]),
    (Kind::Pool, ["#fce7f3", "#db2777", "#4a1d36", "#f472b6"]),
    (Kind::Resize, ["#dcfce7", "#16a34a", "#14432a", "#4ade80"]),
    (Kind::Output, ["#fee2e2", "#dc2626", "#4c1d1d", "#f87171"]),
    (Kind::Other, ["#f3f4f6", "#9ca3af", "#2b313a", "#6b7280"]),
];

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:11px;fill:#1f2328}\
.title{font-size:18px;font-weight:600}.facts,.head{fill:#59636e}.head{font-size:10px}\
.module{font-weight:600;font-size:12px}.number,.end{text-anchor:end}.middle{text-anchor:middle}\
.name{font-weight:600;text-anchor:middle}.detail{font-size:9px;text-anchor:middle;fill:#59636e}\
.source{font-size:9px;fill:#59636e;text-anchor:end}\
.ground{fill:#fff}.card{fill:#f6f8fa;stroke:#d1d9e0}.edge{fill:none;stroke:#818b98;stroke-width:1.2}\
.skip{fill:none;stroke:#3b82f6;stroke-width:1.3;opacity:.75}.dot{fill:#818b98}.skipdot{fill:#3b82f6}\
.part{fill:none;stroke:#818b98;stroke-dasharray:4 3}.times{font-size:10px;font-weight:600;fill:#59636e;text-anchor:end}\
.bar{fill:#93b4e0}.box{stroke-width:1.2}";

const DARK_STYLE: &str = "\
text{fill:#e6edf3}.facts,.head,.detail,.source,.times{fill:#9aa4af}.ground{fill:#0d1117}\
.card{fill:#151b23;stroke:#2f3742}.edge,.part{stroke:#7d8590}.dot{fill:#7d8590}.skip{stroke:#60a5fa}\
.skipdot{fill:#60a5fa}.bar{fill:#3f6aa5}";

/// Elements of one drawing.
#[derive(Default)]
pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub fn text(&mut self, [x, y]: [i32; 2], class: &str, text: &str) {
        self.push(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(text)));
    }

    pub fn rect(&mut self, [x, y]: [i32; 2], [width, height]: [i32; 2], class: &str) {
        let round = (height / 4).min(5);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\" class=\"{class}\"/>"
        ));
    }

    pub fn path(&mut self, data: &str, class: &str) {
        self.push(format_args!("<path d=\"{data}\" class=\"{class}\"/>"));
    }

    pub fn dot(&mut self, [x, y]: [i32; 2], class: &str) {
        self.push(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" class=\"{class}\"/>"));
    }

    /// What follows, up to [`Svg::end_group`], shows `tip` when pointed at.
    pub fn begin_group(&mut self, tip: &str) {
        self.push(format_args!("<g><title>{}</title>", escape(tip)));
    }

    pub fn end_group(&mut self) {
        self.push(format_args!("</g>"));
    }

    /// The document of `width` × `height` units.
    pub fn finish(self, title: &str, [width, height]: [i32; 2]) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n<style>{STYLE}{}\
             @media (prefers-color-scheme:dark){{{DARK_STYLE}{}}}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" class=\"ground\"/>\n{}</svg>\n",
            escape(title),
            colors([0, 1]),
            colors([2, 3]),
            self.body
        )
    }

    fn push(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Rules for the boxes, with the fill and stroke at these places of [`COLORS`].
fn colors(places: [usize; 2]) -> String {
    let rule = |(kind, colors): &(Kind, [&str; 4])| {
        let [fill, stroke] = places.map(|place| colors[place]);
        format!(".{}{{fill:{fill};stroke:{stroke}}}", kind.names().0)
    };
    COLORS.iter().map(rule).collect()
}

/// Text as XML holds it; characters that XML 1.0 forbids become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
