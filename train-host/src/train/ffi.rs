//! The one foreign call of training: loading libtorch's CUDA half at run time. Rust programs do not link it (nothing
//! in it is named by them), so it registers its kernels only once something has loaded it.

/// Loads `libtorch_cuda.so` from the library path, if it is there; without it CUDA stays unavailable, which the caller
/// finds out from libtorch itself.
pub(super) fn load_cuda() {
    // SAFETY: the library's initializers register kernels with the libtorch already in this process, which is what
    // PyTorch relies on as well; no symbol of it is called from here.
    let library = unsafe { libloading::Library::new("libtorch_cuda.so") };
    if let Ok(library) = library {
        // Unloading would leave dangling kernels behind.
        std::mem::forget(library);
    }
}
