//! Where frames go: every sink there is but a display, and somebody at the other end of each. Afterwards it is counted what arrived.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use repedge::draw;
use repedge::pipeline::Overlay;
use repedge::sink::config::{MqttConfig, RecordConfig, SinkConfig, VideoFormat, WebConfig};
use repedge::sink::{Controls, Lines, Object, Sink, Vitals, open_all};
use repedge::source::Shot;
use serde_json::{Value, json};

use super::broker::{self, Said};
use super::visitors::{Came, Visitors};

/// How long the broker may hear nothing before that is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "repedge/bench";
/// Small, so that segments begin and go in every longer run.
const SEGMENT_MB: u64 = 8;
const RECORD_MB: u64 = 32;

/// Boxes, labels and a caption.
pub struct Drawn(draw::Overlay);

impl Drawn {
    pub fn new() -> Self {
        Self(draw::Overlay::new())
    }
}

impl Overlay for Drawn {
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals) {
        // Fails where sides and bytes do not fit together, and then the stages before have lost the frame.
        let _ = self.0.draw(shot, objects, classes, vitals);
    }
}

/// Who is at the other end of the sinks.
pub struct Places {
    folder: PathBuf,
    visitors: Visitors,
    published: JoinHandle<Result<u64>>,
}

/// What arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// JSON lines.
    pub lines: usize,
    /// At the page.
    pub page: Came,
    /// Frames at the broker.
    pub published: u64,
    /// Segments of video that are left.
    pub segments: usize,
}

/// Who runs at the lowest priority, because they are other machines where there is a board: what they take of this one's cores
/// is no cost of the pipeline.
pub const ELSEWHERE: [&str; 3] = ["the page's visitors", "the broker", "who listens to the broker"];

/// Does `work` at the lowest priority; the threads that it starts inherit that.
fn elsewhere<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // Linux takes this for the calling thread alone.
            rustix::process::nice(19)?;
            work()
        });
        worker.join().map_err(|_| anyhow!("a thread panicked that stands for another machine"))?
    })
}

/// All sinks, writing below `folder`, once somebody listens to each.
pub fn open(folder: &Path) -> Result<(Vec<Box<dyn Sink>>, Places)> {
    let (port, said) = elsewhere(|| Ok(broker::start(usize::MAX)))?;
    let config = SinkConfig {
        web: Some(WebConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..WebConfig::default() }),
        mqtt: Some(MqttConfig {
            broker: format!("127.0.0.1:{port}"),
            topic: TOPIC.into(),
            user: None,
            password_file: None,
        }),
        record: Some(RecordConfig {
            format: VideoFormat::Mp4,
            segment_mb: SEGMENT_MB,
            total_mb: RECORD_MB,
            reserve_mb: RECORD_MB,
            ..RecordConfig::new(folder.join("video"))
        }),
        screen: None,
    };
    let mut sinks = open_all(&config, &Controls::new(super::scene::CONFIDENCE))?;
    sinks.push(Box::new(Lines::append(&folder.join("lines.jsonl"))?));
    let host = sinks.iter().find_map(|sink| page(&sink.describe())).context("no sink that is a page")?;
    let visitors = elsewhere(|| Visitors::come(&host))?;
    wait_for(&said, "online")?;
    let published = elsewhere(|| Ok(thread::spawn(move || count_published(&said))))?;
    Ok((sinks, Places { folder: folder.into(), visitors, published }))
}

impl Places {
    /// Counts what arrived, once the sinks are closed.
    pub fn count(self) -> Result<Arrived> {
        let page = self.visitors.leave()?;
        let published = self.published.join().map_err(|_| anyhow!("the broker's listener panicked"))??;
        let mut lines = BufReader::new(File::open(self.folder.join("lines.jsonl"))?).lines();
        let videos = fs::read_dir(self.folder.join("video"))?.collect::<Result<Vec<_>, _>>()?;
        let segments = videos.iter().filter(|file| file.path().extension().is_some_and(|it| it == "mp4"));
        let lines = lines.try_fold(0, |count, line| line.map(|_| count + 1))?;
        Ok(Arrived { lines, page, published, segments: segments.count() })
    }
}

impl Arrived {
    pub fn report(&self) -> Value {
        let Self { lines, page: Came { pictures, messages, scrapes }, published, segments } = self;
        json!({
            "lines": lines, "pictures": pictures, "messages": messages, "scrapes": scrapes, "published": published,
            "segments": segments,
        })
    }

    /// Fails unless every line came, and something everywhere else: what is newest there replaces what is not.
    pub fn check(&self, frames: u64) -> Result<()> {
        ensure!(u64::try_from(self.lines)? == frames, "{} lines for {frames} frames", self.lines);
        let Came { pictures, messages, scrapes } = self.page;
        let is_all = [pictures, messages, scrapes, self.published].iter().all(|count| *count > 0);
        let is_all = is_all && self.segments > 0;
        ensure!(is_all, "a sink got nothing: {self:?}");
        Ok(())
    }
}

/// Host and port of a sink that is a page.
fn page(description: &str) -> Option<String> {
    Some(description.strip_prefix("page at http://")?.strip_suffix('/')?.to_owned())
}

/// Waits until the broker hears this of whether we are there.
fn wait_for(said: &Receiver<Said>, state: &str) -> Result<()> {
    loop {
        let heard = said.recv_timeout(PATIENCE).context("the broker hears nothing")?;
        if matches!(&heard, Said::Publish { retain: true, payload, .. } if payload == state) {
            return Ok(());
        }
    }
}

/// Counts the frames that the broker hears of, until it hears that we are gone.
fn count_published(said: &Receiver<Said>) -> Result<u64> {
    let mut count = 0;
    loop {
        match said.recv_timeout(PATIENCE).context("the broker hears nothing")? {
            Said::Publish { retain: false, topic, payload } => {
                let message: Value = serde_json::from_str(&payload)?;
                ensure!(topic == TOPIC && message["detections"].is_array(), "{topic}: {payload}");
                count += 1;
            }
            Said::Publish { payload, .. } if payload == "offline" => return Ok(count),
            Said::Publish { .. } => {}
            other => bail!("the broker heard {other:?} before the end"),
        }
    }
}
