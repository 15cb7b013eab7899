//! Boards of Rockchip's on USB: who is there, and in which mode. Looking opens none of them; nothing here writes.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rockusb::libusb::Devices;
use rusb::{Context, Device, UsbContext};

use super::link::Link;

/// What runs on a board that shows on USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its boot ROM: it takes code, and can neither read nor write memory itself.
    Maskrom,
    /// A loader, which reads and writes.
    Loader,
}

/// Vendor number of Rockchip's.
const VENDOR: u16 = 0x2207;

/// What a board on USB shows without being opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Vendor and product number.
    pub ids: (u16, u16),
    /// What runs on it.
    pub mode: Mode,
    /// Where it is plugged in.
    pub place: String,
}

/// A board on USB that is open.
pub struct Found {
    /// What it shows.
    pub seen: Seen,
    /// The way to it.
    pub link: Box<dyn Link>,
}

/// Where boards are looked for; tests make one up.
pub trait Bus {
    /// Every board of Rockchip's that is plugged in; opens none.
    ///
    /// # Errors
    /// When USB cannot be asked.
    fn look(&mut self) -> Result<Vec<Seen>>;

    /// Opens every board of Rockchip's that is plugged in.
    ///
    /// # Errors
    /// When USB cannot be asked, or a board may not be opened.
    fn list(&mut self) -> Result<Vec<Found>>;

    /// Waits, while a board does something that it does not report.
    fn wait(&mut self, duration: Duration);
}

/// The USB of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Usb;

impl Usb {
    /// Whether this machine has USB that can be asked, whatever is plugged in.
    pub fn is_there() -> bool {
        context().is_ok_and(|context| context.devices().is_ok())
    }
}

impl Bus for Usb {
    fn look(&mut self) -> Result<Vec<Seen>> {
        let devices = context()?.devices().context("cannot list USB devices")?;
        let seen = devices.iter().map(|device| Seen::of(&device));
        // What is not to be understood is another's, as long as nothing is written.
        Ok(seen.flatten().filter(|seen| seen.ids.0 == VENDOR).collect())
    }

    fn list(&mut self) -> Result<Vec<Found>> {
        // The library behind `Devices` panics where there is no USB, as in containers.
        context()?;
        let devices = Devices::new().map_err(|error| anyhow::anyhow!("cannot list USB devices: {error}"))?;
        let mut found = Vec::new();
        for device in devices.iter() {
            let device = match device {
                Ok(device) => device,
                Err(error) => bail!(
                    "a Rockchip device is plugged in and cannot be opened: {}\n  help: run as root, or let your user \
                     open USB devices of vendor 2207 by a udev rule: SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"2207\", \
                     TAG+=\"uaccess\"",
                    error.error
                ),
            };
            let seen = Seen::of(&device.transport().handle().device())?;
            found.push(Found { seen, link: Box::new(device) });
        }
        Ok(found)
    }

    fn wait(&mut self, duration: Duration) {
        thread::sleep(duration);
    }
}

fn context() -> Result<Context> {
    Context::new().context("this machine has no USB that can be asked")
}

impl Seen {
    fn of<T: UsbContext>(device: &Device<T>) -> Result<Self> {
        let place = format!("bus {} device {}", device.bus_number(), device.address());
        let descriptor = device.device_descriptor();
        let descriptor =
            descriptor.with_context(|| format!("the USB device at {place} does not describe itself"))?;
        // Rockchip's tools tell the two by the lowest bit of the USB version: 2.00 is the boot ROM, 2.01 a loader.
        let is_loader = descriptor.usb_version().sub_minor() & 1 == 1;
        let mode = if is_loader { Mode::Loader } else { Mode::Maskrom };
        Ok(Self { ids: (descriptor.vendor_id(), descriptor.product_id()), mode, place })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Maskrom => "maskrom mode",
            Self::Loader => "loader mode",
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x}:{:04x} at {} in {}", self.ids.0, self.ids.1, self.place, self.mode)
    }
}
