//! Kernels over stored values of int8 models: exact, whatever they are compiled for. Stored values lie as 16-bit integers in
//! blocks of sixteen channels, so that a pixel of a block takes as many bytes as one of floats, and pairs of channels can be
//! multiplied and added in one instruction as they lie.

pub mod convert;
pub mod direct;
pub mod elementwise;
pub mod epilogue;
pub mod tile;
pub mod winograd;

/// Channels of a block of stored values.
pub const LANES: usize = crate::layout::Kind::Stored.lanes();
/// Stored values that take the place of one float.
pub const PER_FLOAT: usize = 2;
