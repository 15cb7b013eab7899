//! Arithmetic of floats: of a block of channels, or of two.

use crate::layout::BLOCK;

/// Arithmetic of as many floats as a register holds, or some. A value of such a type is proof that the processor has the unit.
pub trait Reals: Copy {
    /// The floats.
    type V: Copy;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::V;

    /// Reads as many floats.
    ///
    /// # Safety
    /// `from` must be valid for reading them.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// Writes as many floats.
    ///
    /// # Safety
    /// `to` must be valid for writing them.
    unsafe fn store(self, to: *mut f32, value: Self::V);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The greater.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, fused where the unit can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` times 2 to the power of n, where `shifted` is 1.5 · 2²³ + n and the result is a normal number.
    fn scale(self, a: Self::V, shifted: Self::V) -> Self::V;

    /// `a / b` within a few units of the last place, for a `b` that is a normal number, as is one by it.
    #[inline(always)]
    fn ratio(self, a: Self::V, b: Self::V) -> Self::V {
        self.div(a, b)
    }

    /// `value`, which the compiler takes to be made here, in a register: where it first reads all that an unrolled loop
    /// needs, registers do not suffice.
    #[inline(always)]
    fn settle(self, value: Self::V) -> Self::V {
        value
    }
}

/// Two blocks in the registers of two.
#[derive(Debug, Clone, Copy)]
pub struct Pair<S>(pub S);

impl<S: Reals> Reals for Pair<S> {
    type V = [S::V; 2];

    #[inline(always)]
    fn splat(self, value: f32) -> [S::V; 2] {
        [self.0.splat(value); 2]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [S::V; 2] {
        // SAFETY: the caller vouches for two blocks.
        unsafe { [self.0.load(from), self.0.load(from.add(BLOCK))] }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: [S::V; 2]) {
        // SAFETY: the caller vouches for two blocks.
        unsafe {
            self.0.store(to, value[0]);
            self.0.store(to.add(BLOCK), value[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.add(a[0], b[0]), self.0.add(a[1], b[1])]
    }

    #[inline(always)]
    fn sub(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.sub(a[0], b[0]), self.0.sub(a[1], b[1])]
    }

    #[inline(always)]
    fn mul(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.mul(a[0], b[0]), self.0.mul(a[1], b[1])]
    }

    #[inline(always)]
    fn div(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.div(a[0], b[0]), self.0.div(a[1], b[1])]
    }

    #[inline(always)]
    fn max(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.max(a[0], b[0]), self.0.max(a[1], b[1])]
    }

    #[inline(always)]
    fn min(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.min(a[0], b[0]), self.0.min(a[1], b[1])]
    }

    #[inline(always)]
    fn fma(self, a: [S::V; 2], b: [S::V; 2], c: [S::V; 2]) -> [S::V; 2] {
        [self.0.fma(a[0], b[0], c[0]), self.0.fma(a[1], b[1], c[1])]
    }

    #[inline(always)]
    fn scale(self, a: [S::V; 2], shifted: [S::V; 2]) -> [S::V; 2] {
        [self.0.scale(a[0], shifted[0]), self.0.scale(a[1], shifted[1])]
    }

    #[inline(always)]
    fn ratio(self, a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
        [self.0.ratio(a[0], b[0]), self.0.ratio(a[1], b[1])]
    }
}
