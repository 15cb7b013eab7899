//! The vendor's library as the backend knows it: which of its functions are there, and what it would not free. Never calls
//! any of them.

use std::sync::atomic::{AtomicU64, Ordering};

use rknn_sys::{Library, RknnTable, Runtime};

/// The function of this name, or the failure that the library lacks it.
macro_rules! function {
    ($vendor:expr, $name:ident) => {
        match &$vendor.table().$name {
            Ok(function) => Ok(*function),
            Err(_) => Err($crate::backend::rknn::failure::NpuFailure::MissingFunction(stringify!($name))),
        }
    };
}
pub(super) use function;

/// Whether the library has the functions of these names.
macro_rules! has {
    ($library:expr, $($name:ident),+) => { $( $library.table().$name.is_ok() )&&+ };
}

/// The loaded library.
pub(super) struct Vendor {
    library: Library,
    unfreed: AtomicU64,
}

impl Vendor {
    pub(super) fn new(library: Library) -> Self {
        Self { library, unfreed: AtomicU64::new(0) }
    }

    pub(super) fn table(&self) -> &RknnTable {
        self.library.table()
    }

    /// Whether inputs and outputs can lie in memory that the NPU reaches.
    pub(super) fn can_zero_copy(&self) -> bool {
        has!(self.library, rknn_create_mem, rknn_destroy_mem, rknn_set_io_mem, rknn_run)
    }

    /// Whether the runtime copies inputs and outputs itself. That of RV110x has the functions, and refuses every call.
    pub(super) fn can_copy(&self) -> bool {
        self.library.runtime() != Runtime::Rknnmrt
            && has!(self.library, rknn_inputs_set, rknn_outputs_get, rknn_outputs_release, rknn_run)
    }

    /// Notes a context or memory that stays for good.
    pub(super) fn note_unfreed(&self) {
        self.unfreed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many contexts and memories stay for good.
    pub(super) fn unfreed(&self) -> u64 {
        self.unfreed.load(Ordering::Relaxed)
    }
}
