use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("class{index}")).collect()
}

fn load(name: &str, classes: usize) -> Architecture {
    Architecture::load(name, &Overrides::default(), &names(classes)).unwrap()
}

fn described(name: &str) -> &'static str {
    named::description(name).unwrap()
}

/// yolov5n's description with `from` replaced by `to`, which must be there.
fn edited(from: &str, to: &str) -> String {
    let text = described("yolov5n");
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn error_of(text: &str) -> String {
    let error =
        Architecture::parse("edited", text, &Overrides::default(), &names(3)).map(|model| model.description);
    error.unwrap_err().to_string()
}

#[test]
fn named_models_have_three_outputs_at_strides_8_16_32() {
    for name in MODEL_NAMES {
        let model = load(name, 80);
        assert_eq!(model.head.strides, [8, 16, 32], "{name}");
        let shapes = model.graph.shapes(640, 320).unwrap();
        let outputs: Vec<_> = model.graph.outputs.iter().map(|&id| shapes[id]).collect();
        assert_eq!(outputs, [[255, 80, 40], [255, 40, 20], [255, 20, 10]], "{name}");
        model.check_imgsz(320).unwrap();
        for (imgsz, suggestion) in [(0, "32"), (321, "352"), (8193, "8192"), (usize::MAX, "8192")] {
            let error = model.check_imgsz(imgsz).unwrap_err().to_string();
            assert!(error.contains("multiple of 32"), "{error}");
            assert!(error.ends_with(&format!("try {suggestion} px")), "{error}");
        }
    }
}

#[test]
fn description_parses_to_the_same_model_again() {
    for name in MODEL_NAMES {
        let overrides = Overrides { act: Some(Activation::LeakyRelu), block: Some(Block::Qarepvgg) };
        let model = Architecture::load(name, &overrides, &names(3)).unwrap();
        let again = Architecture::parse(name, &model.description, &Overrides::default(), &names(3)).unwrap();
        assert_eq!(model, again);
    }
}

#[test]
fn images_are_rgb() {
    let error = error_of(&edited("depth_multiple", "ch: 1\ndepth_multiple"));
    assert!(error.contains("edited") && error.contains("1 channels") && error.contains("ch: 3"), "{error}");
    let text = edited("depth_multiple", "ch: 3\ndepth_multiple");
    Architecture::parse("edited", &text, &Overrides::default(), &names(3)).unwrap();
}

#[test]
fn overrides_replace_activation_and_block() {
    let overrides = Overrides { act: Some(Activation::Relu), block: Some(Block::Qarepvgg) };
    let model = Architecture::load("repyolov5n", &overrides, &names(3)).unwrap();
    let acts = model.graph.nodes.iter().filter_map(|node| match node.op {
        Op::Act(act) => Some(act),
        _ => None,
    });
    assert!(acts.clone().count() > 0 && acts.into_iter().all(|act| act == Activation::Relu));
    assert!(model.graph.nodes.iter().any(|node| node.name == "model.1.bn"));
}

#[test]
fn rep_blocks_have_their_branches() {
    let inputs_of = |model: &Architecture, name: &str| {
        let node = model.graph.nodes.iter().find(|node| node.name == name).unwrap();
        node.inputs.iter().map(|&id| model.graph.nodes[id].name.clone()).collect::<Vec<_>>()
    };
    let repvgg = load("repyolov5n", 3);
    assert_eq!(inputs_of(&repvgg, "model.1.add"), ["model.1.dense.bn", "model.1.pointwise.bn"]);
    let (block, before) = ("model.2.m.0.cv2", "model.2.m.0.cv1.act");
    let branches = inputs_of(&repvgg, &format!("{block}.add"));
    assert_eq!(branches, ["dense.bn", "pointwise.bn", "identity"].map(|branch| format!("{block}.{branch}")));
    assert_eq!(inputs_of(&repvgg, &format!("{block}.identity")), [before]);
    assert_eq!(inputs_of(&repvgg, &format!("{block}.act")), [format!("{block}.add")]);

    let overrides = Overrides { act: None, block: Some(Block::Qarepvgg) };
    let qarepvgg = Architecture::load("repyolov5n", &overrides, &names(3)).unwrap();
    let branches = inputs_of(&qarepvgg, &format!("{block}.add"));
    assert_eq!(branches, [format!("{block}.dense.bn"), format!("{block}.pointwise.conv"), before.to_owned()]);
    assert_eq!(inputs_of(&qarepvgg, &format!("{block}.bn")), [format!("{block}.add")]);
    assert_eq!(inputs_of(&qarepvgg, &format!("{block}.act")), [format!("{block}.bn")]);
}

#[test]
fn rep_models_with_blocks_replaced_by_convolutions_are_their_plain_twins() {
    let text = described("repyolov5s").replace("RepConv", "Conv").replace("C3Rep", "C3");
    let model = Architecture::parse("yolov5s", &text, &Overrides::default(), &names(80)).unwrap();
    assert_eq!(model.graph, load("yolov5s", 80).graph);
}

#[test]
fn unknown_name_lists_the_known_ones() {
    let error = Architecture::load("yolov9", &Overrides::default(), &names(1)).unwrap_err().to_string();
    assert!(MODEL_NAMES.iter().all(|name| error.contains(name)), "{error}");
}

#[test]
fn files_are_read_and_their_absence_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.yaml");
    let load = |path: &Path| Architecture::load(path.to_str().unwrap(), &Overrides::default(), &names(2));
    assert!(load(&path).unwrap_err().to_string().contains("mine.yaml"));
    std::fs::write(&path, described("yolov5n")).unwrap();
    assert_eq!(load(&path).unwrap().name, "mine");
    std::fs::write(&path, [b'\xff', b'\xfe']).unwrap();
    assert!(load(&path).is_err());
}

#[test]
fn class_names_are_needed() {
    for classes in [0, MAX_CLASSES + 1] {
        assert!(Architecture::load("yolov5n", &Overrides::default(), &names(classes)).is_err());
    }
    let twice = [names(3), names(1)].concat();
    let error = Architecture::load("yolov5n", &Overrides::default(), &twice).unwrap_err().to_string();
    assert!(error.contains(&format!("two classes called {:?}", twice[0])), "{error}");
}

#[test]
fn each_mistake_is_named_with_layer_and_row() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("C3, [128]", "C4, [128]", &["layer 2", "[-1, 3, C4, [128]]", "unknown module \"C4\"", "SPPF"]),
        ("[[-1, 6], 1", "[[-1, 77], 1", &["layer 12", "`from` 77", "12"]),
        ("[[-1, 6], 1", "[[-1, -13], 1", &["layer 12", "`from` -13"]),
        ("[[-1, 6], 1", "[[-1, x], 1", &["layer 12", "`from`"]),
        ("[[-1, 6], 1", "[[-1, 4], 1", &["layer 12", "64x64 and 128x128 px"]),
        ("[[-1, 6], 1", "[6, 1", &["layer 12", "1 inputs"]),
        ("Conv, [128, 3, 2]", "Conv, [wide, 3, 2]", &["layer 1 ", "channels wide", "[channels, kernel"]),
        ("Conv, [128, 3, 2]", "Conv, [128, -3, 2]", &["layer 1 ", "kernel -3"]),
        ("Conv, [128, 3, 2]", "Conv, [128, 3.5, 2]", &["layer 1 ", "kernel 3.5"]),
        ("Conv, [128, 3, 2]", "Conv, [128, 3, 0]", &["layer 1 ", "stride of 0"]),
        ("Conv, [128, 3, 2]", "Conv, [128, 3, 2, 1, 3]", &["layer 1 ", "3 groups"]),
        ("Conv, [128, 3, 2]", "Conv, [128, 3, 2, 1, 1, 1, 1]", &["layer 1 ", "7 arguments"]),
        ("Conv, [128, 3, 2]", "Conv, []", &["layer 1 ", "no channels"]),
        ("Conv, [128, 3, 2]", "Conv, [999999999999, 3, 2]", &["layer 1 ", "999999999999"]),
        ("Conv, [128, 3, 2]", "Conv, [0, 3, 2]", &["layer 1 ", "0 channels"]),
        ("Conv, [128, 3, 2]", "RepConv, [128, 5, 2]", &["layer 1 ", "kernel 5", "use Conv"]),
        ("Conv, [128, 3, 2]", "Conv", &["layer 1 ", "list of four"]),
        ("[-1, 1, Conv, [128, 3, 2]]", "[-1, 0, Conv, [128, 3, 2]]", &["layer 1 ", "number"]),
        ("SPPF, [1024, 5]", "SPPF, [1024, 4]", &["layer 9", "even window"]),
        ("nn.Upsample, [None, 2, nearest]", "nn.Upsample, [None, 2, bilinear]", &["layer 11", "bilinear"]),
        ("Concat, [1]", "Concat, [2]", &["layer 12", "axis"]),
        ("[[17, 20, 23]", "[[17, 20]", &["layer 24", "2 inputs and 3 anchor lists"]),
        ("[[17, 20, 23], 1, Detect, [nc, anchors]]", "[-1, 1, Conv, [8]]", &["layer 24", "Detect"]),
        ("C3, [512, False]", "C3, [512, 7]", &["layer 13", "shortcut 7"]),
        ("[-1, 3, C3, [1024, False]]", "[-2, 3, C3, [1024, False]]", &["layer 22", "no later layer reads"]),
        ("head:", "hed:", &["hed"]),
        ("nc: 80", "nc: many", &["nc"]),
        ("act: silu", "act: gelu", &["gelu", "leaky_relu", "mish"]),
        ("depth_multiple: 0.33", "depth_multiple: .inf", &["depth_multiple"]),
        ("width_multiple: 0.25", "width_multiple: -1", &["width_multiple"]),
        ("[10, 13, 16, 30, 33, 23]", "[10, 13, 16]", &["anchor"]),
        ("[10, 13, 16, 30, 33, 23]", "[10, 13, 16, 30, 33, -23]", &["anchor", "-23"]),
    ];
    for (from, to, expected) in cases {
        let error = error_of(&edited(from, to));
        for part in *expected {
            assert!(error.contains(part), "{to}: {part:?} is not in: {error}");
        }
    }
}

#[test]
fn odd_sizes_and_absurd_models_are_refused() {
    let odd = "nc: 1\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors: [[1, 2]]\nbackbone:
  - [-1, 1, Conv, [8, 2, 1, 0]]\n  - [-1, 1, Focus, [8, 3]]\nhead:\n  - [[-1], 1, Detect, [nc, anchors]]\n";
    let error = error_of(odd);
    assert!(error.contains("layer 1 ") && error.contains("1023x1023"), "{error}");

    let huge = edited("width_multiple: 0.25", "width_multiple: 15.9");
    assert!(error_of(&huge).contains("weights"), "{}", error_of(&huge));
    let deep = edited("[-1, 3, C3, [128]]", "[-1, 100, C3, [128]]")
        .replace("depth_multiple: 0.33", "depth_multiple: 16");
    let error = error_of(&deep);
    assert!(error.contains("layer 2 ") && error.contains("more than"), "{error}");
    assert!(error_of(&"#".repeat(yaml::MAX_BYTES + 1)).contains("bytes"));
}

#[test]
fn alias_bombs_end_in_an_error() {
    let mut text = String::from("nc: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    error_of(&text);
}

/// Pieces that mean something somewhere in the grammar, and extreme numbers.
const PIECES: &[&str] = &[
    "-1",
    "0",
    "1",
    "2",
    "3",
    "7",
    "64",
    "16384",
    "16385",
    "99999999999999999999",
    "-9223372036854775808",
    "1e308",
    "0.001",
    ".nan",
    "None",
    "true",
    "[]",
    "{}",
    "~",
    "Conv",
    "RepConv",
    "C3",
    "C3Rep",
    "Bottleneck",
    "BottleneckRep",
    "CSP",
    "CSPRep",
    "Focus",
    "SPP",
    "SPPF",
    "nn.Upsample",
    "nn.MaxPool2d",
    "Concat",
    "Detect",
    "nearest",
    "nc",
    "anchors",
    "&a",
    "*a",
    "!t",
    "[[-1, 4]",
    "\n",
    ": ",
    ", 5",
    "[5, 9, 13]",
    "qarepvgg",
    "relu",
];

#[test]
fn aliases_do_not_make_a_small_description_large() {
    let rows =
        format!("[-1, 1, Conv, &a [{}]], [-1, 1, Conv, [{}]]", "1,".repeat(100_000), "*a,".repeat(20_000));
    let text = format!(
        "depth_multiple: 1.0\nwidth_multiple: 1.0\nanchors: [[1, 1]]\nbackbone: [{rows}]\nhead: [[-1, 1, Conv, [1]]]\n"
    );
    assert!(error_of(&text).contains("aliases that make more"));
}

proptest! {
    #[test]
    fn mutated_descriptions_never_panic(
        model in 0..MODEL_NAMES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len()), 1..4),
    ) {
        // Words and the separators between them, so that an edit hits one token.
        let mut tokens: Vec<&str> = described(MODEL_NAMES[model]).split_inclusive([' ', ',', '[', ']', '\n', ':']).collect();
        for (place, piece) in &edits {
            let place = place.index(tokens.len());
            tokens[place] = PIECES[*piece];
            tokens.insert(place + 1, [" ", ", ", "]", ""][*piece % 4]);
        }
        check_any(&tokens.concat());
    }

    #[test]
    fn replaced_numbers_never_panic(
        model in 0..MODEL_NAMES.len(),
        place in any::<prop::sample::Index>(),
        number in prop_oneof![any::<i64>().prop_map(|n| n.to_string()), (-40i64..80).prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string())],
    ) {
        let text = described(MODEL_NAMES[model]);
        let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
        let at = digits[place.index(digits.len())];
        check_any(&format!("{}{number}{}", &text[..at], &text[at + 1..]));
    }
}

/// Whatever parses is sound and prints to a description of itself.
fn check_any(text: &str) {
    if let Ok(model) = Architecture::parse("mutated", text, &Overrides::default(), &names(2)) {
        model.validate().unwrap();
        let again =
            Architecture::parse("mutated", &model.description, &Overrides::default(), &names(2)).unwrap();
        assert_eq!(model, again);
    }
}
