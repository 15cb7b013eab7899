//! The Rockchip NPU, through its vendor's runtime library loaded at run time. A [`Pool`] runs a model on one or more
//! cores, a [`RknnSession`] is the same for one frame at a time. Contexts stay on the thread that uses them, memory is
//! never freed under a call, and every error of the runtime is an [`NpuFailure`] with a hint.
//!
//! `context` and `memory` alone call the runtime. A worker thread (`worker`) owns a context and its memory (`bench`),
//! following a `plan` made from the runtime's answers; `buffers` and `slot` carry frames to it and back.

mod bench;
mod buffers;
mod clock;
mod context;
mod failure;
mod imports;
mod memory;
mod options;
mod plan;
mod pool;
mod recipe;
mod runtime;
mod session;
mod slot;
mod symbols;
mod versions;
mod waker;
mod worker;

pub use bench::Usage;
pub use clock::{Clock, SystemClock};
pub use failure::NpuFailure;
pub use options::{Chip, Cores, IoPath, LayerTiming, Priority, RknnOptions, Sram, TimeLimits};
pub use pool::{Completed, Pool, PoolReport};
pub use runtime::chip;
pub use session::RknnSession;
pub use slot::{DmaBuffer, Finished, Slot};
