//! Reads the operands of a pickle's instructions. Every length is checked against what is left before it is used.

use crate::Result;
use crate::import::pt::refuse;

/// A place in the pickle.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or_else(|| {
            refuse(
                format!("a pickle that asks for {len} bytes where {} are left", self.rest.len()),
                "a whole pickle",
            )
        })?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.length(8)
    }

    /// An integer of `width` bytes, at most 8.
    pub fn length(&mut self, width: usize) -> Result<u64> {
        let mut whole = [0; 8];
        whole[..width].copy_from_slice(self.take(width as u64)?);
        Ok(u64::from_le_bytes(whole))
    }

    /// Pickles hold floats big-endian.
    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// The next `len` bytes as text.
    pub fn text(&mut self, len: u64) -> Result<&'a str> {
        as_text(self.take(len)?)
    }

    /// Text up to the next line feed, which is skipped.
    pub fn line(&mut self) -> Result<&'a str> {
        let len = self
            .rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or_else(|| refuse("a pickle that ends within a name", "a whole pickle"))?;
        let (line, rest) = self.rest.split_at(len);
        self.rest = &rest[1..];
        as_text(line)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }
}

fn as_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| refuse("text in a pickle that is not UTF-8", "UTF-8"))
}
