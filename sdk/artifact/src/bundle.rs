//! The bundle file: a fixed header, the manifest as JSON, the signature block where it is signed, and the payloads and
//! check images back to back in the manifest's order. Every byte is covered by a digest that is checked before the byte
//! is used; nothing is allocated by a length that the file does not have. Never executes a payload.

mod header;
mod signature;

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Fault, Manifest, Trust, atomic, digest};
use header::Header;
use signature::SIGNATURE_LEN;
pub use signature::Signer;

/// An opened bundle whose every byte has been verified.
///
/// ```no_run
/// use artifact::{Bundle, KeyRing, Trust};
///
/// let trust = Trust::keys(KeyRing::read("/etc/repedge/keys".as_ref())?);
/// let mut bundle = Bundle::open("blood.bundle".as_ref(), &trust)?;
/// println!("{} finds {:?}", bundle.manifest().model, bundle.manifest().classes);
/// let onnx: Vec<u8> = bundle.read_payload(0)?;
/// # Ok::<(), artifact::Error>(())
/// ```
#[derive(Debug)]
pub struct Bundle<S = File> {
    source: S,
    manifest: Manifest,
    /// Of payloads, then of check images.
    offsets: Vec<u64>,
    is_signed: bool,
    signer: Option<String>,
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
    /// Opens the file at `path` and verifies, in this order: header, lengths, signature, manifest digest, manifest,
    /// whether `trust` accepts it, and the digests of payloads and check images.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Artifact`] when a digest or length does not fit, the
    /// format is another, or the manifest makes no sense; [`Error::Untrusted`] when `trust` does not accept it.
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Self::from_source(file, trust).map_err(|error| name_file(error, path))
    }

    /// Writes an unsigned bundle to `path` atomically; `parts` are the bytes of `manifest.payloads`, then of
    /// `manifest.check_images`, in order. It is opened and compared before it gets its name.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the manifest is invalid, does not describe `parts`, or does not read back;
    /// [`Error::Io`] when the file cannot be written. Nothing is left half-written.
    pub fn write(path: &Path, manifest: &Manifest, parts: &[&[u8]]) -> Result<Written, Error> {
        let json = describe(manifest, parts)?;
        let header = Header::describe(&json, 0, parts)?.to_bytes();
        let head: [&[u8]; 2] = [&header, &json];
        place(path, manifest, &[&head[..], parts].concat())
    }

    /// As [`Bundle::write`], signed by `signer`.
    ///
    /// # Errors
    /// As [`Bundle::write`], and what `signer` says.
    pub fn write_signed(
        path: &Path,
        manifest: &Manifest,
        parts: &[&[u8]],
        signer: &dyn Signer,
    ) -> Result<Written, Error> {
        let json = describe(manifest, parts)?;
        let header = Header::describe(&json, SIGNATURE_LEN, parts)?.to_bytes();
        let block = signature::block(&signer.sign(&[&header[..], &json].concat())?)?;
        let head: [&[u8]; 3] = [&header, &json, &block];
        place(path, manifest, &[&head[..], parts].concat())
    }
}

impl<S: Read + Seek> Bundle<S> {
    /// As [`Bundle::open`], from anything that can be read and sought; the bundle fills it from start to end.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn from_source(mut source: S, trust: &Trust) -> Result<Self, Error> {
        let actual_len = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let header = Header::read(&mut source, actual_len)?;
        let json = read_exactly(&mut source, header.manifest_len)?;
        let is_signed = header.signature_len > 0;
        let block = read_exactly(&mut source, header.signature_len)?;
        let signature = is_signed.then(|| signature::text(&block)).transpose()?;
        let signer = trust.judge_origin(&[&header.to_bytes()[..], &json].concat(), signature)?;
        let manifest = parse_manifest(&json, &header)?;
        trust.judge_manifest(&manifest)?;
        let offsets = part_offsets(&manifest, &header)?;
        let mut bundle = Self { source, manifest, offsets, is_signed, signer };
        (0..bundle.offsets.len()).try_for_each(|index| bundle.stream_part(index, |_| ()))?;
        Ok(bundle)
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it has a signature, judged or not.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// Name of the trusted key that signed it; none where that was not judged.
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// The bytes of payload `index` of [`Manifest::payloads`], verified again as they are read.
    ///
    /// # Errors
    /// [`Error::Artifact`] when there is no such payload or the file has changed since it was opened.
    pub fn read_payload(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        if index >= self.manifest.payloads.len() {
            return Err(damaged(format!("no payload {index}"), "an index of the manifest's payloads"));
        }
        self.read_part(index)
    }

    /// The bytes of check image `index` of [`Manifest::check_images`], verified again as they are read.
    ///
    /// # Errors
    /// As [`Bundle::read_payload`].
    pub fn read_check_image(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        if index >= self.manifest.check_images.len() {
            return Err(damaged(
                format!("no check image {index}"),
                "an index of the manifest's check images",
            ));
        }
        self.read_part(self.manifest.payloads.len() + index)
    }

    /// The bytes of every payload and check image, as [`Bundle::write`] takes them.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the file has changed since it was opened.
    pub fn read_parts(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        (0..self.offsets.len()).map(|index| self.read_part(index)).collect()
    }

    fn read_part(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let length = self.manifest.parts().nth(index).map_or(0, |(_, length, _)| length);
        // The length was checked against the file when it was opened, so it is safe to reserve.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        self.stream_part(index, |chunk| bytes.extend_from_slice(chunk))?;
        Ok(bytes)
    }

    /// Feeds part `index` to `sink` piece by piece and compares its digest at the end.
    fn stream_part(&mut self, index: usize, mut sink: impl FnMut(&[u8])) -> Result<(), Error> {
        let Some((name, length, sha256)) = self.manifest.parts().nth(index) else {
            return Err(damaged(format!("no part {index}"), "an index of payloads and check images"));
        };
        self.source.seek(SeekFrom::Start(self.offsets[index])).map_err(unreadable)?;
        let mut rest = (&mut self.source).take(length);
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
        if digest::hex(&hasher.finalize().into()) == sha256 {
            return Ok(());
        }
        Err(damaged(format!("{name:?} does not have its digest"), "bytes with the SHA-256 of the manifest"))
    }
}

/// The manifest as bytes, once it is known to make sense and to describe `parts`.
fn describe(manifest: &Manifest, parts: &[&[u8]]) -> Result<Vec<u8>, Error> {
    manifest.validate()?;
    check_described(manifest, parts)?;
    serde_json::to_vec_pretty(manifest).map_err(|e| unwritable(&e.to_string()))
}

/// Writes `pieces`, which make up a bundle of `manifest`, to `path`.
fn place(path: &Path, manifest: &Manifest, pieces: &[&[u8]]) -> Result<Written, Error> {
    let fill = |out: &mut BufWriter<File>| pieces.iter().try_for_each(|piece| out.write_all(piece));
    atomic::write_checked(path, fill, |finished| read_back(finished, path, manifest))?;
    let mut hasher = Sha256::new();
    pieces.iter().for_each(|piece| hasher.update(piece));
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    Ok(Written { bytes, sha256: digest::hex(&hasher.finalize().into()) })
}

/// Verifies `finished`, which is to become `path`. Its digests vouch for the payloads.
fn read_back(finished: &Path, path: &Path, manifest: &Manifest) -> Result<(), Error> {
    let file = File::open(finished).map_err(|e| Error::io(path, e))?;
    let read = Bundle::from_source(file, &Trust::anyone()).map_err(|error| name_file(error, path))?;
    if read.manifest == *manifest {
        return Ok(());
    }
    Err(Error::Artifact(Fault::new(
        format!("{}: the manifest does not read back as it was written", path.display()),
        "the same manifest",
        "the disk is failing, or a number of the manifest is not finite: make the bundle again",
    )))
}

fn read_exactly(source: &mut impl Read, length: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length as usize];
    source.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn parse_manifest(json: &[u8], header: &Header) -> Result<Manifest, Error> {
    if digest::sha256(json) != header.manifest_sha256 {
        return Err(damaged("a manifest without its digest".into(), "a manifest whose SHA-256 fits"));
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(|e| {
        damaged(format!("a manifest that cannot be read: {e}"), "the fields of format version 2")
    })?;
    manifest.validate()?;
    Ok(manifest)
}

/// Where each part begins; together they must fill the file to its last byte.
fn part_offsets(manifest: &Manifest, header: &Header) -> Result<Vec<u64>, Error> {
    let mut end = header.parts_start();
    let mut offsets = Vec::new();
    for (_, length, _) in manifest.parts() {
        offsets.push(end);
        end = end.saturating_add(length);
    }
    if end != header.file_len {
        return Err(damaged(
            format!("payloads and check images that end at byte {end} of {}", header.file_len),
            "ones that fill the file exactly",
        ));
    }
    Ok(offsets)
}

fn check_described(manifest: &Manifest, parts: &[&[u8]]) -> Result<(), Error> {
    let described = manifest.parts().count();
    if described != parts.len() {
        return Err(unwritable(&format!("{described} parts are described and {} given", parts.len())));
    }
    for ((name, length, sha256), bytes) in manifest.parts().zip(parts) {
        if length != bytes.len() as u64 || sha256 != digest::hex(&digest::sha256(bytes)) {
            return Err(unwritable(&format!("{name:?} is not the one described")));
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
        "a manifest that describes its payloads and check images",
        "build each with Payload::new or CheckImage::new",
    ))
}

fn unreadable(source: io::Error) -> Error {
    Error::io("bundle", source)
}

/// Says which file an error of [`Bundle::from_source`] is about.
fn name_file(error: Error, path: &Path) -> Error {
    let named = |fault: Fault| Fault { found: format!("{}: {}", path.display(), fault.found), ..fault };
    match error {
        Error::Artifact(fault) => Error::Artifact(named(fault)),
        Error::Untrusted(fault) => Error::Untrusted(named(fault)),
        Error::Io { source, .. } => Error::io(path, source),
    }
}

#[cfg(test)]
mod tests;
