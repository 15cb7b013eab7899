//! Finds the version that a runtime library's file states about itself, as `strings` would show it:
//! `librknnrt version: 2.3.2 (…)`. Reads the file in pieces and never runs anything of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

const MARKS: [&[u8]; 2] = [b"librknnrt version: ", b"librknnmrt version: "];
const MAX_VERSION_LEN: usize = 24;
/// Far above any runtime, so that a strange file cannot keep us reading.
const MAX_FILE_LEN: u64 = 256 << 20;

/// The version stated in the file at `path`; none when it cannot be read or states none.
pub(crate) fn of_file(path: &Path) -> Option<String> {
    find(File::open(path).ok()?)
}

fn find(file: impl Read) -> Option<String> {
    let mut file = file.take(MAX_FILE_LEN);
    let longest = MARKS.iter().map(|mark| mark.len()).max().unwrap_or(0) + MAX_VERSION_LEN;
    let mut window = Vec::with_capacity(longest + (64 << 10));
    loop {
        let read = file.by_ref().take(64 << 10).read_to_end(&mut window).ok()?;
        if let Some(version) = MARKS.iter().find_map(|mark| version_after(&window, mark, read == 0)) {
            return Some(version);
        }
        if read == 0 {
            return None;
        }
        // A mark may lie across the end of this piece.
        window.drain(..window.len().saturating_sub(longest));
    }
}

/// The digits and dots behind `mark`, once a whole version is in the window.
fn version_after(window: &[u8], mark: &[u8], is_last: bool) -> Option<String> {
    let starts = window.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark);
    starts.map(|(at, _)| &window[at + mark.len()..]).find_map(|rest| {
        let rest = if rest.len() > MAX_VERSION_LEN { &rest[..MAX_VERSION_LEN] } else { rest };
        let len = rest.iter().position(|byte| !(byte.is_ascii_digit() || *byte == b'.'));
        let len = len.or(is_last.then_some(rest.len()))?;
        let text = std::str::from_utf8(&rest[..len]).ok()?;
        text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_wherever_it_lies() {
        for padding in [0, 1, (64 << 10) - 20, (64 << 10) - 3, 200_000] {
            let mut bytes = vec![b'x'; padding];
            bytes.extend_from_slice(b"librknnrt version: 1.5.2 (c6b7)\0tail");
            assert_eq!(find(&bytes[..]).as_deref(), Some("1.5.2"), "after {padding} bytes");
        }
        assert_eq!(find(&b"librknnmrt version: 2.3.0"[..]).as_deref(), Some("2.3.0"));
    }

    #[test]
    fn a_file_without_a_version_has_none() {
        for bytes in [&b""[..], b"librknnrt version: %d.%d", b"librknnrt version 1.2", &[0; 100_000]] {
            assert_eq!(find(bytes), None);
        }
    }

    #[test]
    fn a_format_string_before_the_version_is_passed_over() {
        let text = b"librknnrt version: %s\0librknnrt version: 2.0.0b\0";
        assert_eq!(find(&text[..]).as_deref(), Some("2.0.0"));
    }
}
