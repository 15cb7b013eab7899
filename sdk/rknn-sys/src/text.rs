//! Texts in the interface's fields of fixed length. Never reads beyond a field.

use std::ffi::c_char;

use crate::bindings::rknn_tensor_attr;

/// A text in a field of C's characters, up to its first zero or its end; what is no UTF-8 is replaced.
pub fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl rknn_tensor_attr {
    /// The tensor's name in the graph.
    pub fn name_text(&self) -> String {
        text(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_first_zero_or_with_its_field() {
        let field = |bytes: &[u8]| bytes.iter().map(|b| c_char::from_ne_bytes([*b])).collect::<Vec<_>>();
        assert_eq!(text(&field(b"ab\0c")), "ab");
        assert_eq!(text(&field(b"abc")), "abc");
        assert_eq!(text(&field(b"")), "");
        assert_eq!(text(&field(b"a\xff")), "a\u{fffd}");
        let mut attr = rknn_tensor_attr::default();
        attr.name.fill(c_char::from_ne_bytes([b'x']));
        assert_eq!(attr.name_text().len(), attr.name.len());
    }
}
