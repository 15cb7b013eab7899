//! What a compiled `.rknn` model says about itself, in the JSON behind its payload: chip, toolkit version, inputs and
//! outputs. Read before the NPU's runtime sees the model. The payload itself is skipped over, never looked into.
//!
//! The file, little endian:
//!
//! | offset   | size | field |
//! |---------:|-----:|-------|
//! | 0        | 4    | magic `RKNN` |
//! | 4        | 4    | 0 |
//! | 8        | 8    | format version: 6 for RK35xx, 0x1004 for RV110x |
//! | 16       | 8    | payload size `n` |
//! | 64       | `n`  | payload |
//! | 64 + `n` | 8    | length of the JSON, which ends the file |

mod trailer;
mod version;

use std::io::{self, Read, Seek, SeekFrom};

use crate::{Error, Fault};
use trailer::Trailer;
pub use version::{NoVersion, ToolkitVersion};

const MAGIC: [u8; 4] = *b"RKNN";
const HEADER_LEN: usize = 64;
/// Real ones have about a kibibyte, plus a hundred bytes a tensor.
const MAX_JSON_LEN: u64 = 1 << 20;

/// What a `.rknn` model is compiled for, and what goes in and out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RknnInfo {
    /// 6 for RK35xx, 0x1004 for RV110x.
    pub format_version: u64,
    /// The chips it runs on, such as `rk3588`.
    pub platforms: Vec<String>,
    /// The toolkit that compiled it.
    pub toolkit: ToolkitVersion,
    /// In the order of the runtime's indices.
    pub inputs: Vec<RknnTensor>,
    /// In the order of the runtime's indices.
    pub outputs: Vec<RknnTensor>,
}

/// An input or output of a `.rknn` model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RknnTensor {
    /// Name in the graph it was compiled from.
    pub name: String,
    /// Dimensions as in that graph: batch, channels, height, width.
    pub shape: Vec<usize>,
    /// Element type by the toolkit's name, such as `int8`; none for a model that is not quantized.
    pub dtype: Option<String>,
}

impl RknnInfo {
    /// Reads what `model`, a `.rknn` file from start to end, says about itself. Allocates no more than its JSON takes,
    /// and at most a mebibyte for that.
    ///
    /// # Errors
    /// [`Error::Artifact`] when it is no `.rknn` file, is cut short or goes on behind its end, or its JSON lacks a field;
    /// [`Error::Io`] when it cannot be read.
    pub fn read(mut model: impl Read + Seek) -> Result<Self, Error> {
        let actual_len = model.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let header = read_header(&mut model, actual_len)?;
        let json = read_json(&mut model, &header, actual_len)?;
        let trailer: Trailer = serde_json::from_slice(&json)
            .map_err(|e| damaged(format!("a trailer that cannot be read: {e}")))?;
        trailer.into_info(header.version)
    }

    /// Checks that the model is compiled for `chip`, such as `rk3588`. RK3566 and RK3568 run each other's models, and so
    /// do RV1103 and RV1106.
    ///
    /// # Errors
    /// [`Error::Artifact`] naming both chips.
    pub fn check_chip(&self, chip: &str) -> Result<(), Error> {
        if self.platforms.iter().any(|platform| family(platform) == family(chip)) {
            return Ok(());
        }
        Err(Error::Artifact(Fault::new(
            format!("a model compiled for {}", self.platforms.join(", ")),
            format!("one for {chip}, the chip of this board"),
            format!("convert the model again with `train-host convert --target {chip}`"),
        )))
    }
}

/// Chips that run each other's models, by the name of one of them.
pub(crate) fn family(chip: &str) -> String {
    let chip = chip.to_ascii_lowercase();
    match chip.as_str() {
        "rk3566" | "rk3568" => "rk3568".into(),
        "rv1103" | "rv1106" => "rv1106".into(),
        "rv1103b" | "rv1106b" => "rv1106b".into(),
        _ => chip,
    }
}

struct Header {
    version: u64,
    payload_len: u64,
}

fn read_header(model: &mut (impl Read + Seek), actual_len: u64) -> Result<Header, Error> {
    model.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut bytes = [0; HEADER_LEN];
    model.read_exact(&mut bytes).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => damaged(format!("a file of {actual_len} bytes")),
        _ => unreadable(e),
    })?;
    if bytes[..4] != MAGIC {
        return Err(damaged("a file that does not begin with `RKNN`".into()));
    }
    Ok(Header { version: number(&bytes[8..16]), payload_len: number(&bytes[16..24]) })
}

fn read_json(model: &mut (impl Read + Seek), header: &Header, actual_len: u64) -> Result<Vec<u8>, Error> {
    let cut = || damaged(format!("{actual_len} bytes with a payload of {}", header.payload_len));
    let payload_end = (HEADER_LEN as u64).checked_add(header.payload_len).ok_or_else(cut)?;
    let json_start = payload_end.checked_add(8).filter(|start| *start <= actual_len).ok_or_else(cut)?;
    model.seek(SeekFrom::Start(payload_end)).map_err(unreadable)?;
    let mut length = [0; 8];
    model.read_exact(&mut length).map_err(unreadable)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_JSON_LEN {
        return Err(damaged(format!(
            "a trailer of {length} bytes, more than the {MAX_JSON_LEN} that any model needs"
        )));
    }
    if length != actual_len - json_start {
        return Err(damaged(format!(
            "a trailer of {length} bytes where {} are left",
            actual_len - json_start
        )));
    }
    let mut json = Vec::new();
    model.take(length).read_to_end(&mut json).map_err(unreadable)?;
    Ok(json)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
}

fn damaged(found: String) -> Error {
    Error::Artifact(Fault::new(
        format!("the RKNN model: {found}"),
        "a whole `.rknn` file as rknn-toolkit2 writes it",
        "copy it again, or make it again with `train-host convert --target` and the name of your chip",
    ))
}

fn unreadable(source: io::Error) -> Error {
    Error::io("RKNN model", source)
}

#[cfg(test)]
mod tests;
