//! Who looks at the page while it is measured: one watches the live picture, one hears of every frame, one fetches the metrics now
//! and then. As much HTTP and WebSocket as it takes.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

/// A page that gives nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look at the metrics to the next. Prometheus looks every few seconds at most; what is measured is not much longer.
const SCRAPE: Duration = Duration::from_secs(1);
/// Any sixteen bytes as base64; this is the one of RFC 6455.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// All of them, until the page is closed.
pub struct Visitors {
    pictures: JoinHandle<Result<u64>>,
    messages: JoinHandle<Result<u64>>,
    scrapes: JoinHandle<Result<u64>>,
}

/// How much came to each.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    pub pictures: u64,
    pub messages: u64,
    /// Times that the metrics were fetched.
    pub scrapes: u64,
}

impl Visitors {
    /// Come to the page of `host`. From then on the next picture and the next message are theirs, and they have seen the metrics.
    pub fn come(host: &str) -> Result<Self> {
        let pictures = ask(host, "/stream.mjpeg", "", 200)?;
        let messages = ask(host, "/ws", UPGRADE, 101)?;
        let mut metrics = BufReader::new(connect(host)?);
        let mut text = Vec::new();
        scrape(host, &mut metrics, &mut text)?;
        let host = host.to_owned();
        Ok(Self {
            pictures: std::thread::spawn(|| count(pictures, picture)),
            messages: std::thread::spawn(|| count(messages, message)),
            scrapes: std::thread::spawn(move || Ok(1 + count(metrics, scrape_later(&host))?)),
        })
    }

    /// Waits until the page is closed; says what came.
    pub fn leave(self) -> Result<Came> {
        let counted = |visitor: JoinHandle<Result<u64>>| {
            visitor.join().unwrap_or_else(|_| Err(anyhow!("a visitor panicked")))
        };
        Ok(Came {
            pictures: counted(self.pictures).context("live picture")?,
            messages: counted(self.messages).context("messages")?,
            scrapes: counted(self.scrapes).context("metrics")?,
        })
    }
}

/// Asks for `path`, with `lines` in the head, and reads the head of the answer.
fn ask(host: &str, path: &str, lines: &str, status: u16) -> Result<BufReader<TcpStream>> {
    let mut stream = connect(host)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")?;
    let mut stream = BufReader::new(stream);
    read_head(&mut stream, status).with_context(|| format!("GET {path}"))?;
    Ok(stream)
}

fn connect(host: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads the head of an answer.
fn read_head(stream: &mut impl BufRead, status: u16) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
    }
    ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}, found {head}");
    Ok(head)
}

/// Reads one thing after the other until the page is closed.
fn count<R>(mut stream: R, mut read: impl FnMut(&mut R, &mut Vec<u8>) -> Result<Found>) -> Result<u64> {
    let (mut number, mut memory) = (0, Vec::new());
    loop {
        match read(&mut stream, &mut memory) {
            Ok(Found::Whole) => number += 1,
            Ok(Found::Other) => {}
            Err(error) if error.downcast_ref().is_some_and(is_closed) => return Ok(number),
            Err(error) => return Err(error),
        }
    }
}

/// What was read.
enum Found {
    /// A picture or a message.
    Whole,
    /// What stands between them.
    Other,
}

/// Whether the other side is gone, in whatever it was about to send.
fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Fetches the metrics, over the connection of the time before, as Prometheus does.
fn scrape(host: &str, stream: &mut BufReader<TcpStream>, text: &mut Vec<u8>) -> Result<Found> {
    write!(stream.get_mut(), "GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let head = read_head(stream, 200)?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    text.resize(length.context("metrics of no known length")?.trim().parse()?, 0);
    stream.read_exact(text)?;
    let text = std::str::from_utf8(text)?;
    ensure!(text.contains("\nrepedge_frames_total "), "metrics without frames: {text}");
    Ok(Found::Whole)
}

/// As [`scrape`], when it is time to.
fn scrape_later(host: &str) -> impl FnMut(&mut BufReader<TcpStream>, &mut Vec<u8>) -> Result<Found> {
    move |stream, text| {
        std::thread::sleep(SCRAPE);
        scrape(host, stream, text)
    }
}

/// Reads the next line of a stream of pictures, and the picture behind the one that says its length. The page sends each
/// picture in a chunk of its own, so that it lies there whole.
fn picture(stream: &mut impl BufRead, picture: &mut Vec<u8>) -> Result<Found> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    let Some(length) = line.strip_prefix("Content-Length: ") else { return Ok(Found::Other) };
    picture.resize(length.trim().parse()?, 0);
    stream.read_line(&mut line)?;
    stream.read_exact(picture)?;
    let is_whole = picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]);
    ensure!(is_whole, "{} bytes that are no JPEG", picture.len());
    Ok(Found::Whole)
}

/// Reads the next frame of a WebSocket (RFC 6455, section 5.2), as servers send them: without a mask.
fn message(stream: &mut impl Read, text: &mut Vec<u8>) -> Result<Found> {
    const TEXT: u8 = 1;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u16::from_be_bytes(length).into()
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            usize::try_from(u64::from_be_bytes(length))?
        }
        length => length.into(),
    };
    text.resize(length, 0);
    stream.read_exact(text)?;
    if head[0] & 0xf != TEXT {
        return Ok(Found::Other);
    }
    let state: Value = serde_json::from_slice(text)?;
    ensure!(state["frame"].is_u64() && state["detections"].is_array(), "a message without a frame: {state}");
    Ok(Found::Whole)
}
