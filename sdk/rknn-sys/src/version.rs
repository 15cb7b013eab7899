//! Finds which runtime a library's file says it is, and of which version, as `strings` would show it:
//! `librknnrt version: 2.3.2 (…)`. Reads the file in pieces and never runs anything of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem;

const MARKS: [(&[u8], Runtime); 2] =
    [(b"librknnrt version: ", Runtime::Rknnrt), (b"librknnmrt version: ", Runtime::Rknnmrt)];
const MAX_VERSION_LEN: usize = 24;
/// Far above any runtime, so that a strange file cannot keep us reading.
const MAX_FILE_LEN: u64 = 256 << 20;

/// Which of the vendor's two runtimes a library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Runtime {
    /// librknnrt.so, of RK35xx.
    #[default]
    Rknnrt,
    /// librknnmrt.so, of RV110x: no cores to choose, and functions that copy inputs and outputs are there and refuse.
    Rknnmrt,
}

impl Runtime {
    /// The name under which it is installed.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Rknnrt => "librknnrt.so",
            Self::Rknnmrt => "librknnmrt.so",
        }
    }

    /// The runtime whose file is called `name`, a version number behind it or not.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Rknnrt, Self::Rknnmrt].into_iter().find(|runtime| name.starts_with(runtime.file_name()))
    }
}

/// What a file states about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) runtime: Runtime,
    /// Such as `2.3.2`.
    pub(crate) version: String,
}

/// What the file at `path` states; none when it cannot be read or states nothing.
pub(crate) fn of_file(path: &Path) -> Option<Stated> {
    find(File::open(path).ok()?)
}

fn find(file: impl Read) -> Option<Stated> {
    let mut file = file.take(MAX_FILE_LEN);
    let longest = MARKS.iter().map(|(mark, _)| mark.len()).max().unwrap_or(0) + MAX_VERSION_LEN;
    let mut window = Vec::with_capacity(longest + (64 << 10));
    loop {
        let read = file.by_ref().take(64 << 10).read_to_end(&mut window).ok()?;
        let stated = |&(mark, runtime): &(&[u8], Runtime)| {
            Some(Stated { runtime, version: version_after(&window, mark, read == 0)? })
        };
        if let Some(stated) = MARKS.iter().find_map(stated) {
            return Some(stated);
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
    memmem::find_iter(window, mark).map(|at| &window[at + mark.len()..]).find_map(|rest| {
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
            let stated = Stated { runtime: Runtime::Rknnrt, version: "1.5.2".into() };
            assert_eq!(find(&bytes[..]), Some(stated), "after {padding} bytes");
        }
        let stated = Stated { runtime: Runtime::Rknnmrt, version: "2.3.0".into() };
        assert_eq!(find(&b"librknnmrt version: 2.3.0"[..]), Some(stated));
    }

    #[test]
    fn a_runtime_is_known_by_its_name_too() {
        assert_eq!(Runtime::of_name("librknnmrt.so.1"), Some(Runtime::Rknnmrt));
        assert_eq!(Runtime::of_name("librknnrt.so"), Some(Runtime::Rknnrt));
        assert_eq!(Runtime::of_name("libother.so"), None);
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
        assert_eq!(find(&text[..]).map(|stated| stated.version).as_deref(), Some("2.0.0"));
    }
}
