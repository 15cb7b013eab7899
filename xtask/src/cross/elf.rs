//! What a program needs of the machine it runs on, read from its ELF file: processor, libraries, glibc.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use boards::Version;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use object::{Endianness, FileKind};

/// What a program needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The processor, as ELF numbers it.
    pub machine: u16,
    /// Shared libraries, in the file's order.
    pub libraries: Vec<String>,
    /// The newest glibc of which it uses a function.
    pub glibc: Option<Version>,
}

/// Reads what the program in a file needs.
///
/// # Errors
/// When it is no ELF file, or a broken one.
pub fn needs(path: &Path) -> Result<Needs> {
    let data = read(path)?;
    needs_of(&data).with_context(|| format!("{} is no program that can be checked", path.display()))
}

/// The newest glibc version that a C library defines.
///
/// # Errors
/// When it is no glibc.
pub fn newest_glibc_defined(path: &Path) -> Result<Version> {
    let data = read(path)?;
    let versions = match FileKind::parse(&*data)? {
        FileKind::Elf64 => defined::<FileHeader64<Endianness>>(&data),
        FileKind::Elf32 => defined::<FileHeader32<Endianness>>(&data),
        kind => Err(anyhow!("{kind:?} is no ELF file")),
    };
    newest(versions?.iter()).with_context(|| format!("{} is no glibc", path.display()))
}

/// Reads what a program needs from its bytes.
fn needs_of(data: &[u8]) -> Result<Needs> {
    match FileKind::parse(data)? {
        FileKind::Elf64 => needed::<FileHeader64<Endianness>>(data),
        FileKind::Elf32 => needed::<FileHeader32<Endianness>>(data),
        kind => Err(anyhow!("{kind:?} is no ELF file")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn needed<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Needs> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let mut needs = Needs { machine: header.e_machine(endian), ..Needs::default() };
    if let Some((entries, link)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        for entry in entries.iter().filter(|entry| entry.tag32(endian) == Some(elf::DT_NEEDED)) {
            let name = entry.string(endian, strings)?;
            needs.libraries.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    let mut names = Vec::new();
    if let Some((mut files, link)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut versions)) = files.next()? {
            while let Some(version) = versions.next()? {
                names.push(String::from_utf8_lossy(version.name(endian, strings)?).into_owned());
            }
        }
    }
    needs.glibc = newest(names.iter());
    Ok(needs)
}

fn defined<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Vec<String>> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let mut names = Vec::new();
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut parts)) = definitions.next()? {
            while let Some(part) = parts.next()? {
                names.push(String::from_utf8_lossy(part.name(endian, strings)?).into_owned());
            }
        }
    }
    Ok(names)
}

/// The newest of version names such as `GLIBC_2.17`; others, such as `GLIBC_PRIVATE`, are none.
fn newest<'a>(names: impl Iterator<Item = &'a String>) -> Option<Version> {
    names.filter_map(|name| name.strip_prefix("GLIBC_")?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let names = ["GLIBC_2.9", "GLIBC_2.17", "GLIBC_PRIVATE", "GCC_3.0"].map(String::from);
        assert_eq!(newest(names.iter()), Some(Version::new(2, 17)));
        assert_eq!(newest([String::from("GCC_3.0")].iter()), None);
    }

    #[test]
    fn this_test_needs_a_c_library() {
        let needs = needs(&std::env::current_exe().unwrap()).unwrap();
        assert!(needs.libraries.iter().any(|library| library.starts_with("libc.so")), "{needs:?}");
        assert!(needs.glibc >= Some(Version::new(2, 17)), "{needs:?}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\x7fELF",
            &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(needs_of(bytes).is_err(), "{bytes:?}");
        }
    }
}
