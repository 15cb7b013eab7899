//! What the C library knows of memory.

/// Returns memory that was freed to the system: glibc keeps what was allocated in pieces, here the copies of a model's weights that
/// reading it takes.
pub(super) fn give_back_freed_memory() {
    // SAFETY: it touches only what nobody has allocated.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
