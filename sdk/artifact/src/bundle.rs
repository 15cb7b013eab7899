//! The bundle file: a fixed header, the manifest as JSON, and the payloads back to back in the manifest's order.
//! Every byte is covered by a digest that is checked before the byte is used; nothing is allocated by a length that
//! the file does not have. Never executes a payload.

mod header;

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Fault, Manifest, atomic, digest};
use header::{HEADER_LEN, Header};

/// An opened bundle whose every byte has been verified.
///
/// ```no_run
/// let mut bundle = artifact::Bundle::open("blood.bundle".as_ref())?;
/// println!("{} finds {:?}", bundle.manifest().model, bundle.manifest().classes);
/// let onnx: Vec<u8> = bundle.read_payload(0)?;
/// # Ok::<(), artifact::Error>(())
/// ```
#[derive(Debug)]
pub struct Bundle<S = File> {
    source: S,
    manifest: Manifest,
    offsets: Vec<u64>,
}

/// What [`Bundle::write`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl Bundle {
    /// Opens the file at `path` and verifies, in this order: header, manifest digest, manifest, lengths, payload
    /// digests.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Artifact`] when a digest or length does not fit, the
    /// format is another, or the manifest makes no sense.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Self::from_source(file).map_err(|error| name_file(error, path))
    }

    /// Writes a bundle to `path` atomically; `payloads` are the bytes described by `manifest.payloads`, in order. It is
    /// opened and compared before it gets its name.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the manifest is invalid, does not describe `payloads`, or does not read back;
    /// [`Error::Io`] when the file cannot be written. Nothing is left half-written.
    pub fn write(path: &Path, manifest: &Manifest, payloads: &[&[u8]]) -> Result<Written, Error> {
        manifest.validate()?;
        check_described(manifest, payloads)?;
        let json = serde_json::to_vec_pretty(manifest).map_err(|e| unwritable(&e.to_string()))?;
        let header = Header::describe(&json, payloads)?.to_bytes();
        let parts = || [&header[..], &json].into_iter().chain(payloads.iter().copied());
        let fill = |out: &mut BufWriter<File>| parts().try_for_each(|part| out.write_all(part));
        atomic::write_checked(path, fill, |finished| read_back(finished, path, manifest))?;
        let mut hasher = Sha256::new();
        parts().for_each(|part| hasher.update(part));
        let bytes = parts().map(|part| part.len() as u64).sum();
        Ok(Written { bytes, sha256: digest::hex(&hasher.finalize().into()) })
    }
}

impl<S: Read + Seek> Bundle<S> {
    /// As [`Bundle::open`], from anything that can be read and sought; the bundle fills it from start to end.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn from_source(mut source: S) -> Result<Self, Error> {
        let actual_len = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let header = Header::read(&mut source, actual_len)?;
        let manifest = read_manifest(&mut source, &header)?;
        let offsets = payload_offsets(&manifest, &header)?;
        let mut bundle = Self { source, manifest, offsets };
        (0..bundle.offsets.len()).try_for_each(|index| bundle.verify_payload(index))?;
        Ok(bundle)
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of payload `index` of [`Manifest::payloads`], verified again as they are read.
    ///
    /// # Errors
    /// [`Error::Artifact`] when there is no such payload or the file has changed since it was opened.
    pub fn read_payload(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let Some(payload) = self.manifest.payloads.get(index) else {
            return Err(damaged(format!("no payload {index}"), "an index of the manifest's payloads"));
        };
        // The length was checked against the file when it was opened, so it is safe to reserve.
        let capacity = usize::try_from(payload.length).unwrap_or(0);
        let mut bytes = Vec::with_capacity(capacity);
        self.stream_payload(index, |chunk| bytes.extend_from_slice(chunk))?;
        Ok(bytes)
    }

    fn verify_payload(&mut self, index: usize) -> Result<(), Error> {
        self.stream_payload(index, |_| ())
    }

    /// Feeds payload `index` to `sink` piece by piece and compares its digest at the end.
    fn stream_payload(&mut self, index: usize, mut sink: impl FnMut(&[u8])) -> Result<(), Error> {
        let payload = &self.manifest.payloads[index];
        self.source.seek(SeekFrom::Start(self.offsets[index])).map_err(unreadable)?;
        let mut rest = (&mut self.source).take(payload.length);
        let mut hasher = Sha256::new();
        let mut chunk = [0; 16 << 10];
        loop {
            match rest.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&chunk[..n]);
                    sink(&chunk[..n]);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(e)),
            }
        }
        if digest::hex(&hasher.finalize().into()) == payload.sha256 {
            return Ok(());
        }
        Err(damaged(
            format!("payload {:?} does not have its digest", payload.name),
            "bytes with the SHA-256 of the manifest",
        ))
    }
}

/// Verifies `finished`, which is to become `path`. Its digests vouch for the payloads.
fn read_back(finished: &Path, path: &Path, manifest: &Manifest) -> Result<(), Error> {
    let file = File::open(finished).map_err(|e| Error::io(path, e))?;
    let read = Bundle::from_source(file).map_err(|error| name_file(error, path))?;
    if read.manifest == *manifest {
        return Ok(());
    }
    Err(Error::Artifact(Fault::new(
        format!("{}: the manifest does not read back as it was written", path.display()),
        "the same manifest",
        "the disk is failing, or a number of the manifest is not finite: make the bundle again",
    )))
}

fn read_manifest(source: &mut (impl Read + Seek), header: &Header) -> Result<Manifest, Error> {
    let mut json = vec![0; header.manifest_len as usize];
    source.read_exact(&mut json).map_err(unreadable)?;
    if digest::sha256(&json) != header.manifest_sha256 {
        return Err(damaged("a manifest without its digest".into(), "a manifest whose SHA-256 fits"));
    }
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| {
        damaged(format!("a manifest that cannot be read: {e}"), "the fields of format version 1")
    })?;
    manifest.validate()?;
    Ok(manifest)
}

/// Where each payload begins; together they must fill the file to its last byte.
fn payload_offsets(manifest: &Manifest, header: &Header) -> Result<Vec<u64>, Error> {
    let mut end = HEADER_LEN as u64 + u64::from(header.manifest_len);
    let mut offsets = Vec::with_capacity(manifest.payloads.len());
    for payload in &manifest.payloads {
        offsets.push(end);
        end = end.saturating_add(payload.length);
    }
    if end != header.file_len {
        return Err(damaged(
            format!("payloads that end at byte {end} of {}", header.file_len),
            "payloads that fill the file exactly",
        ));
    }
    Ok(offsets)
}

fn check_described(manifest: &Manifest, payloads: &[&[u8]]) -> Result<(), Error> {
    if manifest.payloads.len() != payloads.len() {
        let (described, given) = (manifest.payloads.len(), payloads.len());
        return Err(unwritable(&format!("{described} payloads are described and {given} given")));
    }
    for (described, bytes) in manifest.payloads.iter().zip(payloads) {
        let fits =
            described.length == bytes.len() as u64 && described.sha256 == digest::hex(&digest::sha256(bytes));
        if !fits {
            return Err(unwritable(&format!("payload {:?} is not the one described", described.name)));
        }
    }
    Ok(())
}

fn damaged(found: String, expected: &str) -> Error {
    Error::Artifact(Fault::new(
        found,
        expected,
        "the bundle is truncated or damaged: copy it again, or make it again with `train-host convert`",
    ))
}

fn unwritable(found: &str) -> Error {
    Error::Artifact(Fault::new(
        found,
        "a manifest that describes its payloads",
        "build each with Payload::new",
    ))
}

fn unreadable(source: io::Error) -> Error {
    Error::io("bundle", source)
}

/// Says which file an error of [`Bundle::from_source`] is about.
fn name_file(error: Error, path: &Path) -> Error {
    match error {
        Error::Artifact(fault) => {
            Error::Artifact(Fault { found: format!("{}: {}", path.display(), fault.found), ..fault })
        }
        Error::Io { source, .. } => Error::io(path, source),
    }
}

#[cfg(test)]
mod tests;
