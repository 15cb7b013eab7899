//! The models that can be asked for by name: the descriptions in `models/`, compiled in. Never parses one.

/// Declares the names; the description of each is the file of that name.
macro_rules! named {
    ($($name:literal),+ $(,)?) => {
        /// Models that can be asked for by name.
        pub const MODEL_NAMES: [&str; [$($name),+].len()] = [$($name),+];

        const DESCRIPTIONS: [&str; MODEL_NAMES.len()] =
            [$(include_str!(concat!("../../models/", $name, ".yaml"))),+];
    };
}

named![
    "yolov5n",
    "yolov5s",
    "yolov5m",
    "yolov5l",
    "yolov5x",
    "repyolov5n",
    "repyolov5s",
    "repyolov5m",
    "repyolov5s-lite",
    "yolov5s-repvgg-a1",
    "v5lite-g",
    "yolov3-spp",
    "repyolov3-spp",
    "yolov4",
    "repyolov4",
    "repyolov5p",
];

/// The description of the model called `name`.
pub(super) fn description(name: &str) -> Option<&'static str> {
    MODEL_NAMES.iter().position(|known| *known == name).map(|index| DESCRIPTIONS[index])
}
