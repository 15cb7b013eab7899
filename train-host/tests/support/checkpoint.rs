//! Checkpoints of YOLOv5 for tests: the committed ones, which `tests/python/make_checkpoints.py` wrote, and what becomes of
//! them when their entries are changed.

use std::path::{Path, PathBuf};

/// Entries of an archive by name, in order.
pub type Entries = Vec<(String, Vec<u8>)>;

/// The committed checkpoints: layouts of release 5, 6 and 7.
pub const GOLDEN: [&str; 3] = ["v5.pt", "v6.pt", "v7.pt"];

/// Where a committed checkpoint is.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/pt").join(name)
}

/// The entries of a committed checkpoint.
pub fn entries(name: &str) -> Entries {
    let bytes = std::fs::read(golden(name)).unwrap();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let end = bytes.len() - 22;
    let mut at = u32_at(end + 16);
    let mut entries = Entries::new();
    for _ in 0..u16_at(end + 10) {
        let (len, name_len, header) = (u32_at(at + 24), u16_at(at + 28), u32_at(at + 42));
        let name = String::from_utf8(bytes[at + 46..][..name_len].to_vec()).unwrap();
        let data = header + 30 + u16_at(header + 26) + u16_at(header + 28);
        entries.push((name, bytes[data..data + len].to_vec()));
        at += 46 + name_len;
    }
    entries
}

/// An entry of a zip archive with everything its headers say about it.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub data: Vec<u8>,
    /// 0 is stored, 8 deflated.
    pub method: u16,
    /// Size claimed for what comes out.
    pub len: u32,
    /// Where the directory says it begins; `None` is where it does.
    pub header_start: Option<u32>,
}

impl Entry {
    pub fn stored(name: &str, data: &[u8]) -> Self {
        let len = u32::try_from(data.len()).unwrap();
        Self { name: name.to_owned(), data: data.to_vec(), method: 0, len, header_start: None }
    }
}

/// A zip archive of stored entries, without checksums (0 stands for none).
pub fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<Entry> = entries.iter().map(|(name, data)| Entry::stored(name, data)).collect();
    archive_of(&entries)
}

/// A zip archive whose headers say what the entries say.
pub fn archive_of(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for Entry { name, data, method, len, header_start } in entries {
        let start = u32::try_from(out.len()).unwrap();
        let (stored_len, name_len) = (u32::try_from(data.len()).unwrap(), u16::try_from(name.len()).unwrap());
        let sizes =
            [&[0; 4][..], &stored_len.to_le_bytes(), &len.to_le_bytes(), &name_len.to_le_bytes()].concat();
        let common = [&[0; 4][..], &method.to_le_bytes(), &[0; 4], &sizes, &[0; 2]].concat();
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), data].concat());
        let start = header_start.unwrap_or(start).to_le_bytes();
        directory.extend([b"PK\x01\x02\0\0", &common[..], &[0; 10], &start, name.as_bytes()].concat());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let place = [u32::try_from(directory.len()).unwrap(), u32::try_from(out.len()).unwrap()];
    out.extend(directory);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    out.extend(place.iter().flat_map(|number| number.to_le_bytes()));
    out.extend([0, 0]);
    out
}

/// The pickle among `entries`.
pub fn pickle(entries: &mut Entries) -> &mut Vec<u8> {
    &mut entries.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1
}

/// The storage called `key` among `entries`.
pub fn storage<'e>(entries: &'e mut Entries, key: &str) -> &'e mut Vec<u8> {
    let name = format!("/data/{key}");
    &mut entries.iter_mut().find(|(found, _)| found.ends_with(&name)).unwrap().1
}

/// `bytes` with every `from`, which must be there, replaced by `to`.
pub fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend([&rest[..at], to].concat());
        rest = &rest[at + from.len()..];
    }
    assert!(rest.len() < bytes.len(), "{from:?} is not in the pickle");
    [out, rest.to_vec()].concat()
}

/// A committed checkpoint with its pickle changed.
pub fn edited(name: &str, edits: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut entries = entries(name);
    let pickle = pickle(&mut entries);
    for (from, to) in edits {
        *pickle = replace(pickle, from, to);
    }
    archive(&entries)
}

/// A text in a pickle.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

/// A float in a pickle.
pub fn float(float: f64) -> Vec<u8> {
    [b"G", &float.to_be_bytes()[..]].concat()
}

/// Pickled lists, each of which holds the one before twice: `2^levels` values in the last, which is left on the stack.
pub fn doubling(levels: u32) -> Vec<u8> {
    // Memo entries that no checkpoint reaches.
    let entry =
        |instruction: u8, level: u32| [&[instruction][..], &(0x10_0000 + level).to_le_bytes()].concat();
    let (put, get) = (|level| entry(b'r', level), |level| entry(b'j', level));
    let level = |level| [&b"("[..], &get(level), &get(level), b"l", &put(level + 1), b"0"].concat();
    let lists: Vec<u8> = (0..levels).flat_map(level).collect();
    [&b"]"[..], &put(0), b"0", &lists, &get(levels)].concat()
}

/// Weight `index` of tensor `name` in every checkpoint that `make_checkpoints.py` writes.
pub fn value(name: &str, index: usize) -> f32 {
    let seed = name.bytes().fold(0, |seed, byte| (seed * 31 + usize::from(byte)) % 65_521);
    let k = ((seed + 37 * index) % 127) as f32 - 63.0;
    if name.ends_with(".running_var") {
        (64.0 + k.abs()) / 64.0
    } else if name.ends_with(".bn.weight") {
        (96.0 + k) / 64.0
    } else {
        k / 512.0
    }
}
