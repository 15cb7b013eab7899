use super::grid::{Cell, Grid, Route};
use super::svg::escape;
use super::units::{Input, Scene, scene};
use super::*;
use crate::fuse::fused_graph;
use crate::model::outline::{From, Layer};
use crate::model::{Block, MODEL_NAMES, Overrides};

fn load(name: &str, block: Block) -> Architecture {
    let classes: Vec<String> = (0..3).map(|class| class.to_string()).collect();
    Architecture::load(name, &Overrides { act: None, block: Some(block) }, &classes).unwrap()
}

fn fused(architecture: &Architecture) -> Architecture {
    Architecture { graph: fused_graph(&architecture.graph).unwrap(), ..architecture.clone() }
}

/// The boxes of one layer.
fn scene_of(architecture: &Architecture, layer: usize) -> Scene {
    let outline = Outline::of(architecture, 64).unwrap();
    let nodes = outline.layers.iter().flat_map(|layer| layer.nodes.iter().map(|&id| (id, layer.index)));
    let context = Context {
        graph: &architecture.graph,
        outline: &outline,
        users: architecture.graph.users(),
        layer_of: nodes.collect(),
        flops: 1,
    };
    scene(&context, &outline.layers[layer])
}

fn words(scene: &Scene) -> Vec<String> {
    scene.units.iter().map(|unit| format!("{} {}", unit.name, unit.detail)).collect()
}

#[test]
fn branches_of_a_rep_block_become_one_box() {
    let trained = load("repyolov5n", Block::Repvgg);
    assert_eq!(words(&scene_of(&trained, 1)), ["3×3 /2 32 · BN", "1×1 /2 32 · BN", "+ SiLU"]);
    assert_eq!(words(&scene_of(&fused(&trained), 1)), ["3×3 /2 32 · bias · SiLU"]);
    let other = load("repyolov5n", Block::Qarepvgg);
    assert_eq!(words(&scene_of(&other, 1)), ["3×3 /2 32 · BN", "1×1 /2 32", "+ ", "BN SiLU"]);
    assert_eq!(words(&scene_of(&fused(&other), 1)), ["3×3 /2 32 · bias · SiLU"]);
}

#[test]
fn what_repeats_is_shown_once() {
    let trained = load("repyolov5n", Block::Repvgg);
    let scene = scene_of(&trained, 6);
    let expected = ["1×1", "1×1", "3×3", "1×1", "BN", "+", "+", "1×1", "concat", "1×1"];
    let names: Vec<&str> = scene.units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, expected);
    assert_eq!(scene.repeat, Some(((1..=6).collect(), 3)));
    // The concatenation reads the one part that stands for all.
    assert_eq!(scene.units[8].inputs, [Input::Unit(6), Input::Unit(7)]);
    assert_eq!(scene_of(&trained, 2).repeat, None, "one bottleneck");
    assert_eq!(scene_of(&trained, 9).repeat, None, "the pools of SPPF are all read from outside");
    let stage = scene_of(&load("yolov5s-repvgg-a1", Block::Repvgg), 6);
    assert_eq!((stage.units.len(), stage.repeat), (4, Some(((0..=3).collect(), 13))));
}

#[test]
fn boxes_stand_apart_and_edges_pass_none() {
    for name in MODEL_NAMES {
        for architecture in [load(name, Block::Repvgg), load(name, Block::Qarepvgg)] {
            for layer in 0..Outline::of(&architecture, 64).unwrap().layers.len() {
                let scene = scene_of(&architecture, layer);
                let grid = Grid::new(&scene);
                for (at, cell) in grid.cells.iter().enumerate() {
                    assert!(!grid.cells[..at].contains(cell), "{name} {layer}");
                    assert!(cell.lane < grid.lanes && cell.column < grid.columns);
                }
                assert_clear(&grid, &format!("{name} {layer}"));
                let edges: usize = scene.units.iter().map(|unit| unit.inputs.len()).sum();
                assert_eq!(grid.edges.len(), edges);
            }
        }
    }
}

/// No edge runs along a lane through a box.
fn assert_clear(grid: &Grid, what: &str) {
    for edge in &grid.edges {
        let (start, lane) = match edge.from {
            Input::Port(port) => (0, grid.ports[port]),
            Input::Unit(unit) => (grid.cells[unit].column + 1, grid.cells[unit].lane),
        };
        let target = grid.cells[edge.to];
        let lane = match edge.route {
            Route::Source => lane,
            Route::Target => target.lane,
            Route::Arc(_) => continue,
        };
        let passes = (start..target.column).any(|column| grid.cells.contains(&Cell { column, lane }));
        assert!(!passes, "{what}: {edge:?}");
    }
}

#[test]
fn shortcuts_are_arcs_that_do_not_touch() {
    let grid = Grid::new(&scene_of(&load("repyolov5n", Block::Qarepvgg), 2));
    let mut arcs: Vec<Route> =
        grid.edges.iter().map(|edge| edge.route).filter(|route| matches!(route, Route::Arc(_))).collect();
    arcs.sort_by_key(|route| format!("{route:?}"));
    assert_eq!(arcs, [Route::Arc(1), Route::Arc(2)], "the identity inside, the bottleneck's shortcut above");
}

#[test]
fn every_model_is_drawn_as_sound_xml() {
    for name in MODEL_NAMES {
        let trained = load(name, Block::Repvgg);
        for architecture in [&fused(&trained), &trained] {
            let outline = Outline::of(architecture, 64).unwrap();
            let svg = draw(Form::Trained, architecture, &outline, 64);
            let document = roxmltree::Document::parse(&svg).unwrap();
            let count = |class: &str| {
                document.descendants().filter(|node| node.attribute("class") == Some(class)).count()
            };
            assert_eq!(count("card"), outline.layers.len(), "{name}");
            let skips = |layer: &Layer| {
                let skip = |from: &&From| match from {
                    From::Image => false,
                    From::Layer(index) => index + 1 != layer.index,
                };
                layer.from.iter().filter(skip).count()
            };
            assert_eq!(count("skip"), outline.layers.iter().map(skips).sum::<usize>(), "{name}");
            assert!(!svg.contains("http") || svg.matches("http").count() == 1, "the namespace only");
        }
    }
}

#[test]
fn names_from_files_cannot_break_out() {
    assert_eq!(escape("a<b>&\"'\u{1}"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}");
    let mut architecture = load("yolov5n", Block::Repvgg);
    architecture.name = "</title><script>alert(1)</script>\u{0}".into();
    let svg = draw(Form::Fused, &architecture, &Outline::of(&architecture, 64).unwrap(), 64);
    assert!(!svg.contains("<script") && roxmltree::Document::parse(&svg).is_ok());
}
