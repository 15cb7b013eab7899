//! Damaged and hostile ONNX files: never a panic, never more memory than the file and a bound that does not depend on it.

use std::path::{Path, PathBuf};

use allocation_counter::measure;
use proptest::prelude::*;
use proptest::sample::Index;
use train_host::Result;
use train_host::import;
use train_host::model::Checkpoint;

use crate::detectors::{CLASSES, decoded_anchors, decoded_split};
use crate::file::{Attr, Onnx, axis, bytes, perm};

/// Most that understanding a small file may ever take.
const MAX_BYTES: u64 = 256 << 20;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    Place { _dir: dir, path }
}

fn import(path: &Path, bytes: &[u8]) -> Result<Checkpoint> {
    std::fs::write(path, bytes).unwrap();
    import::load(path)
}

/// The error that `bytes` give, within bounds of memory.
fn bounded_refusal(bytes: &[u8]) -> String {
    let place = place();
    let mut outcome = None;
    let info = measure(|| outcome = Some(import(&place.path, bytes)));
    assert!(info.bytes_max < MAX_BYTES, "{} MiB", info.bytes_max >> 20);
    outcome.unwrap().expect_err("was taken").to_string()
}

/// A model whose only trouble is what `build` puts between the image's convolution and the output.
fn with(build: impl FnOnce(&mut Onnx, &str) -> String) -> Vec<u8> {
    let mut onnx = Onnx::new();
    let map = onnx.conv("images", [3, 8], 8, 8);
    let map = build(&mut onnx, &map);
    onnx.outputs = vec![onnx.conv(&map, [8, 3 * (5 + CLASSES)], 1, 1)];
    onnx.bytes()
}

#[test]
fn small_files_cannot_ask_for_large_tensors() {
    let huge = 1_i64 << 40;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "ConstantOfShape",
            with(|onnx, x| {
                let shape = onnx.ints(&[1 << 14, 1 << 14, 4]);
                let zeros = onnx.add("ConstantOfShape", &[&shape], &[]);
                onnx.add("Add", &[x, &zeros], &[])
            }),
        ),
        (
            "Expand",
            with(|onnx, x| {
                let (one, shape) = (onnx.floats(&[1], &[1.0]), onnx.ints(&[huge, huge]));
                let wide = onnx.add("Expand", &[&one, &shape], &[]);
                onnx.add("Add", &[x, &wide], &[])
            }),
        ),
        (
            "Expand",
            with(|onnx, x| {
                let shape = onnx.ints(&[1 << 26, 8, 4, 4]);
                onnx.add("Expand", &[x, &shape], &[])
            }),
        ),
        (
            "Range",
            with(|onnx, x| {
                let limits = [0, i64::MAX, 1].map(|limit| {
                    let list = onnx.ints(&[limit]);
                    let shape = onnx.ints(&[]);
                    onnx.add("Reshape", &[&list, &shape], &[])
                });
                let range = onnx.add("Range", &[&limits[0], &limits[1], &limits[2]], &[]);
                onnx.add("Add", &[x, &range], &[])
            }),
        ),
        (
            "Range",
            with(|onnx, x| {
                let limits = [0.0, 1e30, 1e-30].map(|limit| onnx.floats(&[], &[limit]));
                let range = onnx.add("Range", &[&limits[0], &limits[1], &limits[2]], &[]);
                onnx.add("Add", &[x, &range], &[])
            }),
        ),
        (
            "Conv",
            with(|onnx, x| {
                let weight = onnx.random(&[8, 8, 1, 1], 1.0);
                onnx.add("Conv", &[x, &weight], &[("strides", Attr::Ints(vec![huge, huge]))])
            }),
        ),
        (
            "Conv",
            with(|onnx, x| {
                let weight = onnx.random(&[8, 8, 1, 1], 1.0);
                onnx.add("Conv", &[x, &weight], &[("pads", Attr::Ints(vec![huge; 4]))])
            }),
        ),
        (
            "Resize",
            with(|onnx, x| {
                let scales = onnx.floats(&[4], &[1.0, 1.0, 1e30, 1e30]);
                onnx.add("Resize", &[x, "", &scales], &[("mode", Attr::Text("nearest"))])
            }),
        ),
        (
            "Split",
            with(|onnx, x| {
                onnx.add("Split", &[x], &[("num_outputs", Attr::Int(huge)), ("axis", Attr::Int(1))])
            }),
        ),
        (
            "Concat",
            with(|onnx, x| {
                let mut x = x.to_owned();
                for _ in 0..40 {
                    x = onnx.add("Concat", &[&x, &x], &axis(1));
                }
                x
            }),
        ),
    ];
    for (op, bytes) in cases {
        let error = bounded_refusal(&bytes);
        assert!(error.contains(&format!("({op})")) || op == "Split", "{op}: {error}");
    }
}

#[test]
fn decodings_cannot_grow_without_end() {
    // Every product doubles the boxes; whatever the shape inference lets pass has to stop when it is run.
    let mut onnx = decoded_split();
    let mut output = onnx.outputs[0].clone();
    for _ in 0..64 {
        output = onnx.add("Concat", &[&output, &output], &axis(2));
    }
    onnx.outputs = vec![output];
    let error = bounded_refusal(&onnx.bytes());
    assert!(error.contains("Concat"), "{error}");

    let mut onnx = decoded_split();
    let output = onnx.outputs[0].clone();
    let shape = onnx.ints(&[100_000, 1, 1]);
    let mut wide: Vec<String> = (0..64).map(|_| onnx.add("Expand", &[&output, &shape], &[])).collect();
    while wide.len() > 1 {
        wide = wide.chunks(2).map(|pair| onnx.add("Add", &[&pair[0], &pair[1]], &[])).collect();
    }
    onnx.outputs = wide;
    bounded_refusal(&onnx.bytes());
}

#[test]
fn large_images_do_not_make_large_heads() {
    let mut onnx = Onnx::new();
    let side = Some(2_048);
    onnx.inputs[0].2 = vec![Some(1), Some(3), side, side];
    onnx.outputs = vec![onnx.conv("images", [3, 3 * (5 + CLASSES)], 1, 1)];
    let error = bounded_refusal(&onnx.bytes());
    assert!(error.contains("last convolutions of 88080384 numbers"), "{error}");
}

#[test]
fn pools_that_widen_maps_end() {
    let error = bounded_refusal(&with(|onnx, x| {
        let wide: Vec<(&str, Attr)> =
            vec![("kernel_shape", Attr::Ints(vec![1, 1])), ("pads", Attr::Ints(vec![1024; 4]))];
        (0..200).fold(x.to_owned(), |x, _| onnx.add("MaxPool", &[&x], &wide))
    }));
    assert!(error.contains("(MaxPool)") && error.contains("beyond any detector"), "{error}");
}

#[test]
fn files_of_many_small_parts_stay_small() {
    let nothing = bytes(1, &[]);
    let nodes: Vec<u8> = nothing.repeat(4 << 20);
    let error = bounded_refusal(&bytes(7, &nodes));
    assert!(error.contains("a million parts"), "{error}");
    let many = |count| {
        let mut onnx = Onnx::new();
        let mut x = "images".to_owned();
        for _ in 0..count {
            x = onnx.add("Relu", &[&x], &[]);
        }
        onnx.outputs = vec![onnx.conv(&x, [3, 21], 8, 8)];
        bounded_refusal(&onnx.bytes())
    };
    assert!(many(5_000).contains("5001 nodes"));
    let deep = many(4_990);
    assert!(deep.contains("its anchors"), "deep graphs need no deep stack: {deep}");
}

#[test]
fn files_cut_short_are_refused_at_every_length() {
    let place = place();
    let whole = decoded_split().bytes();
    assert!(import(&place.path, &whole).is_ok());
    for length in (0..whole.len()).step_by(307) {
        assert!(import(&place.path, &whole[..length]).is_err(), "{length} bytes");
    }
}

fn model(split: bool) -> Onnx {
    if split { decoded_split() } else { decoded_anchors() }
}

const OPS: [&str; 23] = [
    "Reshape",
    "Transpose",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Gather",
    "Expand",
    "Concat",
    "Shape",
    "Cast",
    "Range",
    "ConstantOfShape",
    "Where",
    "Equal",
    "Softmax",
    "MatMul",
    "Conv",
    "MaxPool",
    "Resize",
    "BatchNormalization",
    "Mul",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_never_panic(
        split in any::<bool>(),
        places in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let place = place();
        let mut bytes = model(split).bytes();
        for (at, byte) in places {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = import(&place.path, &bytes);
    }

    #[test]
    fn graphs_put_together_at_random_never_panic(
        split in any::<bool>(),
        changes in proptest::collection::vec(
            (any::<Index>(), any::<Index>(), any::<Index>(), 0_u8..8, prop_oneof![-4_i64..8, any::<i64>()]),
            1..4,
        ),
    ) {
        let place = place();
        let mut onnx = model(split);
        for (a, b, c, kind, number) in changes {
            let names: Vec<String> =
                onnx.nodes.iter().flat_map(|node| node.outputs.clone()).chain(onnx.stored.iter().map(|s| s.name.clone())).collect();
            let at = a.index(onnx.nodes.len());
            let stored = b.index(onnx.stored.len());
            match kind {
                0 => onnx.nodes[at].op = OPS[b.index(OPS.len())].into(),
                1 => {
                    let inputs = &mut onnx.nodes[at].inputs;
                    let place = c.index(inputs.len() + 1);
                    inputs.resize(inputs.len().max(place + 1), String::new());
                    inputs[place] = names[b.index(names.len())].clone();
                }
                2 => onnx.nodes[at].attributes = axis(number).into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
                3 => onnx.nodes[at].attributes = perm(&[number, 0, 1]).into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
                4 => {
                    let count = onnx.stored[stored].dims.iter().product::<i64>().max(1);
                    if onnx.stored[stored].data_type == 7 && count < 8 {
                        let values: Vec<u8> = (0..count).flat_map(|_| number.to_le_bytes()).collect();
                        onnx.stored[stored].data = bytes(9, &values);
                    }
                }
                5 => {
                    let dims = &mut onnx.stored[stored].dims;
                    let by = 1.min(dims.len());
                    dims.rotate_left(by);
                }
                6 => drop(onnx.nodes.remove(at)),
                _ => onnx.nodes[at].inputs.clear(),
            }
            if onnx.nodes.is_empty() {
                break;
            }
        }
        let _ = import(&place.path, &onnx.bytes());
    }
}
