//! Boards of Rockchip's on USB: who is there, and in which mode. It opens what it finds and writes nothing.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rockusb::libusb::Devices;

use super::link::Link;

/// What runs on a board that shows on USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Its boot ROM: it takes code, and can neither read nor write memory itself.
    Maskrom,
    /// A loader, which reads and writes.
    Loader,
}

/// A board on USB.
pub struct Found {
    /// Vendor and product number.
    pub ids: (u16, u16),
    /// What runs on it.
    pub mode: Mode,
    /// Where it is plugged in.
    pub place: String,
    /// The way to it.
    pub link: Box<dyn Link>,
}

/// Where boards are looked for; tests make one up.
pub trait Bus {
    /// Every board of Rockchip's that is plugged in.
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

impl Bus for Usb {
    fn list(&mut self) -> Result<Vec<Found>> {
        // The library behind `Devices` panics where there is no USB, as in containers.
        rusb::Context::new().context("this machine has no USB that can be asked")?;
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
            let place = format!("bus {} device {}", device.bus_number(), device.address());
            let descriptor = device.transport().handle().device().device_descriptor();
            let Ok(descriptor) = descriptor else {
                bail!("the Rockchip device at {place} does not describe itself")
            };
            // Rockchip's tools tell the two by the lowest bit of the USB version: 2.00 is the boot ROM, 2.01 a loader.
            let is_loader = descriptor.usb_version().sub_minor() & 1 == 1;
            found.push(Found {
                ids: (descriptor.vendor_id(), descriptor.product_id()),
                mode: if is_loader { Mode::Loader } else { Mode::Maskrom },
                place,
                link: Box::new(device),
            });
        }
        Ok(found)
    }

    fn wait(&mut self, duration: Duration) {
        thread::sleep(duration);
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

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x}:{:04x} at {} in {}", self.ids.0, self.ids.1, self.place, self.mode)
    }
}
