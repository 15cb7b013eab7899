//! Rockchip's boot files (`rkXXXX_spl_loader_*.bin`): the pieces of code that a boot ROM is given so that it can write.
//! A file is read within its bounds and never run here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rockfile::boot::{RkBootEntry, RkBootHeader, RkBootHeaderEntry};

/// Where a boot ROM puts the code that sets memory up.
const MEMORY_AREA: u16 = 0x471;
/// Where a boot ROM puts the loader itself.
const LOADER_AREA: u16 = 0x472;
const HEADER_BYTES: usize = 102;
const ENTRY_BYTES: usize = 57;
/// No piece asks to be waited for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A piece of code for a boot ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which area it goes to.
    pub area: u16,
    /// The code, as the boot ROM takes it.
    pub code: Vec<u8>,
    /// How long to wait after it.
    pub pause: Duration,
}

/// Reads a boot file.
///
/// # Errors
/// When it is none or ends early.
pub fn read(file: &Path) -> Result<Vec<Piece>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&bytes).with_context(|| {
        format!(
            "{} is no boot file of Rockchip's: expected one such as rk3588_spl_loader_*.bin",
            file.display()
        )
    })
}

fn parse(bytes: &[u8]) -> Result<Vec<Piece>> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().context("it ends within its header")?;
    let header = RkBootHeader::from_bytes(header).context("it does not begin with BOOT or LDR")?;
    let mut pieces = pieces_of(bytes, &header.entry_471, MEMORY_AREA)?;
    pieces.extend(pieces_of(bytes, &header.entry_472, LOADER_AREA)?);
    ensure!(pieces.iter().any(|piece| piece.area == LOADER_AREA), "it has no code that writes");
    Ok(pieces)
}

fn pieces_of(bytes: &[u8], list: &RkBootHeaderEntry, area: u16) -> Result<Vec<Piece>> {
    let entries = (0..usize::from(list.count)).map(|at| {
        let start = usize::try_from(list.offset)? + at * usize::from(list.size);
        let entry = slice(bytes, start, ENTRY_BYTES)?.first_chunk().context("an entry is cut off")?;
        let entry = RkBootEntry::from_bytes(entry);
        let code = slice(bytes, usize::try_from(entry.data_offset)?, usize::try_from(entry.data_size)?)?;
        ensure!(!code.is_empty(), "piece {at} of area {area:#x} is empty");
        let pause = Duration::from_millis(entry.data_delay.into()).min(LONGEST_PAUSE);
        Ok(Piece { area, code: code.to_vec(), pause })
    });
    entries.collect()
}

fn slice(bytes: &[u8], start: usize, length: usize) -> Result<&[u8]> {
    let end = start.checked_add(length).filter(|end| *end <= bytes.len());
    let end =
        end.with_context(|| format!("it says that {length} bytes lie from {start} on, and ends before"))?;
    Ok(&bytes[start..end])
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A boot file with one piece for each area.
    pub fn example() -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES];
        file[..4].copy_from_slice(b"LDR ");
        // Behind tag, size, two versions, seven bytes of time and four of chip stand the lists of entries.
        for (at, offset) in [(25, HEADER_BYTES), (31, HEADER_BYTES + ENTRY_BYTES)] {
            file[at] = 1;
            file[at + 1..at + 5].copy_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
            file[at + 5] = u8::try_from(ENTRY_BYTES).unwrap();
        }
        let data = u32::try_from(HEADER_BYTES + 2 * ENTRY_BYTES).unwrap();
        for (offset, size) in [(data, 6_u32), (data + 6, 5000)] {
            let mut entry = vec![0; ENTRY_BYTES];
            entry[45..49].copy_from_slice(&offset.to_le_bytes());
            entry[49..53].copy_from_slice(&size.to_le_bytes());
            file.extend(entry);
        }
        file.extend(b"memory");
        file.extend([7; 5000]);
        file
    }

    #[test]
    fn pieces_come_in_the_order_of_their_areas() {
        let pieces = parse(&example()).unwrap();
        let shown: Vec<_> = pieces.iter().map(|piece| (piece.area, piece.code.len())).collect();
        assert_eq!(shown, [(0x471, 6), (0x472, 5000)]);
        assert_eq!(pieces[0].code, b"memory");
    }

    #[test]
    fn a_file_that_ends_early_or_is_another_is_refused() {
        let file = example();
        for length in [0, 50, HEADER_BYTES, HEADER_BYTES + 60, file.len() - 1] {
            assert!(parse(&file[..length]).is_err(), "{length}");
        }
        assert!(parse(&[0; 5000]).unwrap_err().to_string().contains("BOOT or LDR"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..216, bytes in prop::array::uniform4(any::<u8>()), cut in 0usize..5300) {
            let mut file = example();
            file[at..at + 4].copy_from_slice(&bytes);
            file.truncate(cut);
            let _ = parse(&file);
        }
    }
}
