//! The binding of Rockchip's NPU runtime: types and a table of functions generated from our own header in `abi/` (see
//! `cargo xtask codegen`), and the library loaded at run time, so that a program with NPU support starts on a machine
//! without one. Never decides what to call: that is the backend's business.

/// Generated with `cargo xtask codegen`; its assertions on sizes and offsets are part of every build.
#[allow(
    missing_docs,
    non_camel_case_types,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::undocumented_unsafe_blocks,
    reason = "generated; names are those of the C interface"
)]
#[cfg_attr(target_pointer_width = "64", path = "bindings/pointer64.rs")]
#[cfg_attr(target_pointer_width = "32", path = "bindings/pointer32.rs")]
mod bindings;
mod library;
mod text;
mod version;

pub use bindings::*;
pub use library::{Library, LoadError};
pub use text::text;
pub use version::Runtime;
