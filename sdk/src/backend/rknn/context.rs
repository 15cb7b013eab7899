//! Loaded models: [`Context`], which stays on its thread, and the weights that contexts share. Decides nothing.

mod ffi;
mod weights;

pub(super) use ffi::{Context, Fetch, Handle, InputForm, Target, Unbound};
