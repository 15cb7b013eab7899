//! How fast a model must be on a board: what the self-test holds a board to.

use serde::{Deserialize, Serialize};

use super::{Backend, Precision};

/// The speed of one model on one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Models it holds for, as manifests name them; a re-parameterized one costs what its plain form does.
    pub models: Vec<String>,
    /// Side of the square input.
    pub input_px: u32,
    /// The activation that the figure was measured with. It chooses no budget, because manifests do not tell activations: where
    /// figures with several are known, the file has the slowest, which the others keep too.
    pub activation: Activation,
    /// Its number format.
    pub precision: Precision,
    /// The engine that runs it.
    pub backend: Backend,
    /// NPU cores that run it; none on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npu_cores: Option<u32>,
    /// Inferences a second with the clocks fixed: no reading, pre-processing or decoding is in it.
    pub inference_fps: f64,
}

/// What follows the convolutions of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// ReLU.
    Relu,
    /// SiLU.
    Silu,
}

impl super::Board {
    /// The budget of a model; no file has two that fit the same.
    pub fn budget(
        &self,
        model: &str,
        input_px: u32,
        precision: Precision,
        backend: Backend,
    ) -> Option<&Budget> {
        self.budgets.iter().find(|budget| budget.fits(model, input_px, precision, backend))
    }
}

impl Budget {
    /// Whether a model of this name, size and precision is held to it on this engine.
    pub(crate) fn fits(&self, model: &str, input_px: u32, precision: Precision, backend: Backend) -> bool {
        self.models.iter().any(|name| name == model)
            && (self.input_px, self.precision, self.backend) == (input_px, precision, backend)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Backend, Board, Precision};

    #[test]
    fn a_budget_is_found_by_model_size_precision_and_engine() {
        let board = Board::find("rk3588").unwrap();
        let budget = board.budget("yolov5s", 640, Precision::Int8, Backend::Rknn).unwrap();
        assert_eq!(budget.inference_fps, 48.4);
        assert!(board.budget("yolov5s", 320, Precision::Int8, Backend::Rknn).is_none());
        assert!(board.budget("yolov5s", 640, Precision::Int8, Backend::Tract).is_none());
        assert!(board.budget("someone-elses", 640, Precision::Int8, Backend::Rknn).is_none());
    }

    /// `build-board` packs it where no other model is named, for images of 160 px. That each NPU with any figure has one for it is
    /// tested in xtask, with what its bundle says of itself.
    #[test]
    fn a_board_without_a_figure_for_the_shipped_model_says_so() {
        for name in crate::names() {
            let board = Board::find(name).unwrap();
            let is_said = crate::sources(name).unwrap().iter().any(|(_, text)| {
                text.lines().any(|line| line.starts_with('#') && line.contains("repyolov5p"))
            });
            for backend in [Backend::Rknn, Backend::Tract] {
                let budget = board.budget("repyolov5p", 160, Precision::Int8, backend);
                assert!(budget.is_some() || is_said, "{name}, {backend:?}");
            }
        }
    }

    /// The package of a board without an NPU holds the shipped model for its CPU: its speed is judged where a figure is known.
    #[test]
    fn a_cpu_with_a_figure_is_held_to_it() {
        let fps = |name: &str, model, px, precision| {
            let board = Board::find(name).unwrap();
            board.budget(model, px, precision, Backend::Tract).map(|found| found.inference_fps)
        };
        assert_eq!(fps("rpi5", "yolov5n", 640, Precision::Fp32), Some(5.6));
        for (name, precision, expected) in
            [("rpi5", Precision::Fp32, 5.6), ("rpi5", Precision::Int8, 5.6), ("rk3588", Precision::Int8, 6.2)]
        {
            assert_eq!(fps(name, "repyolov5p", 160, precision), Some(expected), "{name}, {precision:?}");
        }
    }
}
