//! Kernels over stored values of int8 models: exact, whatever they are compiled for. Stored values lie as bytes in blocks of
//! sixteen channels, so that quads of channels can be multiplied and added in a few instructions as they lie. What a unit
//! multiplies best may have no sign: a byte is a stored value plus the unit's offset (`simd::integers`).

pub mod convert;
pub mod direct;
pub mod elementwise;
pub mod epilogue;
pub mod tile;
pub mod winograd;

/// Channels of a block of stored values.
pub const LANES: usize = crate::layout::Kind::Stored.lanes();
/// Stored values that take the place of one float.
pub const PER_FLOAT: usize = size_of::<f32>();
