//! Settings of the sinks, as sections of a program's TOML file. Unknown keys are errors.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The sinks that are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// A page in a browser.
    pub web: Option<WebConfig>,
    /// Messages to a broker.
    pub mqtt: Option<MqttConfig>,
    /// Video on a disk.
    pub record: Option<RecordConfig>,
    /// A display of the board's own.
    pub screen: Option<ScreenConfig>,
}

/// `[web]`: a page with the live picture, controls, and metrics for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Address and port; 127.0.0.1:8080 unless told otherwise. One that others can reach takes a token.
    pub listen: SocketAddr,
    /// File with the token that a browser must know: 16 to 256 letters, digits and `-_.~`.
    pub token_file: Option<PathBuf>,
    /// Most pictures in a second; 30 unless told otherwise. What is found is shown for every frame.
    pub max_fps: PictureRate,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
            max_fps: PictureRate::default(),
        }
    }
}

/// `[mqtt]`: what was found, frame by frame, as the JSON lines have it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// Host of the broker, with `:port` where it is not 1883.
    pub broker: String,
    /// Topic of the frames; `online` and `offline` go to this with `/availability`.
    pub topic: String,
    /// Name to log in with.
    #[serde(default)]
    pub user: Option<String>,
    /// File with the password to log in with.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// `[record]`: video in segments, the oldest of which go when there are too many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// Folder of the segments; made where it is not there.
    pub folder: PathBuf,
    /// What they are.
    #[serde(default)]
    pub format: VideoFormat,
    /// Largest segment, in MB of 10^6 bytes.
    #[serde(default = "default_segment_mb")]
    pub segment_mb: u64,
    /// All segments together, in MB.
    #[serde(default = "default_total_mb")]
    pub total_mb: u64,
    /// What stays free on the disk, in MB.
    #[serde(default = "default_reserve_mb")]
    pub reserve_mb: u64,
    /// Most pictures in a second; 30 unless told otherwise.
    #[serde(default)]
    pub max_fps: PictureRate,
}

impl RecordConfig {
    /// What holds where only the folder is said.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            format: VideoFormat::default(),
            segment_mb: default_segment_mb(),
            total_mb: default_total_mb(),
            reserve_mb: default_reserve_mb(),
            max_fps: PictureRate::default(),
        }
    }
}

fn default_segment_mb() -> u64 {
    64
}

fn default_total_mb() -> u64 {
    1024
}

fn default_reserve_mb() -> u64 {
    256
}

/// Pictures in a second: at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct PictureRate(NonZeroU16);

impl PictureRate {
    /// Time between two pictures.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1) / u32::from(self.0.get())
    }
}

impl Default for PictureRate {
    fn default() -> Self {
        Self(const { NonZeroU16::new(30).unwrap() })
    }
}

/// How video is kept. Each picture is a JPEG of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoFormat {
    /// Fragmented MP4, which says when each picture was taken.
    #[default]
    Mp4,
    /// Pictures one after the other, as [`MjpegFile`](crate::source::MjpegFile) reads them.
    Mjpeg,
}

/// `[screen]`: a display at the board's own connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenConfig {
    /// Device of the display; /dev/dri/card0 unless told otherwise.
    pub card: PathBuf,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self { card: "/dev/dri/card0".into() }
    }
}

impl SinkConfig {
    /// With relative paths that start at `folder`.
    pub fn started_at(mut self, folder: &Path) -> Self {
        let files = [
            self.web.as_mut().and_then(|web| web.token_file.as_mut()),
            self.mqtt.as_mut().and_then(|mqtt| mqtt.password_file.as_mut()),
            self.record.as_mut().map(|record| &mut record.folder),
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&file);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_may_be_short_and_know_their_keys() {
        let config: SinkConfig = toml::from_str(
            "[web]\ntoken_file = 'token'\nmax_fps = 10\n[mqtt]\nbroker = 'b'\ntopic = 't'\n[record]\nfolder = '/v'\nformat = 'mjpeg'",
        )
        .unwrap();
        let config = config.started_at(Path::new("/etc/repedge"));
        let web = config.web.unwrap();
        assert_eq!(web.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(web.token_file.unwrap(), Path::new("/etc/repedge/token"));
        let record = config.record.unwrap();
        assert_eq!((record.folder.to_str(), record.format), (Some("/v"), VideoFormat::Mjpeg));
        assert!(record.segment_mb <= record.total_mb);
        assert_eq!(web.max_fps.interval(), Duration::from_millis(100));
        assert_eq!(record.max_fps.interval(), Duration::from_secs(1) / 30);
        for wrong in [
            "[web]\nport = 1",
            "[web]\nmax_fps = 0",
            "[mqtt]\nbroker = 'b'",
            "[record]\nfolder = 'f'\nformat = 'avi'",
            "[tv]",
        ] {
            assert!(toml::from_str::<SinkConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
