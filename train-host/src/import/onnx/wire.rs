//! Protobuf's wire format as fields over borrowed bytes: nothing is copied, so a file cannot make more of itself than it
//! is. Knows no message; see `proto` for those of ONNX.

/// What is wrong with the bytes.
pub(super) type Broken = &'static str;

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message in the order they stand: number and value. Ends after the first error.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), Broken> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => Wire::Fixed64(u64::from_le_bytes(array(&mut self.0)?)),
            2 => {
                let length = varint(&mut self.0)?;
                let length = usize::try_from(length).map_err(|_| "a field longer than memory")?;
                Wire::Bytes(split(&mut self.0, length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(array(&mut self.0)?)),
            _ => return Err("a field of an unknown kind"),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The varints of a packed field.
pub(super) fn packed(mut bytes: &[u8]) -> impl Iterator<Item = Result<u64, Broken>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let value = varint(&mut bytes);
        if value.is_err() {
            bytes = &[];
        }
        Some(value)
    })
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Broken> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = array(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits")
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Broken> {
    let (head, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    *bytes = rest;
    Ok(*head)
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Broken> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
    *bytes = rest;
    Ok(head)
}

const CUT: Broken = "it ends within a field";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        // 1: varint 300; 2: "ab"; 3: fixed32 1; 4: fixed64 2 (examples of protobuf's encoding guide).
        let bytes = [0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let fields: Vec<_> = Fields::new(&bytes).map(Result::unwrap).collect();
        let expected =
            [(1, Wire::Varint(300)), (2, Wire::Bytes(b"ab")), (3, Wire::Fixed32(1)), (4, Wire::Fixed64(2))];
        assert_eq!(fields, expected);
        for length in 1..bytes.len() {
            let whole = Fields::new(&bytes[..length]).all(|field| field.is_ok());
            assert_eq!(whole, [3, 7, 12].contains(&length), "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_field_ends_the_message() {
        for bytes in [&[0x0b][..], &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]]
        {
            let fields: Vec<_> = Fields::new(bytes).collect();
            assert!(matches!(fields[..], [Err(_)]), "{fields:?}");
        }
        assert_eq!(packed(&[1, 0x80, 1]).collect::<Vec<_>>(), [Ok(1), Ok(128)]);
        assert_eq!(packed(&[0x80]).collect::<Vec<_>>(), [Err(CUT)]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_twice_or_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let read: usize = Fields::new(&bytes)
                .filter_map(Result::ok)
                .map(|(_, wire)| if let Wire::Bytes(bytes) = wire { bytes.len() } else { 1 })
                .sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
