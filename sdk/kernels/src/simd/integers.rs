//! The integer side of a vector unit: sixteen 16-bit lanes for a block of stored values, eight 32-bit lanes for sums. All
//! arithmetic wraps, so that it is exact modulo the lanes' size.

/// Integer arithmetic of a vector unit.
pub trait Integers: Copy {
    /// Eight i32.
    type I: Copy;
    /// Sixteen i16.
    type H: Copy;
    /// Eight pairs of i16, in an order of the unit's own.
    type P: Copy;

    /// `value` in every lane.
    fn splat_i32(self, value: i32) -> Self::I;
    /// `value` in every lane.
    fn splat_i16(self, value: i16) -> Self::H;

    /// Reads eight i32.
    ///
    /// # Safety
    /// `from` must be valid for reading eight i32.
    unsafe fn load_i32(self, from: *const i32) -> Self::I;

    /// Writes eight i32.
    ///
    /// # Safety
    /// `to` must be valid for writing eight i32.
    unsafe fn store_i32(self, to: *mut i32, value: Self::I);

    /// Reads sixteen i16.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen i16.
    unsafe fn load_i16(self, from: *const i16) -> Self::H;

    /// Reads sixteen i8.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen i8.
    unsafe fn load_i8(self, from: *const i8) -> Self::H;

    /// Writes sixteen i16.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen i16.
    unsafe fn store_i16(self, to: *mut i16, value: Self::H);

    /// Reads eight pairs, one after the other.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen i16.
    unsafe fn load_pairs(self, from: *const i16) -> Self::P;

    /// Reads a pair and repeats it.
    ///
    /// # Safety
    /// `from` must be valid for reading two i16.
    unsafe fn splat_pair(self, from: *const i16) -> Self::P;

    /// `sum` plus, in each lane, the products of a pair of `a` and one of `b`.
    fn dot(self, sum: Self::I, a: Self::P, b: Self::P) -> Self::I;

    /// `a + b`.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a − b`.
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a · b`.
    fn mul_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a · 2ᴺ`.
    fn shl_i32<const N: i32>(self, a: Self::I) -> Self::I;
    /// `a / 2ᴺ`, rounded down.
    fn shr_i32<const N: i32>(self, a: Self::I) -> Self::I;

    /// `a + b`.
    fn add_i16(self, a: Self::H, b: Self::H) -> Self::H;
    /// `a − b`.
    fn sub_i16(self, a: Self::H, b: Self::H) -> Self::H;
    /// `a · 2ᴺ`.
    fn shl_i16<const N: i32>(self, a: Self::H) -> Self::H;
    /// The greater.
    fn max_i16(self, a: Self::H, b: Self::H) -> Self::H;

    /// Sixteen lanes of 32 bits, whose values 16 bits hold.
    fn narrow(self, lanes: [Self::I; 2]) -> Self::H;
    /// Sixteen lanes of 16 bits.
    fn widen(self, lanes: Self::H) -> [Self::I; 2];
}
