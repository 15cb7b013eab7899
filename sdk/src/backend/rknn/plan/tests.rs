use artifact::{DType, Layout, Quant, Tensor};
use proptest::prelude::*;

use super::*;
use crate::backend::rknn::buffers::{Buffer, Output};

const QUANT: Quant = Quant { scale: 0.5, zero_point: 3 };
const BOTH: Paths = Paths { zero_copy: true, copied: true };

fn attr(name: &str, dims: &[u32], fmt: rknn_tensor_format, type_: rknn_tensor_type) -> rknn_tensor_attr {
    let mut attr =
        rknn_tensor_attr { fmt, type_, scale: QUANT.scale, zp: QUANT.zero_point, ..Default::default() };
    attr.qnt_type = rknn_tensor_qnt_type::RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC;
    attr.n_dims = u32::try_from(dims.len()).unwrap();
    attr.dims[..dims.len()].copy_from_slice(dims);
    for (to, byte) in attr.name.iter_mut().zip(name.bytes()) {
        *to = std::ffi::c_char::from_ne_bytes([byte]);
    }
    attr.n_elems = dims.iter().product();
    attr.size = attr.n_elems * if type_ == rknn_tensor_type::RKNN_TENSOR_FLOAT16 { 2 } else { 1 };
    attr.size_with_stride = attr.size;
    attr
}

const INT8: rknn_tensor_type = rknn_tensor_type::RKNN_TENSOR_INT8;

/// 21 channels of 3x5 cells, in blocks of 16 channels.
fn native() -> rknn_tensor_attr {
    attr("o", &[1, 2, 3, 5, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, INT8)
}

fn spec() -> TensorSpec {
    let shape = [1, 21, 3, 5];
    TensorSpec { name: "o".into(), dtype: DType::I8, layout: Layout::Nchw, shape, quant: Some(QUANT) }
}

fn complaint(attr: &rknn_tensor_attr, spec: &TensorSpec) -> String {
    native_output(attr, spec).map(drop).expect_err("was planned").to_string()
}

#[test]
fn an_output_in_blocks_is_read_in_place() {
    let plan = native_output(&native(), &spec()).unwrap();
    assert_eq!(plan.spec.layout, Layout::Nc1hwc2 { c2: 16, plane: 15 });
    assert_eq!((plan.bytes, plan.reading, plan.spec.quant), (2 * 15 * 16, Reading::InPlace, Some(QUANT)));
    // A plane filled up to 16 cells is given as one row.
    let filled = attr("o", &[1, 2, 1, 16, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, INT8);
    let plan = native_output(&filled, &spec()).unwrap();
    assert_eq!(plan.spec.layout, Layout::Nc1hwc2 { c2: 16, plane: 16 });
}

#[test]
fn memory_for_strides_is_more_than_the_elements_take() {
    // As rk3588 tells of 255 channels: 1,632,000 elements in 1,638,400 bytes.
    let mut attr = attr("o", &[1, 16, 80, 80, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, INT8);
    (attr.size, attr.size_with_stride) = (1_632_000, 1_638_400);
    let spec = TensorSpec { shape: [1, 255, 80, 80], ..spec() };
    assert_eq!(native_output(&attr, &spec).unwrap().bytes, 1_638_400);
    attr.size_with_stride = 1_632_000;
    assert!(complaint(&attr, &spec).contains("1632000 bytes of memory"));
}

#[test]
fn rows_that_are_padded_are_put_together() {
    let mut attr = attr("o", &[1, 3, 5, 21], rknn_tensor_format::RKNN_TENSOR_NHWC, INT8);
    attr.w_stride = 8;
    attr.size_with_stride = 3 * 8 * 21;
    let plan = native_output(&attr, &spec()).unwrap();
    assert_eq!(plan.reading, Reading::Rows { length: 5 * 21, distance: 8 * 21 });
    assert_eq!((plan.converted_bytes(), plan.spec.shape), (Some(3 * 5 * 21), [1, 3, 5, 21]));
    let mut output = Output { raw: Buffer::zeroed(plan.bytes), converted: Some(Buffer::zeroed(3 * 5 * 21)) };
    for (at, byte) in output.raw.bytes_mut().iter_mut().enumerate() {
        *byte = if at % (8 * 21) < 5 * 21 { 7 } else { 99 };
    }
    plan.convert(&mut output);
    let view = plan.view(&output);
    assert!(view.matches(&plan.spec));
    assert!(matches!(view.data, artifact::ViewData::I8(values) if values.iter().all(|value| *value == 7)));
    attr.size_with_stride -= 1;
    attr.size = 0;
    assert!(complaint(&attr, &spec()).contains("bytes of memory"));
}

#[test]
fn padded_rows_of_halves_are_widened() {
    let half = rknn_tensor_type::RKNN_TENSOR_FLOAT16;
    let mut attr = attr("o", &[1, 3, 5, 21], rknn_tensor_format::RKNN_TENSOR_NHWC, half);
    attr.w_stride = 8;
    attr.size_with_stride = 3 * 8 * 21 * 2;
    let plan = native_output(&attr, &spec()).unwrap();
    assert_eq!(plan.reading, Reading::Halves { length: 5 * 21 * 2, distance: 8 * 21 * 2 });
    let converted = Some(Buffer::zeroed(plan.converted_bytes().unwrap()));
    let mut output = Output { raw: Buffer::zeroed(plan.bytes), converted };
    for (at, bytes) in output.raw.bytes_mut().as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let real = if at % (8 * 21) < 5 * 21 { 1.5 } else { -99.0 };
        *bytes = half::f16::from_f32(real).to_ne_bytes();
    }
    plan.convert(&mut output);
    let view = plan.view(&output);
    assert!(view.matches(&plan.spec));
    assert!(matches!(view.data, artifact::ViewData::F32(values) if values.iter().all(|value| *value == 1.5)));
}

/// However many are widened at a time, each is what it is alone.
#[test]
fn every_half_is_widened_to_the_same_number() {
    let half = rknn_tensor_type::RKNN_TENSOR_FLOAT16;
    for columns in [1, 7, 8, 9, 64] {
        let rows = (1 << 16) / columns;
        let attr = attr("o", &[1, 1, rows, columns], rknn_tensor_format::RKNN_TENSOR_NCHW, half);
        let attr =
            rknn_tensor_attr { w_stride: columns + 3, size_with_stride: rows * (columns + 3) * 2, ..attr };
        let (height, width) = (size(rows), size(columns));
        let plan = native_output(&attr, &TensorSpec { shape: [1, 1, height, width], ..spec() }).unwrap();
        let converted = Some(Buffer::zeroed(plan.converted_bytes().unwrap()));
        let mut output = Output { raw: Buffer::zeroed(plan.bytes), converted };
        let halves = output.raw.bytes_mut().as_chunks_mut::<2>().0;
        for (bits, at) in (0..=u16::MAX).zip(0..height * width) {
            halves[at / width * (width + 3) + at % width] = bits.to_ne_bytes();
        }
        plan.convert(&mut output);
        let artifact::ViewData::F32(values) = plan.view(&output).data else { panic!("no floats") };
        assert_eq!(values.len(), height * width);
        for (bits, found) in (0..=u16::MAX).zip(values) {
            let alone = half::f16::from_bits(bits).to_f32();
            assert!(
                *found == alone || (found.is_nan() && alone.is_nan()),
                "{bits:#x} of {columns} a row: {found}"
            );
        }
    }
}

/// 21 channels of 3x5 cells in blocks of 16 channels, with rows that are 8 cells apart: told by the dimensions, by the stride,
/// or by both.
fn padded_blocks(type_: rknn_tensor_type, columns: u32, stride: u32) -> rknn_tensor_attr {
    let mut attr = attr("o", &[1, 2, 3, columns, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, type_);
    let bytes = if type_ == INT8 { 1 } else { 2 };
    (attr.w_stride, attr.size_with_stride) = (stride, 2 * 3 * 8 * 16 * bytes);
    attr
}

const PADDED: [(u32, u32); 4] = [(8, 0), (8, 5), (8, 8), (5, 8)];

/// Where the element of a dense output in blocks lies in one whose rows are padded.
fn in_padded(at: usize) -> usize {
    let (cell, lane) = (at / 16, at % 16);
    (cell / 5 * 8 + cell % 5) * 16 + lane
}

#[test]
fn padded_rows_of_blocks_are_put_together() {
    for (columns, stride) in PADDED {
        let attr = padded_blocks(INT8, columns, stride);
        let plan = native_output(&attr, &spec()).unwrap();
        assert_eq!(plan.spec.layout, Layout::Nc1hwc2 { c2: 16, plane: 15 });
        assert_eq!(plan.reading, Reading::Rows { length: 5 * 16, distance: 8 * 16 });
        let converted = Some(Buffer::zeroed(plan.converted_bytes().unwrap()));
        let mut output = Output { raw: Buffer::zeroed(plan.bytes), converted };
        output.raw.bytes_mut().fill(99);
        let value = |at: usize| u8::try_from(at % 97).unwrap();
        for at in 0..2 * 15 * 16 {
            output.raw.bytes_mut()[in_padded(at)] = value(at);
        }
        plan.convert(&mut output);
        let view = plan.view(&output);
        assert!(view.matches(&plan.spec));
        let artifact::ViewData::I8(values) = view.data else { panic!("{view:?}") };
        assert!(
            values.iter().enumerate().all(|(at, found)| found.cast_unsigned() == value(at)),
            "{values:?}"
        );
        let short = rknn_tensor_attr { size_with_stride: attr.size_with_stride - 1, size: 0, ..attr };
        assert!(complaint(&short, &spec()).contains("bytes of memory"));
    }
}

#[test]
fn padded_rows_of_blocks_of_halves_are_widened() {
    for (columns, stride) in PADDED {
        let attr = padded_blocks(rknn_tensor_type::RKNN_TENSOR_FLOAT16, columns, stride);
        let plan = native_output(&attr, &spec()).unwrap();
        assert_eq!(plan.reading, Reading::Halves { length: 5 * 16 * 2, distance: 8 * 16 * 2 });
        let converted = Some(Buffer::zeroed(plan.converted_bytes().unwrap()));
        let mut output = Output { raw: Buffer::zeroed(plan.bytes), converted };
        let halves = output.raw.bytes_mut().as_chunks_mut::<2>().0;
        halves.fill(half::f16::from_f32(-99.0).to_ne_bytes());
        let value = |at: usize| f32::from(u8::try_from(at % 97).unwrap());
        for at in 0..2 * 15 * 16 {
            halves[in_padded(at)] = half::f16::from_f32(value(at)).to_ne_bytes();
        }
        plan.convert(&mut output);
        let artifact::ViewData::F32(values) = plan.view(&output).data else { panic!("no floats") };
        assert!(values.iter().enumerate().all(|(at, found)| *found == value(at)), "{values:?}");
    }
}

/// Our layouts have no room between planes but what the dimensions tell.
#[test]
fn planes_that_are_further_apart_than_told_are_not_read() {
    let far = |mut attr: rknn_tensor_attr, rows: u32| {
        (attr.h_stride, attr.size_with_stride) = (rows, attr.size_with_stride * 2);
        attr
    };
    let nchw = attr("o", &[1, 21, 3, 5], rknn_tensor_format::RKNN_TENSOR_NCHW, INT8);
    let filled = attr("o", &[1, 2, 4, 5, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, INT8);
    for planes in [nchw, native()] {
        for rows in [0, 3] {
            native_output(&far(planes, rows), &spec()).unwrap();
        }
        for rows in [1, 4, u32::MAX] {
            let text = complaint(&far(planes, rows), &spec());
            assert!(text.contains(&format!("planes {rows} rows apart")), "{text}");
        }
    }
    assert_eq!(
        native_output(&far(filled, 4), &spec()).unwrap().spec.layout,
        Layout::Nc1hwc2 { c2: 16, plane: 20 }
    );
    assert!(complaint(&far(filled, 5), &spec()).contains("planes 5 rows apart"));
    // A single plane ends where its last row does.
    let nhwc = attr("o", &[1, 3, 5, 21], rknn_tensor_format::RKNN_TENSOR_NHWC, INT8);
    native_output(&far(nhwc, 4), &spec()).unwrap();
}

/// Rows behind the last one are what fills a plane up.
#[test]
fn planes_that_are_filled_up_by_rows_are_read_in_place() {
    let filled = attr("o", &[1, 2, 4, 5, 16], rknn_tensor_format::RKNN_TENSOR_NC1HWC2, INT8);
    let plan = native_output(&filled, &spec()).unwrap();
    assert_eq!(plan.spec.layout, Layout::Nc1hwc2 { c2: 16, plane: 20 });
    assert_eq!((plan.bytes, plan.reading), (2 * 20 * 16, Reading::InPlace));
}

#[test]
fn what_does_not_fit_the_bundle_is_named() {
    let with = |change: fn(&mut rknn_tensor_attr)| {
        let mut attr = native();
        change(&mut attr);
        attr
    };
    assert!(complaint(&with(|a| a.dims[1] = 1), &spec()).contains("[1, 1, 3, 5, 16]"));
    assert!(complaint(&with(|a| a.dims[4] = 0), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| a.dims[2] = 2), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| a.dims[3] = 4), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| (a.dims[2], a.w_stride) = (4, 6)), &spec()).contains("rows 6 apart"));
    assert!(complaint(&with(|a| (a.dims[2], a.dims[3]) = (2, 8)), &spec()).contains("[1, 2, 2, 8, 16]"));
    assert!(complaint(&with(|a| a.n_dims = 16), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| a.n_dims = u32::MAX), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| a.fmt = rknn_tensor_format(77)), &spec()).contains("lies in memory"));
    assert!(complaint(&with(|a| a.type_ = rknn_tensor_type(77)), &spec()).contains("element type 77"));
    assert!(complaint(&with(|a| a.zp = 4), &spec()).contains("zero point 4"));
    assert!(complaint(&with(|a| a.scale = f32::NAN), &spec()).contains("scale NaN"));
    let unstated = TensorSpec { quant: None, ..spec() };
    assert!(native_output(&native(), &unstated).is_ok());
    let unquantized = with(|a| a.qnt_type = rknn_tensor_qnt_type::RKNN_TENSOR_QNT_NONE);
    assert!(native_output(&unquantized, &unstated).is_err());
}

/// A model of one 4x6 image with 3 channels and one output.
fn attributes() -> Attributes {
    let nhwc = rknn_tensor_format::RKNN_TENSOR_NHWC;
    Attributes {
        input: attr("i", &[1, 4, 6, 3], nhwc, INT8),
        native_input: Some(rknn_tensor_attr { w_stride: 8, ..attr("i", &[1, 4, 6, 3], nhwc, INT8) }),
        outputs: vec![attr("o", &[1, 21, 3, 5], rknn_tensor_format::RKNN_TENSOR_NCHW, INT8)],
        native_outputs: Some(vec![native()]),
    }
}

fn input(dtype: DType, layout: Layout) -> TensorSpec {
    let shape = if layout == Layout::Nchw { [1, 3, 4, 6] } else { [1, 4, 6, 3] };
    let quant = (dtype == DType::I8).then_some(QUANT);
    TensorSpec { name: "i".into(), dtype, layout, shape, quant }
}

fn first(paths: &[Path]) -> Wanted {
    Wanted::First(paths.to_vec())
}

/// The plan for pixels.
fn planned(attributes: &Attributes, wanted: &Wanted) -> Result<Plan, Error> {
    Plan::new(attributes, &input(DType::U8, Layout::Nhwc), &[spec()], wanted, BOTH)
}

/// Whichever context runs a frame, its slot was filled, and its outputs are read, by the plan of the first.
#[test]
fn a_context_whose_tensors_lie_otherwise_than_the_first_ones_is_refused() {
    let plan = std::sync::Arc::new(planned(&attributes(), &first(&[Path::ZeroCopy, Path::Copied])).unwrap());
    let same = Wanted::Same(std::sync::Arc::clone(&plan));
    assert_eq!(planned(&attributes(), &same).unwrap().path, Path::ZeroCopy);
    let changes: [fn(&mut Attributes); 5] = [
        |other| other.native_outputs = None,
        |other| other.native_input.as_mut().unwrap().w_stride = 16,
        |other| other.native_input.as_mut().unwrap().size_with_stride = 1000,
        |other| other.native_outputs.as_mut().unwrap()[0].size_with_stride += 16,
        |other| other.native_outputs = Some(vec![padded_blocks(INT8, 8, 8)]),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = attributes();
        change(&mut other);
        assert!(planned(&other, &first(&[Path::ZeroCopy, Path::Copied])).is_ok(), "change {at}");
        let error = planned(&other, &same).map(drop).expect_err("was planned").to_string();
        // The first of them is left with copies, which are not what the others make.
        let reason = if at == 0 { "how outputs lie" } else { "lie otherwise" };
        assert!(error.contains(reason), "change {at}: {error}");
    }
    // Its numbers for the tensors are its own.
    let mut other = attributes();
    other.native_outputs.as_mut().unwrap()[0].index = 3;
    planned(&other, &same).unwrap();
}

#[test]
fn the_first_path_that_fits_is_taken() {
    let plan = |attributes: &Attributes, input: TensorSpec, wanted: &[Path], paths| {
        Plan::new(attributes, &input, &[spec()], &first(wanted), paths).map(|plan| plan.path)
    };
    let pixels = input(DType::U8, Layout::Nhwc);
    let both = [Path::ZeroCopy, Path::Copied];
    assert_eq!(plan(&attributes(), pixels.clone(), &both, BOTH).unwrap(), Path::ZeroCopy);
    // Floats for a quantized model are for the runtime to quantize.
    assert_eq!(plan(&attributes(), input(DType::F32, Layout::Nchw), &both, BOTH).unwrap(), Path::Copied);
    assert!(plan(&attributes(), input(DType::F32, Layout::Nchw), &both[..1], BOTH).is_err());
    let untold = Attributes { native_outputs: None, ..attributes() };
    assert_eq!(plan(&untold, pixels.clone(), &both, BOTH).unwrap(), Path::Copied);
    let neither = Paths { zero_copy: false, copied: false };
    assert!(plan(&attributes(), pixels, &both, neither).is_err());
}

#[test]
fn the_reason_is_that_of_the_path_that_was_wanted_most() {
    let floats = input(DType::F32, Layout::Nchw);
    let refused = |wanted: &[Path], paths| {
        Plan::new(&attributes(), &floats, &[spec()], &first(wanted), paths).map(drop).unwrap_err().to_string()
    };
    // As on RV1106, whose runtime has the functions and refuses them.
    let no_copies = Paths { zero_copy: true, copied: false };
    let text = refused(&[Path::ZeroCopy, Path::Copied], no_copies);
    assert!(text.contains("F32 Nchw"), "{text}");
    let mut neither = attributes();
    neither.native_input.as_mut().unwrap().dims[3] = 4;
    neither.outputs[0].type_ = rknn_tensor_type::RKNN_TENSOR_INT16;
    let pixels = input(DType::U8, Layout::Nhwc);
    let both = first(&[Path::ZeroCopy, Path::Copied]);
    let text = Plan::new(&neither, &pixels, &[spec()], &both, BOTH).map(drop).unwrap_err().to_string();
    assert!(text.contains("[1, 4, 6, 4]"), "{text}");
    let text = refused(&[Path::Copied], no_copies);
    assert!(text.contains("no functions that copy") && text.contains("IoPath::Auto"), "{text}");
}

#[test]
fn an_input_of_other_dimensions_in_memory_is_not_filled() {
    let mut native = attributes().native_input.unwrap();
    native.dims[3] = 4;
    let padded = Attributes { native_input: Some(native), ..attributes() };
    let plan = |wanted: &[Path]| {
        let pixels = input(DType::U8, Layout::Nhwc);
        Plan::new(&padded, &pixels, &[spec()], &first(wanted), BOTH).map(|plan| plan.path)
    };
    let error = plan(&[Path::ZeroCopy]).unwrap_err().to_string();
    assert!(error.contains("[1, 4, 6, 4]"), "{error}");
    assert_eq!(plan(&[Path::ZeroCopy, Path::Copied]).unwrap(), Path::Copied);
}

#[test]
fn input_rows_are_spread_over_padded_memory() {
    let plan = planned(&attributes(), &first(&[Path::ZeroCopy])).unwrap();
    assert_eq!((plan.input.bytes, plan.input.row_elements, plan.input.is_dense()), (4 * 8 * 3, 24, false));
    let mut tensor = Tensor::zeroed(&plan.input.spec);
    tensor.data = artifact::TensorData::U8((0..72).collect());
    let mut bytes = vec![255; plan.input.bytes];
    plan.input.write(tensor.view(), &mut bytes);
    for (row, found) in bytes.chunks(24).enumerate() {
        let first = u8::try_from(row * 18).unwrap();
        assert_eq!(found[..18], (first..first + 18).collect::<Vec<_>>());
        assert_eq!(found[18..], [255; 6]);
    }
}

proptest! {
    #[test]
    fn whatever_the_runtime_says_is_planned_or_refused(
        n_dims in any::<u32>(),
        dims in any::<[u32; 16]>(),
        small in any::<[bool; 16]>(),
        kinds in any::<[u8; 3]>(),
        numbers in any::<[u32; 4]>(),
    ) {
        let mut attr = native();
        attr.n_dims = if small[0] { n_dims % 6 } else { n_dims };
        for ((to, from), small) in attr.dims.iter_mut().zip(dims).zip(small) {
            *to = if small { from % 20 } else { from };
        }
        attr.fmt = rknn_tensor_format((kinds[0] % 4).into());
        attr.type_ = rknn_tensor_type((kinds[1] % 4).into());
        [attr.size, attr.size_with_stride, attr.w_stride, attr.h_stride] = numbers;
        attr.h_stride = if small[15] { 0 } else { attr.h_stride };
        if let Ok(plan) = native_output(&attr, &spec()) {
            prop_assert!(plan.bytes >= plan.spec.len());
        }
        let mut native = attributes().native_input.unwrap();
        native.n_dims = if small[0] { native.n_dims } else { n_dims };
        for ((to, from), small) in native.dims.iter_mut().zip(dims).zip(small) {
            *to = if small { *to } else { from };
        }
        [native.size, native.size_with_stride, native.w_stride, native.h_stride] = numbers;
        let pixels = input(DType::U8, Layout::Nhwc);
        if let Ok(plan) = native_input(&attributes().input, native, &pixels) {
            prop_assert_eq!(&native.dims[..4], &[1, 4, 6, 3]);
            prop_assert!(plan.bytes >= plan.row_bytes() * 4 && plan.row_elements >= 18);
        }
        let _ = copied_output(&attr, &spec());
    }
}
