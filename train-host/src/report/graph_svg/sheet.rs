//! The whole drawing: title and legend, the cards below each other, and the edges between them. A layer that reads the
//! one above gets a short line, others a curve on the left.

use std::collections::{BTreeSet, HashMap};

use super::card::{BAR_GAP, Card, SHARE, px};
use super::svg::{Kind, Svg};
use crate::model::outline::From;

const MARGIN: i32 = 24;
/// Room for the number and the module of a layer.
const WORDS: i32 = 150;
/// Room for the curves, and how far the widest may bulge.
const CURVES: i32 = 130;
const GAP: i32 = 10;
/// Widths of the columns on the right: shape, parameters, GFLOPs.
const FACTS: [i32; 3] = [110, 90, 70];
const HEAD: i32 = 104;
/// Width of a letter of the legend, about.
const LETTER: i32 = 6;

/// Draws all cards under `title` and `facts`.
pub(super) fn draw(title: &str, facts: &str, cards: &[Card<'_>]) -> String {
    let ground = cards.iter().map(Card::width).max().unwrap_or(0);
    let left = MARGIN + WORDS + CURVES;
    let mut end = left + ground;
    let ends = FACTS.map(|width| {
        end += width;
        end
    });
    let most = cards.iter().map(|card| card.share).fold(0.0, f64::max);
    let mut tops = Vec::new();
    let mut bottom = HEAD;
    for card in cards {
        tops.push(bottom);
        bottom += card.height() + GAP;
    }
    let mut svg = Svg::default();
    svg.text([MARGIN, 36], "title", title);
    svg.text([MARGIN, 56], "facts", facts);
    legend(&mut svg, cards);
    captions(&mut svg, left, ends);
    for (card, &top) in cards.iter().zip(&tops) {
        words(&mut svg, card, top);
        card.draw(&mut svg, [left, top], ground);
        card.draw_facts(&mut svg, ends, top, most);
    }
    connect(&mut svg, cards, &tops, left);
    svg.finish(title, [ends[2] + SHARE + MARGIN, bottom + MARGIN - GAP])
}

/// Number and module of the layer.
fn words(svg: &mut Svg, card: &Card<'_>, top: i32) {
    let middle = top + card.height() / 2 + 4;
    let module = match card.layer.repeats {
        1 => card.layer.module.clone(),
        repeats => format!("{} × {repeats}", card.layer.module),
    };
    svg.begin_group(&card.layer.name);
    svg.text([MARGIN + 22, middle], "number", &card.layer.index.to_string());
    svg.text([MARGIN + 34, middle], "module", &module);
    svg.end_group();
}

/// The kinds of boxes there are.
fn legend(svg: &mut Svg, cards: &[Card<'_>]) {
    let kinds: BTreeSet<Kind> = cards.iter().flat_map(Card::kinds).collect();
    let mut x = MARGIN;
    for kind in kinds {
        let (class, words) = kind.names();
        svg.rect([x, 69], [14, 12], &format!("box {class}"));
        svg.text([x + 20, 79], "facts", words);
        x += 20 + LETTER * px(words.chars().count()) + 18;
    }
}

fn captions(svg: &mut Svg, left: i32, ends: [i32; 3]) {
    let y = HEAD - 8;
    svg.text([MARGIN + 34, y], "head", "layer");
    svg.text([left, y], "head", "what it computes, left to right");
    svg.text([ends[2] + BAR_GAP, y], "head", "share of GFLOPs");
    for (end, words) in ends.into_iter().zip(["output", "parameters", "GFLOPs"]) {
        svg.text([end, y], "head end", words);
    }
}

/// Draws the edges between the cards.
fn connect(svg: &mut Svg, cards: &[Card<'_>], tops: &[i32], left: i32) {
    let position: HashMap<usize, usize> =
        cards.iter().enumerate().map(|(at, card)| (card.layer.index, at)).collect();
    let bottom = |at: usize| tops[at] + cards[at].height();
    for (at, card) in cards.iter().enumerate() {
        for (from, [x, y]) in card.ports() {
            let port = [left + x, tops[at] + y];
            let note = [left - 6, port[1] - 4];
            match from {
                From::Image => svg.text(note, "source", "image"),
                From::Layer(index) => match position.get(&index) {
                    Some(&source) if source + 1 == at => {
                        svg.path(&drop([port[0] - 9, bottom(source)], port), "edge");
                    }
                    Some(&source) => {
                        let start = [left, bottom(source) - 7];
                        svg.dot(start, "skipdot");
                        svg.path(&bow(start, port, at.abs_diff(source)), "skip");
                        svg.text(note, "source", &format!("from {index}"));
                    }
                    None => svg.text(note, "source", &format!("from {index}")),
                },
            }
        }
    }
}

/// Straight down, then around a corner to the right.
fn drop([x0, y0]: [i32; 2], [x1, y1]: [i32; 2]) -> String {
    format!("M{x0} {y0}V{}Q{x0} {y1} {x1} {y1}", y1 - (x1 - x0))
}

/// A curve that leaves to the left and comes back; the more layers it passes, the further out.
fn bow([x0, y0]: [i32; 2], [x1, y1]: [i32; 2], passed: usize) -> String {
    // A cubic reaches three quarters of the way to its control points.
    let reach = (30 + 9 * px(passed)).min(CURVES * 5 / 4);
    let x = x0 - reach;
    format!("M{x0} {y0}C{x} {y0} {x} {y1} {x0} {y1}H{x1}")
}
