//! A broker that takes in one client after the other and remembers what it said: as much of MQTT 3.1.1 as it takes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It came; the bytes of its packet.
    Connect(Vec<u8>),
    Publish {
        topic: String,
        payload: String,
        retain: bool,
    },
    Disconnect,
}

/// A broker that ends each line after so many messages, if told to.
pub fn start(messages_a_line: usize) -> (u16, Receiver<Said>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().port(), start_at(listener, messages_a_line))
}

/// As [`start`], where `listener` listens.
pub fn start_at(listener: TcpListener, messages_a_line: usize) -> Receiver<Said> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that leaves is no failure of the broker.
            let _ = serve(stream.unwrap(), &sender, messages_a_line);
        }
    });
    receiver
}

fn serve(mut stream: TcpStream, sender: &Sender<Said>, messages: usize) -> io::Result<()> {
    let mut seen = 0;
    while seen < messages {
        let (head, body) = packet(&mut stream)?;
        let said = match head >> 4 {
            1 => {
                stream.write_all(&[0x20, 2, 0, 0])?;
                Said::Connect(body)
            }
            3 => {
                seen += 1;
                let (topic, rest) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
                let is_confirmed = head & 0b110 != 0;
                if is_confirmed {
                    stream.write_all(&[0x40, 2, rest[0], rest[1]])?;
                }
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let payload = text(&rest[if is_confirmed { 2 } else { 0 }..]);
                Said::Publish { topic: text(topic), payload, retain: head & 1 == 1 }
            }
            12 => {
                stream.write_all(&[0xd0, 0])?;
                continue;
            }
            14 => Said::Disconnect,
            other => panic!("packet {other}"),
        };
        let _ = sender.send(said);
    }
    Ok(())
}

fn packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut byte = || {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| byte[0])
    };
    let (head, mut length, mut shift) = (byte()?, 0, 0);
    loop {
        let part = byte()?;
        length |= usize::from(part & 0x7f) << shift;
        shift += 7;
        if part & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}
