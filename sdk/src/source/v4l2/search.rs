//! The first camera that can be used: each is tried in turn, because what a driver offers says nothing of whether a sensor is
//! connected, or whether somebody else has it.

use std::time::{Duration, Instant};

use super::{Camera, Found, Settings, find, kind};
use crate::Error;
use crate::source::{Hunt, Look, Source};

/// Looks for a camera.
#[derive(Debug)]
pub struct Search {
    settings: Settings,
    started: Instant,
}

impl Search {
    /// For any camera, to be opened as `settings` say; their path is not looked at.
    pub fn new(settings: Settings) -> Self {
        Self { settings, started: Instant::now() }
    }
}

impl Hunt for Search {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn look(&mut self) -> Look {
        let found = match find::cameras() {
            Ok(found) => kind::in_order(found, &self.settings.kinds),
            Err(fault) => return Look { source: None, refusals: vec![fault.to_string()] },
        };
        try_each(found, |Found { path, .. }| {
            let settings = Settings { path: Some(path), ..self.settings.clone() };
            Ok(Box::new(Camera::open(settings)?))
        })
    }
}

/// The first that can be opened, and why those before it cannot.
fn try_each(found: Vec<Found>, mut open: impl FnMut(Found) -> Result<Box<dyn Source>, Error>) -> Look {
    let mut refusals = Vec::new();
    for camera in found {
        match open(camera) {
            Ok(source) => return Look { source: Some(source), refusals },
            Err(error) => refusals.push(error.to_string()),
        }
    }
    Look { source: None, refusals }
}

#[cfg(test)]
mod tests {
    use artifact::Fault;

    use super::*;
    use crate::source::Pattern;

    /// Looks at cameras of these drivers, of which those of `rkisp` can be opened.
    fn look(drivers: &[&str]) -> (Look, Vec<String>) {
        let found = |driver: &&str| Found {
            path: format!("/dev/{driver}").into(),
            card: "card".into(),
            bus: "bus".into(),
            driver: (*driver).into(),
        };
        let mut tried = Vec::new();
        let look = try_each(drivers.iter().map(found).collect(), |camera| {
            tried.push(camera.driver.clone());
            if camera.driver == "rkisp" {
                return Ok(Box::new(Pattern::new(16, 16)));
            }
            Err(Error::Input(Fault::new(format!("{}: busy", camera.path.display()), "a camera", "wait")))
        });
        (look, tried)
    }

    #[test]
    fn a_camera_that_cannot_be_used_does_not_hide_the_next_one() {
        let (found, tried) = look(&["rkcif", "hdmirx", "rkisp", "uvcvideo"]);
        assert!(found.source.is_some());
        assert_eq!(tried, ["rkcif", "hdmirx", "rkisp"], "once there is one, no other is opened");
        let said: Vec<_> = found.refusals.iter().map(|it| it.contains("busy")).collect();
        assert_eq!(said, [true, true]);
        assert!(found.refusals[1].contains("/dev/hdmirx"), "{:?}", found.refusals);
    }

    #[test]
    fn where_none_can_be_used_each_says_why() {
        let (found, _) = look(&["rkcif", "hdmirx"]);
        assert!(found.source.is_none() && found.refusals.len() == 2);
        let (none, _) = look(&[]);
        assert!(none.source.is_none() && none.refusals.is_empty());
    }
}
