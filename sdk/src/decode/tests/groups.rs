//! Grids of more cells than are looked at together, and of more than two classes: where the cells of a class lie side by side,
//! the best class is found for whole groups of them, and for the part of a group that is left at the end.

use super::super::winners::GROUP;
use super::*;

const ROWS: usize = 6;
const COLUMNS: usize = 8;
const MANY: usize = 7;
const PLANES: usize = 2 * (5 + MANY);

fn decode() -> Decode {
    Decode::Yolov5 {
        strides: vec![8],
        anchors_px: vec![vec![[10.0, 13.0], [16.0, 30.0]]],
        spread: Vec::new(),
    }
}

fn spec(dtype: DType, layout: Layout, quant: Option<Quant>) -> TensorSpec {
    let shape = match layout {
        Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, PLANES, ROWS, COLUMNS],
        Layout::Nhwc => [1, ROWS, COLUMNS, PLANES],
    };
    TensorSpec { name: "o".into(), dtype, layout, shape, quant }
}

/// Boxes that pass, in their order.
fn found(spec: &TensorSpec, data: TensorData, labels: Labels) -> Vec<candidates::Candidate> {
    let limits = Limits { labels, max_candidates: 1000, ..Limits::device(0.1, 0.5) };
    let mut decoder = Decoder::new(&decode(), MANY, std::slice::from_ref(spec), limits).unwrap();
    let mut output = Tensor::zeroed(spec);
    output.data = data;
    decoder.detect(&[output], &LetterboxMap::fit(64, 48, &Preprocess::yolo(64, 48))).unwrap();
    decoder.suppression.kept().to_vec()
}

/// Reorders channels-first values to channels-last.
fn cell_by_cell<T: Copy>(planes: &[T]) -> Vec<T> {
    let cells = ROWS * COLUMNS;
    (0..planes.len()).map(|i| planes[i % PLANES * cells + i / PLANES]).collect()
}

#[test]
fn the_grid_has_a_whole_group_and_part_of_one() {
    assert!(ROWS * COLUMNS > GROUP && !(ROWS * COLUMNS).is_multiple_of(GROUP));
}

proptest! {
    #[test]
    fn groups_of_cells_decode_as_single_ones(
        stored in proptest::collection::vec(any::<i8>(), PLANES * ROWS * COLUMNS),
        scale in 0.01_f32..0.1,
        zero_point in -60_i32..60,
        labels in any_labels(),
    ) {
        let quant = Quant { scale, zero_point };
        let real: Vec<f32> = stored.iter().map(|q| (i32::from(*q) - zero_point) as f32 * scale).collect();
        // Classes of a cell side by side: no cell is looked at with another one.
        let expected = found(
            &spec(DType::F32, Layout::Nhwc, None),
            TensorData::F32(cell_by_cell(&real)),
            labels,
        );
        let floats = spec(DType::F32, Layout::Nchw, None);
        prop_assert_eq!(&found(&floats, TensorData::F32(real), labels), &expected);
        let signed = spec(DType::I8, Layout::Nchw, Some(quant));
        prop_assert_eq!(&found(&signed, TensorData::I8(stored.clone()), labels), &expected);
        let unsigned = spec(DType::U8, Layout::Nchw, Some(Quant { scale, zero_point: zero_point + 128 }));
        let shifted = stored.iter().map(|q| q.cast_unsigned() ^ 0x80).collect();
        prop_assert_eq!(&found(&unsigned, TensorData::U8(shifted), labels), &expected);
    }
}
