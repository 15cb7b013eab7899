//! As much HTTP as it takes to ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer's head, and the connection its body comes from.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    body: BufReader<TcpStream>,
}

/// Asks for `path` with these lines in the head.
pub fn ask(host: &str, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !lines.iter().any(|line| line.starts_with("Host:")) {
        head += &format!("Host: {host}\r\n");
    }
    lines.iter().for_each(|line| head += &format!("{line}\r\n"));
    write!(stream, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut headers).unwrap() > 0, "the answer ends in its head: {headers}");
    }
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers: headers.to_ascii_lowercase(), body: reader }
}

/// Asks and gives status and body.
pub fn get(host: &str, path: &str, lines: &[&str]) -> (u16, String) {
    let answer = ask(host, "GET", path, lines, "");
    (answer.status, answer.text())
}

/// Asks for a change.
pub fn post(host: &str, body: &str, lines: &[&str]) -> u16 {
    let lines = [lines, &["Content-Type: application/json"]].concat();
    ask(host, "POST", "/api/control", &lines, body).status
}

impl Answer {
    pub fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    /// The next picture of a stream, which comes in chunks.
    pub fn picture(&mut self) -> Vec<u8> {
        let mut line = String::new();
        let length: usize = loop {
            line.clear();
            assert!(self.body.read_line(&mut line).unwrap() > 0, "the stream ends");
            if let Some(length) = line.strip_prefix("Content-Length: ") {
                break length.trim().parse().unwrap();
            }
        };
        self.body.read_line(&mut line).unwrap();
        let mut picture = vec![0; length];
        self.body.read_exact(&mut picture).unwrap();
        picture
    }
}
