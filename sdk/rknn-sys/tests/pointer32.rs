//! The bindings of 64-bit and 32-bit machines: what their assertions say is what was measured of the interface, so that a
//! build either has this layout or fails. `cargo xtask test --armhf` compiles and runs this for 32-bit Arm too.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::mem::{offset_of, size_of};

use rknn_sys::{
    rknn_context, rknn_custom_op, rknn_init_extend, rknn_input, rknn_input_output_num, rknn_input_range,
    rknn_mem_size, rknn_output, rknn_run_extend, rknn_tensor_attr, rknn_tensor_mem,
};

const POINTER32: &str = include_str!("../src/bindings/pointer32.rs");
const POINTER64: &str = include_str!("../src/bindings/pointer64.rs");

/// Bytes of a struct, by machines of 64-bit and 32-bit pointers; where they differ, it holds pointers or `long`s.
const SIZES: [(&str, usize, usize); 10] = [
    ("rknn_tensor_attr", 376, 376),
    ("rknn_tensor_mem", 40, 40),
    ("rknn_input", 32, 24),
    ("rknn_output", 24, 16),
    ("rknn_init_extend", 136, 132),
    ("rknn_run_extend", 24, 24),
    ("rknn_mem_size", 64, 64),
    ("rknn_input_range", 33040, 33040),
    ("rknn_input_output_num", 8, 8),
    ("rknn_custom_op", 832, 816),
];

/// Offsets in a tensor's description, which holds no pointer.
const ATTR: [(&str, usize); 15] = [
    ("index", 0),
    ("n_dims", 4),
    ("dims", 8),
    ("name", 72),
    ("n_elems", 328),
    ("size", 332),
    ("fmt", 336),
    ("type_", 340),
    ("qnt_type", 344),
    ("fl", 348),
    ("zp", 352),
    ("scale", 356),
    ("w_stride", 360),
    ("size_with_stride", 364),
    ("h_stride", 372),
];

/// The number that a generated assertion states about `what`.
fn stated(bindings: &str, what: &str) -> Option<usize> {
    let assertion = bindings.split(&format!("[\"{what}\"]")).nth(1)?;
    let number = assertion.split(" - ").nth(1)?.split("usize").next()?;
    number.parse().ok()
}

/// The binding that is compiled, as this machine lays it out.
#[test]
fn this_machines_structs_are_of_the_measured_sizes() {
    let found = [
        size_of::<rknn_tensor_attr>(),
        size_of::<rknn_tensor_mem>(),
        size_of::<rknn_input>(),
        size_of::<rknn_output>(),
        size_of::<rknn_init_extend>(),
        size_of::<rknn_run_extend>(),
        size_of::<rknn_mem_size>(),
        size_of::<rknn_input_range>(),
        size_of::<rknn_input_output_num>(),
        size_of::<rknn_custom_op>(),
    ];
    let is_wide = cfg!(target_pointer_width = "64");
    let expected = SIZES.map(|(_, wide, narrow)| if is_wide { wide } else { narrow });
    assert_eq!(found, expected);
    assert_eq!(size_of::<rknn_context>(), size_of::<usize>());
    assert_eq!(offset_of!(rknn_tensor_attr, size_with_stride), 364);
}

#[test]
fn sizes_are_asserted_for_both_widths() {
    for (name, wide, narrow) in SIZES {
        let size = format!("Size of {name}");
        assert_eq!(stated(POINTER64, &size), Some(wide), "{name}");
        assert_eq!(stated(POINTER32, &size), Some(narrow), "{name}");
    }
    assert!(
        POINTER32.contains("pub type rknn_context = u32;")
            && POINTER64.contains("pub type rknn_context = u64;")
    );
}

#[test]
fn offsets_of_a_tensors_description_are_asserted_for_both_widths() {
    for (field, offset) in ATTR {
        let what = format!("Offset of field: rknn_tensor_attr::{field}");
        for bindings in [POINTER64, POINTER32] {
            assert_eq!(stated(bindings, &what), Some(offset), "{field}");
        }
    }
}

#[test]
fn both_widths_assert_the_same_things() {
    let names = |bindings: &str| -> Vec<String> {
        let quoted = bindings.split("[\"").skip(1).filter_map(|rest| rest.split("\"]").next());
        quoted.map(str::to_owned).collect()
    };
    assert!(names(POINTER32).len() > 80, "{:?}", names(POINTER32));
    assert_eq!(names(POINTER32), names(POINTER64));
}
