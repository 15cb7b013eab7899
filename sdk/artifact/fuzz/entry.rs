//! The way into the bundle reader that libFuzzer and the property tests share. A file whose digests are wrong is refused
//! at once, so bytes are also read as a manifest, a signature and a payload with all digests made right.

use std::io::Cursor;

use artifact::{Bundle, KeyRing, Trust, rknn::RknnInfo};
use sha2::{Digest, Sha256};

/// Some public key of minisign.
pub const KEY: &str = "untrusted comment: fuzz\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Reads `bytes` as a bundle in every way there is. Nothing may panic, and nothing be allocated that the bytes do not
/// have.
pub fn read_bundle(bytes: &[u8]) {
    judge(bytes);
    let _ = RknnInfo::read(Cursor::new(bytes));
    let _ = KeyRing::default().add("fuzz", &String::from_utf8_lossy(bytes));
    // The first two bytes say whether there is a signature, and how long the manifest is.
    let Some((&head, rest)) = bytes.split_first_chunk::<2>() else { return };
    let head = usize::from(u16::from_le_bytes(head));
    let (json, payload) = rest.split_at((head / 2).min(rest.len()));
    let signature = if head % 2 == 1 { block(payload) } else { Vec::new() };
    judge(&whole(json, &signature, payload));
}

fn judge(bytes: &[u8]) {
    let mut ring = KeyRing::default();
    // Without a key no signature would be looked at.
    assert!(ring.add("fuzz", KEY).is_ok());
    for trust in [Trust::anyone(), Trust::keys(ring)] {
        if let Ok(mut bundle) = Bundle::from_source(Cursor::new(bytes), &trust) {
            let parts = bundle.read_parts().map(|parts| parts.iter().map(Vec::len).sum::<usize>());
            assert!(parts.is_ok_and(|sum| sum <= bytes.len()), "an opened bundle reads as it was opened");
        }
    }
}

/// A signature block around `text`, its digest right.
fn block(text: &[u8]) -> Vec<u8> {
    let mut block = text[..text.len().min(480)].to_vec();
    block.resize(480, b'\n');
    let own = Sha256::digest(&block);
    block.extend_from_slice(&own);
    block
}

/// A file of these parts, its header right.
fn whole(json: &[u8], signature: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"REPEDGE\n".to_vec();
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend((92 + json.len() as u64 + signature.len() as u64 + payload.len() as u64).to_le_bytes());
    bytes.extend((signature.len() as u32).to_le_bytes());
    bytes.extend(Sha256::digest(json));
    let own = Sha256::digest(&bytes);
    bytes.extend(own);
    [&bytes, json, signature, payload].concat()
}
