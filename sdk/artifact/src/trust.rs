//! What a device accepts: whose bundles, made for which board, and none older than it has already moved on from.
//! Nobody is trusted unless a caller says so.

mod detached;
mod keys;
mod minimum;

use crate::{Error, Fault, Manifest, rknn};

pub use detached::signer_of_file;
pub use keys::KeyRing;
pub use minimum::{minimum_security_version, raise_minimum_security_version};

/// What a device accepts. The default trusts nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    /// Who may have made a bundle.
    pub origin: Origin,
    /// What it must be made for.
    pub device: Device,
    /// Bundles of a lower security version are replays.
    pub minimum_security_version: u32,
}

/// Who may have made a bundle.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// Who holds one of these keys. The signature is verified before the manifest is parsed.
    Keys(KeyRing),
    /// Anyone: the file must be whole, and its signature, if it has one, is not judged.
    Anyone,
}

/// What a bundle must be made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Anything: which engine runs it is found out when it is loaded.
    Any,
    /// A board without an NPU: there must be a payload for the CPU.
    Cpu,
    /// A board with this NPU: a payload for it, or none for any NPU.
    Npu {
        /// The chip, such as `rk3588`.
        chip: String,
    },
}

impl Default for Trust {
    fn default() -> Self {
        Self { origin: Origin::Keys(KeyRing::default()), device: Device::Any, minimum_security_version: 0 }
    }
}

impl Trust {
    /// Accepts any whole bundle: for hosts, and for devices whose owner says so.
    pub fn anyone() -> Self {
        Self { origin: Origin::Anyone, ..Self::default() }
    }

    /// Accepts what one of `keys` has signed.
    pub fn keys(keys: KeyRing) -> Self {
        Self { origin: Origin::Keys(keys), ..Self::default() }
    }

    /// Judges who signed `message`, before any of it is parsed; gives the signer's name where it was judged.
    pub(crate) fn judge_origin(
        &self,
        message: &[u8],
        signature: Option<&str>,
    ) -> Result<Option<String>, Error> {
        match (&self.origin, signature) {
            (Origin::Anyone, _) => Ok(None),
            (Origin::Keys(keys), Some(signature)) => keys.signer_of(message, signature).map(Some),
            (Origin::Keys(_), None) => Err(Error::Untrusted(Fault::new(
                "an unsigned bundle",
                "one signed by a key that this device trusts",
                "sign it with `train-host sign`, or pass --allow-unsigned if you know where it comes from",
            ))),
        }
    }

    /// Judges what the manifest says.
    pub(crate) fn judge_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        manifest.payloads.iter().try_for_each(|payload| expect_plain(&payload.target))?;
        let version = manifest.security_version;
        if version < self.minimum_security_version {
            return Err(Error::Untrusted(Fault::new(
                format!("a bundle of security version {version}"),
                format!("at least {}, which this device has moved on to", self.minimum_security_version),
                "install a newer bundle: older ones have flaws that were mended since",
            )));
        }
        self.judge_targets(manifest)
    }

    fn judge_targets(&self, manifest: &Manifest) -> Result<(), Error> {
        let targets = || manifest.payloads.iter().map(|payload| payload.target.as_str());
        let fits = match &self.device {
            Device::Any => true,
            Device::Cpu => targets().any(|target| target == ANY_CPU),
            Device::Npu { chip } => {
                targets().any(|target| rknn::family(target) == rknn::family(chip))
                    || targets().all(|target| target == ANY_CPU)
            }
        };
        if fits {
            return Ok(());
        }
        let (expected, target) = match &self.device {
            Device::Npu { chip } => (format!("a payload for {chip}, or for CPUs only"), chip.as_str()),
            Device::Any | Device::Cpu => ("a payload for the CPU".to_owned(), ANY_CPU),
        };
        Err(Error::Untrusted(Fault::new(
            format!("a bundle for {}", targets().collect::<Vec<_>>().join(" and ")),
            expected,
            format!("this is another board's bundle: convert with `train-host convert --target {target}`"),
        )))
    }
}

/// Target of a payload that any CPU runs.
const ANY_CPU: &str = "host";

/// Refuses a target that is not one plain word: it is shown as it stands, and an unsigned bundle may come from anyone.
fn expect_plain(target: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&target.len()) && target.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::Artifact(Fault::new(
        format!("manifest: {target:?} is the target of a payload"),
        "a board, a chip or `host`: 1 to 64 letters, digits, '.', '_' and '-'",
        "the bundle was written wrongly: make it again with `train-host convert --target` and the name of your chip",
    )))
}

#[cfg(test)]
pub(crate) mod tests;
