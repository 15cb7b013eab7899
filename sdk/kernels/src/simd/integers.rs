//! The integer side of a vector unit: sixteen 16-bit lanes for a block of stored values, eight 32-bit lanes for sums. All
//! arithmetic wraps, so that it is exact modulo the lanes' size.
//!
//! There are two kinds of products. Pairs of 16 bits hold whatever a transform makes of stored values. Quads of bytes hold stored
//! values themselves, twice as many in an instruction; each unit says what it adds to a stored value to make a byte of it, and
//! which weights it multiplies without saturating.

mod sixteen;

pub use sixteen::{Halves, Sixteen};

/// How bytes of a vector unit stand for stored values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    /// A byte less its stored value.
    pub offset: i32,
    /// Most that the weights of one sign among a pair may add up to; a quad is two pairs.
    pub limit: i32,
    /// Instructions for eight sums of quads.
    pub quad_cost: usize,
    /// Instructions for eight sums of pairs of 16 bits.
    pub pair_cost: usize,
}

impl Bytes {
    /// The two's complement, multiplied without a bound. What that costs is a guess: the compiler knows.
    pub const EXACT: Self = Self { offset: 0, limit: i32::MAX, quad_cost: 4, pair_cost: 2 };

    /// The byte of a stored value.
    #[inline(always)]
    pub fn byte(self, code: i8) -> u8 {
        code.cast_unsigned().wrapping_add(self.offset.to_le_bytes()[0])
    }

    /// The stored value of a byte.
    #[inline(always)]
    pub fn code(self, byte: u8) -> i8 {
        byte.wrapping_sub(self.offset.to_le_bytes()[0]).cast_signed()
    }
}

/// Integer arithmetic of a vector unit.
pub trait Integers: Copy {
    /// Eight i32.
    type I: Copy;
    /// Sixteen i16.
    type H: Copy;
    /// Eight pairs of i16, in an order of the unit's own.
    type P: Copy;
    /// Eight quads of bytes.
    type Q: Copy;

    /// How its bytes stand for stored values.
    const BYTES: Bytes;

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

    /// Writes sixteen i16.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen i16.
    unsafe fn store_i16(self, to: *mut i16, value: Self::H);

    /// Reads sixteen bytes: stored values plus [`Bytes::offset`].
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen bytes.
    unsafe fn load_bytes(self, from: *const u8) -> Self::H;

    /// Writes sixteen bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen bytes.
    unsafe fn store_bytes(self, to: *mut u8, values: Self::H);

    /// Writes sixteen stored values plus [`Bytes::offset`], saturated, as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen bytes.
    unsafe fn store_saturated(self, to: *mut u8, values: [Self::I; 2]);

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

    /// Reads eight quads of weights, one after the other.
    ///
    /// # Safety
    /// `from` must be valid for reading 32 weights.
    unsafe fn load_quads(self, from: *const i8) -> Self::Q;

    /// Reads a quad of bytes and repeats it.
    ///
    /// # Safety
    /// `from` must be valid for reading four bytes.
    unsafe fn splat_quad(self, from: *const u8) -> Self::Q;

    /// `sum` plus, in each lane, the products of a quad of bytes and one of weights, which [`Bytes`] allows.
    fn dot_quads(self, sum: Self::I, bytes: Self::Q, weights: Self::Q) -> Self::I;

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

    /// The lanes in 32 bits.
    fn widen(self, lanes: Self::H) -> [Self::I; 2];
}
