//! One layer of the drawing: its boxes and edges inside, what it gives and costs beside them. Knows its own height and
//! where its ports lie; where it stands is for `sheet`.

use super::Context;
use super::grid::{Cell, Edge, Grid, Route};
use super::svg::{Kind, Svg};
use super::units::{Input, Scene, scene};
use crate::model::outline::{From, Layer};
use crate::report::numbers::{fraction, gflops, grouped};

/// Sides of a box, and from box to box.
const BOX: [i32; 2] = [92, 32];
const PITCH: [i32; 2] = [112, 40];
/// Height that an arc takes.
const ARC: i32 = 9;
const PADDING: i32 = 9;
/// From the left edge of the boxes' ground to its ports and to the first box.
const PORT_X: i32 = 22;
const FIRST_X: i32 = 44;
/// From line to line of text.
const LINE: i32 = 15;
/// Longest bar, for the layer that costs most.
const BAR: i32 = 80;
/// From the last number to the bar.
pub(super) const BAR_GAP: i32 = 16;
/// Room that bar and percentage take behind the last number.
pub(super) const SHARE: i32 = BAR_GAP + BAR + 50;

/// A layer, laid out.
pub(super) struct Card<'a> {
    pub layer: &'a Layer,
    scene: Scene,
    grid: Grid,
    /// Shape of each result.
    outputs: Vec<String>,
    /// Fraction of all layers' operations.
    pub share: f64,
}

impl<'a> Card<'a> {
    pub fn new(context: &Context<'_>, layer: &'a Layer) -> Self {
        let scene = scene(context, layer);
        let grid = Grid::new(&scene);
        let outputs = layer.results.iter().map(|&id| {
            let [channels, height, width] = context.outline.shapes[id];
            format!("{channels}×{height}×{width}")
        });
        Self {
            outputs: outputs.collect(),
            share: fraction(layer.cost.flops, context.flops),
            layer,
            scene,
            grid,
        }
    }

    /// Height of the card.
    pub fn height(&self) -> i32 {
        2 * PADDING + self.head() + px(self.grid.lanes) * PITCH[1] - (PITCH[1] - BOX[1])
    }

    /// Width of the boxes' ground.
    pub fn width(&self) -> i32 {
        FIRST_X + px(self.grid.columns) * PITCH[0]
    }

    /// Kinds of boxes in it.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.scene.units.iter().map(|unit| unit.kind)
    }

    /// Its sources, and where their ports lie below and right of the card's corner.
    pub fn ports(&self) -> impl Iterator<Item = (From, [i32; 2])> + '_ {
        self.scene
            .ports
            .iter()
            .zip(&self.grid.ports)
            .map(|(from, &lane)| (*from, [PORT_X, self.lane_y(lane)]))
    }

    /// Space above the boxes: for arcs, and for the mark of what repeats.
    fn head(&self) -> i32 {
        let mark = if self.scene.repeat.is_some() { 12 } else { 0 };
        mark + px(self.grid.arcs) * ARC
    }

    fn lane_y(&self, lane: usize) -> i32 {
        PADDING + self.head() + px(lane) * PITCH[1] + BOX[1] / 2
    }

    /// Draws the boxes' ground and everything in it, from `corner`.
    pub fn draw(&self, svg: &mut Svg, corner: [i32; 2], width: i32) {
        svg.rect(corner, [width, self.height()], "card");
        let [x, y] = corner;
        for edge in &self.grid.edges {
            svg.path(&self.edge(edge, corner), "edge");
        }
        self.draw_repeat(svg, corner);
        for (unit, cell) in self.scene.units.iter().zip(&self.grid.cells) {
            let [left, top] = self.box_corner(*cell, corner);
            svg.begin_group(&unit.tip);
            svg.rect([left, top], BOX, &format!("box {}", unit.kind.names().0));
            let center = left + BOX[0] / 2;
            if unit.detail.is_empty() {
                svg.text([center, top + 20], "name", &unit.name);
            } else {
                svg.text([center, top + 14], "name", &unit.name);
                svg.text([center, top + 26], "detail", &unit.detail);
            }
            svg.end_group();
        }
        for (_, [port_x, port_y]) in self.ports() {
            svg.dot([x + port_x, y + port_y], "dot");
        }
    }

    /// Draws what the layer gives and costs: words that end at `ends`, and behind them a bar for its share of all
    /// operations, `most` being the largest there is.
    pub fn draw_facts(&self, svg: &mut Svg, ends: [i32; 3], top: i32, most: f64) {
        let middle = top + self.height() / 2;
        let cost = self.layer.cost;
        let first = middle + 4 - LINE * px(self.outputs.len().saturating_sub(1)) / 2;
        for (at, shape) in self.outputs.iter().enumerate() {
            svg.text([ends[0], first + LINE * px(at)], "number", shape);
        }
        svg.text([ends[1], middle + 4], "number", &grouped(cost.parameters));
        svg.text([ends[2], middle + 4], "number", &gflops(cost.flops));
        let length = bar(self.share, most);
        if length > 0 {
            let start = ends[2] + BAR_GAP;
            svg.rect([start, middle - 4], [length, 9], "bar");
            let percent = format!("{:.1} %", self.share * 100.0);
            svg.text([start + length + 5, middle + 4], "facts", &percent);
        }
    }

    fn draw_repeat(&self, svg: &mut Svg, corner: [i32; 2]) {
        let Some((units, times)) = &self.scene.repeat else { return };
        let cells = || units.iter().map(|&unit| self.grid.cells[unit]);
        let column = |pick: fn(usize, usize) -> usize| cells().map(|cell| cell.column).reduce(pick);
        let (Some(first), Some(last)) = (column(usize::min), column(usize::max)) else { return };
        let lanes = cells().map(|cell| cell.lane).max().unwrap_or(0);
        let [left, _] = self.box_corner(Cell { column: first, lane: 0 }, corner);
        let [right, bottom] = self.box_corner(Cell { column: last, lane: lanes }, corner);
        let top = corner[1] + PADDING - 4;
        let size = [right + BOX[0] - left + 12, bottom + BOX[1] + 5 - top];
        svg.rect([left - 6, top], size, "part");
        svg.text([left + size[0] - 10, top + 11], "times", &format!("× {times}"));
    }

    fn box_corner(&self, cell: Cell, [x, y]: [i32; 2]) -> [i32; 2] {
        [x + FIRST_X + px(cell.column) * PITCH[0], y + self.lane_y(cell.lane) - BOX[1] / 2]
    }

    fn edge(&self, edge: &Edge, corner: [i32; 2]) -> String {
        let [x0, y0] = match edge.from {
            Input::Port(port) => [corner[0] + PORT_X, corner[1] + self.lane_y(self.grid.ports[port])],
            Input::Unit(unit) => {
                let [left, top] = self.box_corner(self.grid.cells[unit], corner);
                [left + BOX[0], top + BOX[1] / 2]
            }
        };
        let [x1, top] = self.box_corner(self.grid.cells[edge.to], corner);
        let y1 = top + BOX[1] / 2;
        let bend = PITCH[0] - BOX[0];
        match edge.route {
            Route::Source => format!("M{x0} {y0}H{}{}", x1 - bend, curve([x1 - bend, y0], [x1, y1])),
            Route::Target => format!("M{x0} {y0}{}H{x1}", curve([x0, y0], [x0 + bend, y1])),
            Route::Arc(height) => {
                let level = corner[1] + self.lane_y(0) - BOX[1] / 2 - px(height) * ARC + 3;
                // Down into the left part of the target's upper edge.
                let end = x1 + 14;
                format!(
                    "M{x0} {y0}C{} {y0} {} {level} {} {level}H{}Q{end} {level} {end} {top}",
                    x0 + 10,
                    x0 + 4,
                    x0 + 16,
                    end - 12
                )
            }
        }
    }
}

/// From `a` to the right, into `b` from the left.
fn curve([x0, y0]: [i32; 2], [x1, y1]: [i32; 2]) -> String {
    let middle = i32::midpoint(x0, x1);
    format!("C{middle} {y0} {middle} {y1} {x1} {y1}")
}

/// Counts of boxes and lanes are far below what pixels can hold.
pub(super) fn px(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1000)
}

#[expect(clippy::cast_possible_truncation, reason = "a fraction of the longest bar")]
fn bar(share: f64, most: f64) -> i32 {
    if most > 0.0 { (share / most * f64::from(BAR)).ceil() as i32 } else { 0 }
}
