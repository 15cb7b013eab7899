//! The ratios of a bench as bars, by hand: a plotting library would be half of what xtask compiles.

use std::fmt::Write;

use super::rows::Row;

const BAR_PX: f64 = 16.0;
const LABEL_PX: f64 = 220.0;
/// Pixels of a ratio of 1.
const SCALE_PX: f64 = 240.0;

/// What the best of the others needs over ours, a bar a row, with a line where both need the same.
pub fn svg(rows: &[Row]) -> String {
    let largest = rows.iter().filter_map(|row| row.best_peer_over_ours).fold(1.0, f64::max);
    let (mut bars, mut y) = (String::new(), BAR_PX);
    for row in rows {
        let ratio = row.best_peer_over_ours.unwrap_or_default();
        let _ = writeln!(
            bars,
            r##"<text x="4" y="{:.0}">{} {} {} {}, threads: {}</text><rect x="{LABEL_PX}" y="{y:.0}" width="{:.1}" height="{:.0}" fill="#3b7dd8"/><text x="{:.0}" y="{:.0}">{ratio:.2}</text>"##,
            y + BAR_PX - 6.0,
            row.model,
            row.activation,
            row.size,
            row.precision,
            row.threads,
            ratio * SCALE_PX,
            BAR_PX - 4.0,
            LABEL_PX + ratio * SCALE_PX + 4.0,
            y + BAR_PX - 6.0,
        );
        y += BAR_PX;
    }
    let (width, even) = (LABEL_PX + largest * SCALE_PX + 60.0, LABEL_PX + SCALE_PX);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{:.0}" font-family="sans-serif" font-size="11">
<text x="4" y="11">time of the best other engine over ours</text>
{bars}<line x1="{even}" x2="{even}" y1="{BAR_PX}" y2="{y:.0}" stroke="#c33"/>
</svg>
"##,
        y + 4.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::example;

    #[test]
    fn every_row_has_a_bar() {
        let svg = svg(&[example(), example()].concat());
        assert_eq!((svg.matches("<rect").count(), svg.matches("1.30</text>").count()), (2, 2));
    }
}
