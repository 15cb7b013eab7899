//! Which node is the camera: by its path, the first there is, or the one that was lost, under whatever number it came back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use artifact::Fault;
use v4l2r::nix::errno::Errno;

use super::node::{self, Identity, Node};
use super::watch::{Hub, Unopened};
use super::{Found, Settings, kind, offer};

/// Where Linux tells of every video device.
const CLASS: &str = "/sys/class/video4linux";
const DEVICES: &str = "/dev";

/// Finds and opens a camera, again and again.
#[derive(Debug)]
pub(super) struct Finder {
    settings: Settings,
    /// The camera that was opened, and where.
    known: Option<Found>,
    started: Instant,
}

impl Finder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, known: None, started: Instant::now() }
    }

    /// The camera that was opened last.
    pub(super) fn known(&self) -> Option<&Found> {
        self.known.as_ref()
    }

    fn path(&self) -> Result<PathBuf, Unopened> {
        let known = self.known.as_ref();
        let named = self.settings.path.as_deref();
        match (known, named) {
            (None, Some(path)) => Ok(path.to_owned()),
            (None, None) => {
                let cameras = kind::in_order(cameras().map_err(Unopened::Unfit)?, &self.settings.kinds);
                let first = cameras.into_iter().next();
                first.map(|found| found.path).ok_or_else(|| Unopened::Absent(no_camera()))
            }
            (Some(known), _) => {
                let mut seen: Vec<_> =
                    named.into_iter().filter_map(|path| look(path).ok().flatten()).collect();
                seen.extend(cameras().map_err(Unopened::Unfit)?);
                let again = pick(&seen, known, named).map(|found| found.path.clone());
                again.ok_or_else(|| Unopened::Absent(no_camera()))
            }
        }
    }
}

impl Hub for Finder {
    type Device = Node;

    fn open(&mut self) -> Result<Node, Unopened> {
        let path = self.path()?;
        let Settings { wish, kinds, .. } = &self.settings;
        let (node, Identity { card, bus, driver }) = Node::open(&path, wish, kinds)?;
        self.known = Some(Found { path, card, bus, driver });
        Ok(node)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn pause(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// Which of the cameras there are is the one that was lost: the same one in the same socket, else one of its name in another, else
/// the one that now has the path that was asked for.
fn pick<'s>(seen: &'s [Found], lost: &Found, named: Option<&Path>) -> Option<&'s Found> {
    let same = |found: &&Found| found.card == lost.card && found.bus == lost.bus;
    let again = seen.iter().filter(same).find(|found| found.path == lost.path);
    let again = again.or_else(|| seen.iter().find(same));
    let again = again.or_else(|| seen.iter().find(|found| found.card == lost.card));
    again.or_else(|| seen.iter().find(|found| named == Some(&found.path)))
}

/// Every camera, in the order of their numbers.
///
/// # Errors
/// When there are nodes and none of them may be opened.
pub(super) fn cameras() -> Result<Vec<Found>, Fault> {
    let (mut found, mut refused) = (Vec::new(), None);
    for path in nodes() {
        match look(&path) {
            Ok(camera) => found.extend(camera),
            Err(Errno::EACCES | Errno::EPERM) => refused = Some(path),
            // It went away while we looked, or is of another kind.
            Err(_) => {}
        }
    }
    match refused.filter(|_| found.is_empty()) {
        None => Ok(found),
        Some(path) => Err(Fault::new(
            format!("{}: permission denied", path.display()),
            "a camera that may be opened",
            "add the user to the group video",
        )),
    }
}

/// The nodes of video devices, in the order of their numbers.
fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(CLASS).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| Path::new(DEVICES).join(format!("video{number}"))).collect()
}

/// The camera at a path; none where it is no camera, or offers nothing that we read: a socket without a sensor, a raw sensor.
fn look(path: &Path) -> Result<Option<Found>, Errno> {
    let file = node::open_file(path).map_err(|error| node::errno_of(&error))?;
    let (Identity { card, bus, driver }, queue) = node::identify(&file)?;
    let is_camera = queue.is_some_and(|queue| offer::is_readable(&node::offers(&file, queue)));
    Ok(is_camera.then(|| Found { path: path.to_owned(), card, bus, driver }))
}

fn no_camera() -> Fault {
    Fault::new(
        "no camera",
        "a V4L2 device that captures video",
        "plug one in; `ls /dev/video*` shows what is there",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(path: &str, card: &str, bus: &str) -> Found {
        Found { path: path.into(), card: card.into(), bus: bus.into(), driver: "uvcvideo".into() }
    }

    #[test]
    fn a_camera_is_known_by_its_socket_then_its_name_then_its_path() {
        let lost = camera("/dev/video0", "C920", "usb-1");
        let seen = [
            camera("/dev/video0", "other", "usb-2"),
            camera("/dev/video1", "C920", "usb-3"),
            camera("/dev/video2", "C920", "usb-1"),
            camera("/dev/video3", "C920", "usb-1"),
        ];
        let named = Some(Path::new("/dev/video0"));
        let picked = |seen, lost, named| pick(seen, lost, named).map(|found| found.path.to_str().unwrap());
        assert_eq!(picked(&seen, &lost, named), Some("/dev/video2"));
        let third = camera("/dev/video3", "C920", "usb-1");
        assert_eq!(picked(&seen, &third, named), Some("/dev/video3"));
        assert_eq!(picked(&seen[..2], &lost, named), Some("/dev/video1"));
        assert_eq!(picked(&seen[..1], &lost, named), Some("/dev/video0"));
        assert_eq!(picked(&seen[..1], &lost, None), None);
        assert_eq!(picked(&[], &lost, named), None);
    }
}
