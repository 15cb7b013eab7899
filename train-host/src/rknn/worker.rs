//! The worker: a child process in the toolkit's Python environment, and the talk with it. Every wait has an end: a worker
//! that says nothing for too long is killed.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::{Answer, Message, read};
use super::toolkit::{RUN, Toolkit};
use crate::{Error, Result};

/// The program that the worker runs.
const PROGRAM: &str = include_str!("worker.py");
/// How much of the end of the toolkit's messages an error quotes.
const QUOTED_BYTES: u64 = 2000;
/// How much of them is looked at; all that it prints of yolov5x is less.
const MAX_LOG_BYTES: u64 = 64 << 20;
/// Most time between the end of a worker's answers and its own, on a busy machine.
const DYING: Duration = Duration::from_secs(10);
/// Time between two looks at whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What the toolkit prints before the name of a tensor that it computes in half floats in an int8 model.
const HALF_TENSOR: &str = "Meet hybrid type, dtype: float16, tensor: ";

/// A running worker; dropping it ends it.
pub struct Worker {
    child: Child,
    requests: Option<Sender<Vec<u8>>>,
    answers: Receiver<std::io::Result<Option<Message>>>,
    /// All that the toolkit printed.
    log: File,
    limit: Duration,
}

impl Worker {
    /// Starts one that may take `limit` for each answer, and leaves its own files in `folder`.
    ///
    /// # Errors
    /// [`Error::Backend`] when it cannot be started.
    pub fn start(toolkit: &Toolkit, folder: &Path, limit: Duration) -> Result<Self> {
        let log = tempfile::tempfile().map_err(|e| cannot_start(toolkit, &e))?;
        let mut child = log
            .try_clone()
            .and_then(|stderr| {
                Command::new(toolkit.python())
                    .args([RUN, PROGRAM])
                    .current_dir(folder)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(stderr)
                    .spawn()
            })
            .map_err(|e| cannot_start(toolkit, &e))?;
        let (requests, queue) = channel::<Vec<u8>>();
        if let Some(stdin) = child.stdin.take() {
            thread::spawn(move || write_all(&queue, stdin));
        }
        let (sink, answers) = channel();
        if let Some(stdout) = child.stdout.take() {
            let mut source = BufReader::new(stdout);
            thread::spawn(move || {
                loop {
                    let message = read(&mut source);
                    let is_last = !matches!(message, Ok(Some(_)));
                    if sink.send(message).is_err() || is_last {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, requests: Some(requests), answers, log, limit })
    }

    /// Sends a request, followed by `payload`.
    ///
    /// # Errors
    /// [`Error::Input`] for what JSON cannot hold: a path that is no text.
    pub fn ask(&self, request: &impl Serialize, payload: &[u8]) -> Result<()> {
        let mut bytes = serde_json::to_vec(request).map_err(|e| {
            Error::input(e.to_string(), "paths that are text", "choose another folder for temporary files")
        })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(payload);
        if let Some(requests) = &self.requests {
            // A worker that is gone is found by the answer that does not come.
            let _ = requests.send(bytes);
        }
        Ok(())
    }

    /// Waits for an answer that is no stage; tells `on_stage` of those.
    ///
    /// # Errors
    /// [`Error::Backend`] with the end of the toolkit's messages when it failed, broke off, or said nothing for too long.
    pub fn answer(&mut self, mut on_stage: impl FnMut(&str)) -> Result<Message> {
        loop {
            let problem = match self.answers.recv_timeout(self.limit) {
                Ok(Ok(Some(Message { answer: Answer::Stage { name }, .. }))) => {
                    on_stage(&name);
                    continue;
                }
                Ok(Ok(Some(Message { answer: Answer::Failed { message }, .. }))) => message,
                Ok(Ok(Some(message))) => return Ok(message),
                Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => self.ended(),
                Ok(Err(error)) => format!("what it said cannot be read: {error}"),
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    format!("no answer within {} s", self.limit.as_secs())
                }
            };
            return Err(self.failed(&problem));
        }
    }

    /// The tensors that the toolkit says it computes in half floats between others that it does not.
    pub fn half_tensors(&mut self) -> Vec<String> {
        let mut log = Vec::new();
        let start = self.log.seek(SeekFrom::Start(0));
        // Without its log nothing is known of them, which is no reason to fail.
        let read = start.and_then(|_| (&self.log).take(MAX_LOG_BYTES).read_to_end(&mut log));
        if read.is_err() { Vec::new() } else { half_tensors(&String::from_utf8_lossy(&log)) }
    }

    /// How it ended before it answered: the toolkit's compiled parts crash on some models.
    fn ended(&mut self) -> String {
        let said = "it ended without an answer";
        let deadline = Instant::now() + DYING.min(self.limit);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("{said} ({status})"),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_AGAIN),
                _ => return said.to_owned(),
            }
        }
    }

    fn failed(&mut self, problem: &str) -> Error {
        let quoted = self.end_of_log();
        Error::backend(
            format!("rknn-toolkit2 failed: {problem}\n    {}", quoted.trim().replace('\n', "\n    ")),
            "a model that it compiles",
            "its messages above say which operator or setting it refuses; \
             another --quantizer or --precision takes another way through it",
        )
    }

    fn end_of_log(&mut self) -> String {
        let mut bytes = Vec::new();
        let start = self.log.seek(SeekFrom::End(0)).map_or(0, |end| end.saturating_sub(QUOTED_BYTES));
        let read = self.log.seek(SeekFrom::Start(start)).and_then(|_| self.log.read_to_end(&mut bytes));
        // The messages only explain a failure that is reported anyhow.
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.requests = None;
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes in a thread of its own: a worker that does not read must not hold up whoever waits for it with a limit.
fn write_all(queue: &Receiver<Vec<u8>>, mut stdin: ChildStdin) {
    while let Ok(bytes) = queue.recv() {
        if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Names of the tensors that `log` tells of.
fn half_tensors(log: &str) -> Vec<String> {
    let mut names: Vec<String> =
        log.lines().filter_map(|line| Some(line.split_once(HALF_TENSOR)?.1.trim().to_owned())).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn cannot_start(toolkit: &Toolkit, error: &std::io::Error) -> Error {
    Error::backend(
        format!("{} cannot be started: {error}", toolkit.python().display()),
        "the Python of rknn-toolkit2's environment",
        "make it anew with `cargo xtask setup rknn`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_in_half_floats_are_found_once_each() {
        let log = "I RKNN: [01:17:35.903] Meet hybrid type, dtype: float16, tensor: model.1.act\n\
                   I RKNN: [01:17:35.903] something else\n\
                   I RKNN: [01:17:35.904] Meet hybrid type, dtype: float16, tensor: model.0.act\r\n\
                   I RKNN: [01:17:35.904] Meet hybrid type, dtype: float16, tensor: model.1.act";
        assert_eq!(half_tensors(log), ["model.0.act", "model.1.act"]);
        assert!(half_tensors("").is_empty());
    }
}
