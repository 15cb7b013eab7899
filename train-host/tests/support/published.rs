//! What others publish about the named models: parameters and floating-point operations, each with its source. Figures
//! only; what ours are is for the tests to count.

/// A figure and how far ours may lie from it.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub value: f64,
    /// Fraction of the value: 0 where the figure is exact.
    pub tolerance: f64,
}

impl Figure {
    pub fn fits(&self, found: f64) -> bool {
        (found - self.value).abs() <= self.tolerance * self.value
    }
}

/// What is published about a model with 80 classes.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    pub name: &'static str,
    /// Parameters in training: convolutions, γ and β.
    pub trained: Option<Figure>,
    /// Parameters of the fused form.
    pub fused: Option<Figure>,
    /// GFLOPs of the fused form for a square image of `side_px`, a multiply-add counting as two.
    pub gflops: Option<Figure>,
    pub side_px: usize,
    pub source: &'static str,
}

const fn exactly(value: f64) -> Option<Figure> {
    Some(Figure { value, tolerance: 0.0 })
}

const fn about(value: f64, tolerance: f64) -> Option<Figure> {
    Some(Figure { value, tolerance })
}

/// Counters of YOLOv5 add batch norms and activations to the convolutions, and its tables round to 0.1 GFLOPs.
const YOLOV5_COUNTS: f64 = 0.02;
/// Darknet adds pools and shortcuts, and prints two or three decimals.
const DARKNET_COUNTS: f64 = 0.001;
/// Our layout is not theirs, see the description in `models/`.
const OTHER_LAYOUT: f64 = 0.02;

const YOLOV5: &str =
    "YOLOv5 7.0: README's table of checkpoints (GFLOPs), summaries of training and of the fused model";
const AUTHOR: &str =
    "the article's repository: training parameters of repyolov5s; GFLOPs: YOLOv5 5.0, yolov5s";
const TWIN: &str = "fused it is its plain twin; training parameters: support/tally.rs";

/// One row a named model.
pub const PUBLISHED: [Published; 16] = [
    yolov5("yolov5n", 1_872_157.0, 1_867_405.0, 4.5),
    yolov5("yolov5s", 7_235_389.0, 7_225_885.0, 16.5),
    yolov5("yolov5m", 21_190_557.0, 21_172_173.0, 49.0),
    yolov5("yolov5l", 46_563_709.0, 46_533_693.0, 109.1),
    yolov5("yolov5x", 86_749_405.0, 86_705_005.0, 205.7),
    twin("repyolov5n", 1_867_405.0, 4.5),
    twin("repyolov5s", 7_225_885.0, 16.5),
    twin("repyolov5m", 21_172_173.0, 49.0),
    Published {
        name: "repyolov5s-lite",
        trained: exactly(7_535_293.0),
        fused: exactly(7_266_973.0),
        gflops: about(17.0, YOLOV5_COUNTS),
        side_px: 640,
        source: AUTHOR,
    },
    Published {
        // The article gives ratios to its block model; see `repvgg_a1_costs_what_the_article_says`.
        name: "yolov5s-repvgg-a1",
        trained: None,
        fused: None,
        gflops: None,
        side_px: 640,
        source: "widths and blocks: RepVGG, arXiv 2101.03697, table 2; totals: support/tally.rs",
    },
    Published {
        name: "v5lite-g",
        trained: None,
        fused: about(5.39e6, OTHER_LAYOUT),
        gflops: about(15.6, OTHER_LAYOUT),
        side_px: 640,
        source: "YOLOv5-Lite: README's comparison of ablation results",
    },
    yolov3_spp(),
    Published { name: "repyolov3-spp", trained: None, source: TWIN, ..yolov3_spp() },
    yolov4(),
    Published { name: "repyolov4", trained: None, source: TWIN, ..yolov4() },
    Published {
        name: "repyolov5p",
        trained: None,
        fused: None,
        gflops: None,
        side_px: 160,
        source: "ours: yolov5n at half the width; totals: support/tally.rs",
    },
];

const fn yolov5(name: &'static str, trained: f64, fused: f64, gflops: f64) -> Published {
    Published {
        name,
        trained: exactly(trained),
        fused: exactly(fused),
        gflops: about(gflops, YOLOV5_COUNTS),
        side_px: 640,
        source: YOLOV5,
    }
}

const fn twin(name: &'static str, fused: f64, gflops: f64) -> Published {
    Published { trained: None, source: TWIN, ..yolov5(name, 0.0, fused, gflops) }
}

const fn yolov3_spp() -> Published {
    Published {
        name: "yolov3-spp",
        trained: about(6.299_87e7, 1e-6),
        fused: about(6.297_19e7, 1e-6),
        gflops: about(141.45, DARKNET_COUNTS),
        side_px: 608,
        source: "summaries of YOLOv3-SPP in PyTorch, printed to six digits; GFLOPs: pjreddie.com/darknet/yolo",
    }
}

const fn yolov4() -> Published {
    Published {
        name: "yolov4",
        trained: exactly(64_363_101.0),
        fused: None,
        gflops: about(128.459, DARKNET_COUNTS),
        side_px: 608,
        source: "parameters: summaries of YOLOv4 in Keras and PyTorch; GFLOPs: AlexeyAB/darknet, yolov4.cfg",
    }
}
