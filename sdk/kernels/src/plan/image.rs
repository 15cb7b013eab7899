//! Images of callers, by what they hold. Only slices: checked, then handed to the steps that read or write them.

use crate::layout::{Kind, Shape};
use crate::simd::memory::Memory;

/// An image that a caller gives, plane by plane.
#[derive(Debug, Clone, Copy)]
pub enum Given<'a> {
    /// Floats.
    Real(&'a [f32]),
    /// Stored values of an int8 model.
    Stored(&'a [i8]),
}

/// An image that a caller wants, plane by plane.
#[derive(Debug)]
pub enum Taken<'a> {
    /// Floats.
    Real(&'a mut [f32]),
    /// Stored values of an int8 model.
    Stored(&'a mut [i8]),
}

/// A [`Taken`] that workers share.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// Floats.
    Real(Memory<'a>),
    /// Stored values.
    Stored(Memory<'a, i8>),
}

/// What a run reads and writes.
pub struct Buffers<'a> {
    /// Images in blocks, and what workers have for themselves.
    pub memory: Memory<'a>,
    /// Images of the caller.
    pub inputs: &'a [Given<'a>],
    /// Images for the caller.
    pub outputs: &'a [Wanted<'a>],
}

impl Given<'_> {
    /// What it holds, and how many values.
    pub(super) fn form(&self) -> (Kind, usize) {
        match self {
            Self::Real(values) => (Kind::Real, values.len()),
            Self::Stored(values) => (Kind::Stored, values.len()),
        }
    }
}

impl Wanted<'_> {
    /// What it holds, and how many values.
    pub(super) fn form(&self) -> (Kind, usize) {
        match self {
            Self::Real(values) => (Kind::Real, values.len()),
            Self::Stored(values) => (Kind::Stored, values.len()),
        }
    }
}

impl<'a> Taken<'a> {
    /// For workers.
    pub(super) fn shared(self) -> Wanted<'a> {
        match self {
            Self::Real(values) => Wanted::Real(Memory::of(values)),
            Self::Stored(values) => Wanted::Stored(Memory::of(values)),
        }
    }
}

/// The memory of `wanted` for the images of another run: the standard library collects what comes out of a vector in that vector's
/// own memory where the sizes are equal. The tests of allocation notice should it not.
pub fn emptied(mut wanted: Vec<Wanted<'_>>) -> Vec<Wanted<'static>> {
    wanted.clear();
    wanted.into_iter().map(|_| unreachable!("none is left")).collect()
}

/// Checks images against those of a network.
///
/// # Panics
/// Where they differ in number, kind or size.
pub fn check(forms: &[(Shape, Kind)], images: impl ExactSizeIterator<Item = (Kind, usize)>) {
    assert_eq!(forms.len(), images.len(), "number of images");
    for (&(shape, kind), image) in forms.iter().zip(images) {
        assert_eq!((kind, shape.len()), image, "values of an image");
    }
}
