//! Controls of a camera's driver, by their names.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use v4l2r::bindings::v4l2_queryctrl;
use v4l2r::ioctl::{self, CtrlId, QueryCtrlFlags};

/// Sets the control of this name, through a file of its own, which is closed before it returns.
pub fn control(path: &Path, name: &str, value: i32) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut id = 0;
    loop {
        let asked = CtrlId::new(id)?;
        let next: v4l2_queryctrl = ioctl::queryctrl(&file, asked, QueryCtrlFlags::NEXT)
            .with_context(|| format!("the driver has no control {name:?}"))?;
        id = next.id;
        let text: Vec<u8> = next.name.iter().copied().take_while(|byte| *byte != 0).collect();
        if text == name.as_bytes() {
            ioctl::s_ctrl(&file, id, value).with_context(|| format!("setting {name:?}"))?;
            eprintln!("{name}: {value}");
            return Ok(());
        }
    }
}
