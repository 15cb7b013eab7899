//! Whom a device trusts that boots an image, and whether it runs the version that the image puts into service.

use std::io::Cursor;

use anyhow::{Context, Result, bail};
use artifact::KeyRing;

use crate::tree::{Kind, Node, Tree};
use crate::trust::{Verdict, judge};

/// What a root filesystem says of whom its devices trust lies below this.
pub const SETTINGS: &str = "etc/repedge/";
/// The keys that a root filesystem's maker trusts on every device.
const DEVICE_KEYS: &str = "etc/repedge/keys/";
/// What allows a device to run what nobody signed.
pub const ALLOW_UNSIGNED: &str = "etc/repedge/allow-unsigned";
/// The keys that the package brings, and what they are to verify.
pub const PACKAGE_KEYS: &str = "usr/lib/repedge/package/keys/";
pub const BUNDLE: &str = "usr/lib/repedge/package/model.bundle";

/// The public keys of the device, with their names.
pub fn device_keys(root: &Tree) -> Vec<(String, Node)> {
    keys_below(root, DEVICE_KEYS)
}

fn keys_below(root: &Tree, folder: &str) -> Vec<(String, Node)> {
    let below = root.nodes().filter_map(|(path, node)| Some((path.strip_prefix(folder)?, node)));
    let keys = below.filter(|(name, _)| name.ends_with(".pub") && !name.contains('/'));
    // By content alone: whoever may run the programs may read what verifies.
    let plain = keys.filter_map(|(name, node)| match &node.kind {
        Kind::File(content) => Some((name.to_owned(), Node::file(content.clone(), 0o644))),
        _ => None,
    });
    plain.collect()
}

/// Checks that a device with this root filesystem, which has the package's files in it, runs the package's bundle; a package
/// without one is about to get one that nobody signed.
///
/// # Errors
/// Says why it would run nothing, and every way out; when a key is none, or the bundle is damaged.
pub fn expect_runs(root: &Tree) -> Result<()> {
    if root.get(ALLOW_UNSIGNED).is_some() {
        return Ok(());
    }
    let own = device_keys(root);
    let (keys, way_in) = if own.is_empty() {
        (keys_below(root, PACKAGE_KEYS), "give the signer's key with --trust FILE.pub")
    } else {
        (
            own,
            "put the signer's FILE.pub into etc/repedge/keys of the --rootfs, whose keys count in place of the package's",
        )
    };
    let names: Vec<_> = keys.iter().map(|(name, _)| name.as_str()).collect();
    match verdict(root, &keys)? {
        Verdict::Verified => Ok(()),
        Verdict::Unsigned => bail!(
            "the image's bundle is not signed: expected a signed one, because a board runs no other unless it is allowed to\n  \
             help: sign it with --sign KEY (`cargo xtask keys generate` makes a key), or give --allow-unsigned, which puts the \
             file /etc/repedge/allow-unsigned into the image"
        ),
        Verdict::Unverified => bail!(
            "the image's bundle is signed by none of the keys that its boards go by ({}): expected one of theirs, because a board \
             runs no other unless it is allowed to\n  help: {way_in}, or sign the bundle with --sign KEY, a key of theirs, or give \
             --allow-unsigned, which puts the file /etc/repedge/allow-unsigned into the image",
            if names.is_empty() { "there is none".into() } else { names.join(", ") }
        ),
    }
}

fn verdict(root: &Tree, keys: &[(String, Node)]) -> Result<Verdict> {
    let Some(bundle) = root.get(BUNDLE) else { return Ok(Verdict::Unsigned) };
    let mut ring = KeyRing::default();
    for (name, key) in keys {
        ring.add(
            name,
            std::str::from_utf8(&bytes(name, key)?).with_context(|| format!("the key {name} is no text"))?,
        )?;
    }
    judge(Cursor::new(bytes(BUNDLE, bundle)?), ring)
}

fn bytes(name: &str, node: &Node) -> Result<Vec<u8>> {
    match &node.kind {
        Kind::File(content) => Ok(content.read()?.into_owned()),
        other => bail!("{name} is no file but {other:?}"),
    }
}
