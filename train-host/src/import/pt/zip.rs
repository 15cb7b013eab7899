//! The zip archive around a checkpoint, read as strictly as `torch.save` writes it: stored entries, the directory at the
//! very end, no comments, no extra fields in it. What passes here no other zip reader can understand in another way, and
//! none has anything to inflate.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::pickle::short;
use super::{as_index, refuse};
use crate::{Error, Result};

// Record sizes and field offsets: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
const END_LEN: usize = 22;
const CENTRAL_LEN: usize = 46;
const LOCAL_LEN: usize = 30;
const END_MAGIC: &[u8] = b"PK\x05\x06";
const CENTRAL_MAGIC: &[u8] = b"PK\x01\x02";
const LOCAL_MAGIC: &[u8] = b"PK\x03\x04";

/// Most entries: one a tensor, a few more. A training checkpoint of the largest YOLOv5 has under 4000.
const MAX_ENTRIES: usize = 16_384;
const MAX_DIRECTORY_BYTES: usize = 4 << 20;
const PICKLE: &str = "data.pkl";

/// An open archive.
pub(super) struct Archive {
    file: File,
    /// Folder of the archive that everything lies in, with its slash.
    root: String,
    entries: HashMap<String, Entry>,
    /// Where the entries end and the directory begins.
    directory_start: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    header_start: u64,
    len: u64,
    /// 0 where none was computed, as PyTorch allows.
    crc32: u32,
}

impl Archive {
    /// Opens the archive at `path` and checks its directory.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |error| Error::io(path, error);
        // Opening a pipe would wait for someone to write into it.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(refuse("a pipe or a device", "a file"));
        }
        let mut file = File::open(path).map_err(io)?;
        let file_len = file.metadata().map_err(io)?.len();
        let mut magic = [0; 4];
        let whole = file_len >= (LOCAL_LEN + CENTRAL_LEN + END_LEN) as u64;
        if !whole || file.read_exact(&mut magic).is_err() || magic != LOCAL_MAGIC {
            return Err(refuse(
                format!("{file_len} bytes that are no zip archive"),
                "a checkpoint saved by PyTorch 1.6 or newer, which is a zip archive",
            ));
        }
        let end_start = file_len - END_LEN as u64;
        let end = read_at(&mut file, end_start, END_LEN).map_err(io)?;
        let (directory_start, directory_len, count) = read_end(&end, end_start)?;
        let directory = read_at(&mut file, directory_start, directory_len).map_err(io)?;
        let entries = read_directory(&directory, count, directory_start)?;
        let root = find_root(&entries)?;
        Ok(Self { file, root, entries, directory_start })
    }

    /// The pickle, which may have at most `most` bytes.
    pub fn pickle(&mut self, most: u64) -> Result<Vec<u8>> {
        self.read(PICKLE, most)
    }

    /// Bytes of the storage called `key`, `None` where there is none.
    pub fn storage_len(&self, key: &str) -> Option<u64> {
        self.entries.get(&format!("{}data/{key}", self.root)).map(|entry| entry.len)
    }

    /// The storage called `key`, which may have at most 64 kB.
    pub fn small_storage(&mut self, key: &str) -> Result<Vec<u8>> {
        self.read(&format!("data/{key}"), 1 << 16)
    }

    /// A whole entry of at most `most` bytes.
    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let shown = short(name);
        let damaged = || refuse(format!("a missing or damaged entry {shown:?}"), "a whole zip archive");
        let entry = *self.entries.get(&format!("{}{name}", self.root)).ok_or_else(damaged)?;
        if entry.len > most {
            return Err(refuse(format!("{} bytes of {shown:?}", entry.len), format!("at most {most} bytes")));
        }
        let header = read_at(&mut self.file, entry.header_start, LOCAL_LEN).map_err(|_| damaged())?;
        let names_len = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let data_start = entry.header_start + LOCAL_LEN as u64 + names_len;
        if !header.starts_with(LOCAL_MAGIC) || data_start + entry.len > self.directory_start {
            return Err(damaged());
        }
        let bytes = read_at(&mut self.file, data_start, as_index(entry.len)?).map_err(|_| damaged())?;
        if entry.crc32 != 0 && crc32fast::hash(&bytes) != entry.crc32 {
            return Err(refuse(format!("entry {shown:?} with a wrong checksum"), "a file without damage"));
        }
        Ok(bytes)
    }
}

/// Start and length of the directory and the number of its entries, from the record that ends the file.
fn read_end(end: &[u8], end_start: u64) -> Result<(u64, usize, usize)> {
    let (disks, on_disk) = (u32_at(end, 4), u16_at(end, 8));
    let (count, comment_len) = (u16_at(end, 10), u16_at(end, 20));
    if !end.starts_with(END_MAGIC) || disks != 0 || on_disk != count || comment_len != 0 {
        return Err(refuse(
            "an archive that does not end with its directory",
            "a whole file: this one is cut off, or something was appended to it",
        ));
    }
    let (len, start) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let (count, len_bytes) = (usize::from(count), as_index(len)?);
    if count == 0 || count > MAX_ENTRIES || len_bytes > MAX_DIRECTORY_BYTES || start + len > end_start {
        return Err(refuse(
            format!("an archive with {count} entries and a directory of {len} bytes at byte {start}"),
            format!(
                "1 to {MAX_ENTRIES} entries, and a directory of at most {MAX_DIRECTORY_BYTES} bytes in the file"
            ),
        ));
    }
    Ok((start, len_bytes, count))
}

fn read_directory(directory: &[u8], count: usize, directory_start: u64) -> Result<HashMap<String, Entry>> {
    let damaged = || refuse("a damaged archive directory", "a whole zip archive");
    let mut entries = HashMap::with_capacity(count);
    let (mut rest, mut total) = (directory, 0u64);
    for _ in 0..count {
        let header = rest.get(..CENTRAL_LEN).filter(|header| header.starts_with(CENTRAL_MAGIC));
        let header = header.ok_or_else(damaged)?;
        let name_end = CENTRAL_LEN + usize::from(u16_at(header, 28));
        let name = rest.get(CENTRAL_LEN..name_end).and_then(|name| std::str::from_utf8(name).ok());
        let name =
            name.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(damaged)?;
        let entry = read_entry(header, name, directory_start)?;
        // Entries that overlap could make a small file large.
        total = total.saturating_add(entry.len);
        if total > directory_start || entries.insert(name.to_owned(), entry).is_some() {
            return Err(refuse(
                format!("entry {name:?}, which overlaps or repeats another"),
                "entries that lie side by side, each under a name of its own",
            ));
        }
        rest = &rest[name_end..];
    }
    if rest.is_empty() { Ok(entries) } else { Err(damaged()) }
}

fn read_entry(header: &[u8], name: &str, directory_start: u64) -> Result<Entry> {
    let (flags, method) = (u16_at(header, 8), u16_at(header, 10));
    let (stored_len, len) = (u32_at(header, 20), u32_at(header, 24));
    let (extra_len, comment_len) = (u16_at(header, 30), u16_at(header, 32));
    if method != 0 || flags & 1 != 0 || stored_len != len || extra_len != 0 || comment_len != 0 {
        return Err(refuse(
            format!("entry {name:?} of {len} bytes in {stored_len}, method {method}, flags {flags:#x}"),
            "entries as torch.save stores them: neither compressed nor encrypted, without extra fields",
        ));
    }
    let entry =
        Entry { header_start: u64::from(u32_at(header, 42)), len: u64::from(len), crc32: u32_at(header, 16) };
    if entry.header_start + LOCAL_LEN as u64 + entry.len > directory_start {
        return Err(refuse(
            format!("entry {name:?} of {len} bytes beyond the end of the file"),
            "a whole file",
        ));
    }
    Ok(entry)
}

/// The folder that holds the one pickle.
fn find_root(entries: &HashMap<String, Entry>) -> Result<String> {
    let roots = entries.keys().filter_map(|name| name.strip_suffix(PICKLE));
    let roots: Vec<&str> = roots.filter(|root| root.is_empty() || root.ends_with('/')).collect();
    let [root] = roots[..] else {
        return Err(refuse(
            format!("a zip archive with {} entries called {PICKLE}", roots.len()),
            "a checkpoint saved by torch.save, which has one",
        ));
    };
    if entries.contains_key(&format!("{root}constants.pkl")) {
        return Err(refuse(
            "a TorchScript archive",
            "a training checkpoint: the .pt that the TorchScript was exported from",
        ));
    }
    Ok(root.to_owned())
}

fn read_at(file: &mut File, start: u64, len: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Of a record that is long enough.
fn u16_at(record: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([record[at], record[at + 1]])
}

/// Of a record that is long enough.
fn u32_at(record: &[u8], at: usize) -> u32 {
    u32::from(u16_at(record, at)) | u32::from(u16_at(record, at + 2)) << 16
}
