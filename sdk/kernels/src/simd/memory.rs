//! Floats that several workers write to at once, each its own part. Hands out pointers, never reads or writes.

use std::marker::PhantomData;

/// A slice that workers share while they write to disjoint parts of it.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    base: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a pointer and a length; whoever writes through the pointer answers for it.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// Shares `slice`.
    pub fn of(slice: &'a mut [f32]) -> Self {
        Self { base: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A pointer to float `index`.
    ///
    /// # Panics
    /// Where that lies beyond the end.
    pub fn at(self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "float {index} of {}", self.len);
        self.base.wrapping_add(index)
    }
}
