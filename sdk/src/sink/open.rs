//! Sinks from settings. A sink that this build is without is an error that says how to get it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use artifact::Fault;

use super::config::{MqttConfig, ScreenConfig, SinkConfig, WebConfig};
use super::pictures::{Pictures, Taker};
use super::record::Recorder;
use super::{Controls, Sink};
use crate::Error;

/// Longest secret that is read from a file.
const MAX_SECRET: usize = 4096;

/// Opens the sinks that `config` names; `controls` are those of the page.
///
/// What is opened here fails once for each trouble (a full disk, a broker that is away), goes on trying, and works again when it
/// is over, as its [`Sink::health`] says: whoever feeds it tells of the failure and feeds it on. That also holds for what goes wrong
/// from the start and may mend itself: a disk that is not there yet, a display that nobody has plugged in.
///
/// # Errors
/// [`Error::Input`] when a setting cannot be used, names a sink this build is without, or names an address that is taken,
/// [`Error::Artifact`] when the file of a secret cannot be used.
pub fn open_all(config: &SinkConfig, controls: &Controls) -> Result<Vec<Box<dyn Sink>>, Error> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    let mut takers: Vec<Arc<dyn Taker>> = Vec::new();
    if let Some(web) = &config.web {
        sinks.push(open_web(web, controls, &mut takers)?);
    }
    if let Some(record) = &config.record {
        takers.push(Arc::new(Recorder::open(record)?));
    }
    if !takers.is_empty() {
        // One for all, so that a frame is encoded once.
        sinks.push(Box::new(Pictures::open(takers)?));
    }
    if let Some(mqtt) = &config.mqtt {
        sinks.push(open_mqtt(mqtt)?);
    }
    if let Some(screen) = &config.screen {
        sinks.push(open_screen(screen)?);
    }
    Ok(sinks)
}

#[cfg(feature = "web")]
fn open_web(
    config: &WebConfig,
    controls: &Controls,
    takers: &mut Vec<Arc<dyn Taker>>,
) -> Result<Box<dyn Sink>, Error> {
    let web = super::web::Web::open(config, controls.clone())?;
    takers.push(web.taker());
    Ok(Box::new(web))
}

#[cfg(not(feature = "web"))]
fn open_web(_: &WebConfig, _: &Controls, _: &mut Vec<Arc<dyn Taker>>) -> Result<Box<dyn Sink>, Error> {
    Err(absent("web", "web"))
}

#[cfg(feature = "mqtt")]
fn open_mqtt(config: &MqttConfig) -> Result<Box<dyn Sink>, Error> {
    Ok(Box::new(super::mqtt::Mqtt::open(config)?))
}

#[cfg(not(feature = "mqtt"))]
fn open_mqtt(_: &MqttConfig) -> Result<Box<dyn Sink>, Error> {
    Err(absent("mqtt", "mqtt"))
}

#[cfg(feature = "drm")]
fn open_screen(config: &ScreenConfig) -> Result<Box<dyn Sink>, Error> {
    Ok(Box::new(super::screen::Screen::open(config)?))
}

#[cfg(not(feature = "drm"))]
fn open_screen(_: &ScreenConfig) -> Result<Box<dyn Sink>, Error> {
    Err(absent("screen", "drm"))
}

#[cfg(not(all(feature = "web", feature = "mqtt", feature = "drm")))]
fn absent(section: &str, feature: &str) -> Error {
    Error::Input(Fault::new(
        format!("[{section}], which this build is without"),
        "sections that it was built with",
        format!("build repedge with feature `{feature}`, or leave the section out"),
    ))
}

/// How much less of a busy processor a sink's thread gets than the stages that frames pass: what shows frames may fall behind,
/// what finds objects on them may not.
const NICE: i32 = 10;

/// Starts a thread that works for a sink.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let work = || {
        // Linux takes this for the calling thread alone. Anybody may be nicer; refused, it works as before.
        let _ = rustix::process::nice(NICE);
        work();
    };
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| {
        let hint = "end other programs, or raise the limit of the service";
        Error::Input(Fault::new(format!("thread {name}: {error}"), "room for one more thread", hint))
    })
}

/// Reads the one line of a file that holds a secret.
#[cfg_attr(
    not(any(feature = "web", feature = "mqtt", test)),
    expect(dead_code, reason = "only these sinks have secrets")
)]
pub(super) fn read_secret(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| artifact::Error::io(path, e))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.len() > MAX_SECRET || secret.contains(char::is_control) {
        let found = format!("{}: {} bytes in {} lines", path.display(), text.len(), text.lines().count());
        return Err(Error::Input(Fault::new(found, "one line with the secret", "write it anew")));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(read_secret(&path).unwrap_err().to_string().contains("secret"));
        for (text, secret) in
            [("word\n", Some("word")), (" a b ", Some(" a b ")), ("", None), ("a\nb\n", None)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_secret(&path).ok().as_deref(), secret, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_opened_that_is_not_named() {
        assert!(open_all(&SinkConfig::default(), &Controls::new(0.5)).unwrap().is_empty());
    }
}
