//! Memory that the NPU reaches, which is never freed while its bytes are lent out. Decides nothing.

mod ffi;

pub(super) use ffi::{Direction, Lent, Memory};
