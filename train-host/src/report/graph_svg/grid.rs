//! Places the boxes of a layer: a column is how many boxes lie before, a lane a row inside the card. Edges that would
//! run through boxes become arcs above. Knows boxes and edges, no pixels.

use std::collections::HashSet;

use super::units::{Input, Scene};

/// Place of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub column: usize,
    pub lane: usize,
}

/// How an edge runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Along the lane of its source, then into its target.
    Source,
    /// Into the lane of its target at once, then along it.
    Target,
    /// Above all boxes, at this height counted from 1.
    Arc(usize),
}

/// An edge to a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub from: Input,
    pub to: usize,
    pub route: Route,
}

/// A layer laid out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// Place of each box.
    pub cells: Vec<Cell>,
    /// Lane of each port, left of the first column.
    pub ports: Vec<usize>,
    pub edges: Vec<Edge>,
    pub columns: usize,
    pub lanes: usize,
    /// Heights that arcs need.
    pub arcs: usize,
}

impl Grid {
    pub fn new(scene: &Scene) -> Self {
        let columns = columns(scene);
        let mut taken = HashSet::new();
        let mut cells: Vec<Cell> = Vec::new();
        for unit in 0..scene.units.len() {
            let column = columns[unit];
            // Its line to the next box keeps the lane free as far as that.
            let end = nearest_reader(scene, &columns, unit).unwrap_or(column + 1);
            let free = |lane: &usize| (column..end).all(|column| !taken.contains(&(column, *lane)));
            let lane = (wish(scene, &cells, unit)..).find(free).unwrap_or_default();
            taken.extend((column..end).map(|column| (column, lane)));
            cells.push(Cell { column, lane });
        }
        let ports = (0..scene.ports.len()).collect();
        let mut grid = Self { cells, ports, edges: Vec::new(), columns: 0, lanes: 0, arcs: 0 };
        grid.columns = grid.cells.iter().map(|cell| cell.column + 1).max().unwrap_or(0);
        let deepest = grid.cells.iter().map(|cell| cell.lane + 1).max().unwrap_or(1);
        grid.lanes = deepest.max(grid.ports.len());
        grid.connect(scene);
        grid
    }

    fn connect(&mut self, scene: &Scene) {
        let boxes: HashSet<(usize, usize)> = self.cells.iter().map(|cell| (cell.column, cell.lane)).collect();
        let mut arcs: Vec<(usize, usize, usize)> = Vec::new();
        for (to, unit) in scene.units.iter().enumerate() {
            for &from in &unit.inputs {
                // Ports lie in column 0 of a count that begins left of the boxes.
                let (start, lane) = match from {
                    Input::Port(port) => (0, self.ports[port]),
                    Input::Unit(unit) => (self.cells[unit].column + 1, self.cells[unit].lane),
                };
                let Cell { column: end, lane: target } = self.cells[to];
                let clear = |lane: usize| (start..end).all(|column| !boxes.contains(&(column, lane)));
                let route = if clear(lane) {
                    Route::Source
                } else if clear(target) {
                    Route::Target
                } else {
                    Route::Arc(height(&mut arcs, start, end))
                };
                self.edges.push(Edge { from, to, route });
            }
        }
        self.arcs = arcs.iter().map(|(_, _, height)| *height).max().unwrap_or(0);
    }
}

/// Boxes on the longest way from the layer's inputs.
fn columns(scene: &Scene) -> Vec<usize> {
    let mut columns: Vec<usize> = Vec::new();
    for unit in &scene.units {
        let before = unit.inputs.iter().filter_map(|input| match input {
            Input::Unit(unit) => Some(columns[*unit] + 1),
            Input::Port(_) => None,
        });
        let column = before.max().unwrap_or(0);
        columns.push(column);
    }
    columns
}

fn nearest_reader(scene: &Scene, columns: &[usize], unit: usize) -> Option<usize> {
    let readers =
        scene.units.iter().zip(columns).filter(|(other, _)| other.inputs.contains(&Input::Unit(unit)));
    readers.map(|(_, &column)| column).min()
}

/// The lane that `unit` would best stand in: the topmost of what it reads.
fn wish(scene: &Scene, cells: &[Cell], unit: usize) -> usize {
    let lanes = scene.units[unit].inputs.iter().map(|input| match *input {
        Input::Unit(unit) => cells[unit].lane,
        Input::Port(port) => port,
    });
    lanes.min().unwrap_or(0)
}

/// The lowest height at which an arc from `start` to `end` touches no other.
fn height(arcs: &mut Vec<(usize, usize, usize)>, start: usize, end: usize) -> usize {
    let touches = |height: usize| {
        arcs.iter().any(|&(other, other_end, at)| at == height && start <= other_end && other <= end)
    };
    let height = (1..).find(|&height| !touches(height)).unwrap_or(1);
    arcs.push((start, end, height));
    height
}
