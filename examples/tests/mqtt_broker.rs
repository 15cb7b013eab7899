//! What `camera-demo` says to a real broker: Debian's mosquitto with a password file, heard by its own client.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../sdk/tests/common/mod.rs"]
mod common;
mod signed;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use repedge::{Image, frame};
use serde_json::Value;
use signed::Scene;

const USER: &str = "door";
const PASSWORD: &str = "open sesame";
const TOPIC: &str = "repedge/door";
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a broker that takes in those who know the password.
fn broker(folder: &Path) -> (Running, u16) {
    let passwords = folder.join("passwords");
    let mut command = Command::new("mosquitto_passwd");
    assert!(command.args(["-c", "-b"]).arg(&passwords).args([USER, PASSWORD]).status().unwrap().success());
    loop {
        // Somebody else may take the port before the broker does; it then ends, and another one is tried.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = folder.join("mosquitto.conf");
        // Started by root it would become a user who may not read the folder.
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\n",
            passwords.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut broker = Running(Command::new("mosquitto").arg("-c").arg(&settings).spawn().unwrap());
        if answers(&mut broker.0, port) {
            return (broker, port);
        }
    }
}

/// Whether the broker listens, and not somebody else in its place.
fn answers(broker: &mut Child, port: u16) -> bool {
    let started = Instant::now();
    while broker.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < LIMIT, "mosquitto does not listen");
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return broker.try_wait().unwrap().is_none();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Listens to all that is said under the topic, as lines of topic and message.
fn listener(port: u16) -> (Running, Receiver<String>) {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-v", "-h", "127.0.0.1", "-p", &port.to_string(), "-u", USER, "-P", PASSWORD]);
    let mut child = command.args(["-t", &format!("{TOPIC}/#")]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let said = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (Running(child), lines)
}

/// The first line that begins so; what comes before is passed over.
fn hear(lines: &Receiver<String>, start: &str) -> String {
    loop {
        let line = lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("nothing that begins with {start:?}"));
        if line.starts_with(start) {
            return line;
        }
    }
}

fn demo(scene: &Scene, port: u16) -> Running {
    frame::write_png(&scene.path("pictures/a.png"), &Image::filled(64, 64, [255, 0, 0])).unwrap();
    std::fs::write(scene.path("password"), PASSWORD).unwrap();
    let settings = format!(
        "bundle = 'squares.bundle'\nkeys = 'keys'\nimages = 'pictures'\nrepeat = true\ninterval_ms = 20\njson = 'lines'\n\
         [mqtt]\nbroker = '127.0.0.1:{port}'\ntopic = '{TOPIC}'\nuser = '{USER}'\npassword_file = 'password'\n"
    );
    std::fs::write(scene.path("demo.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera-demo"));
    command.args(["--state", "state", "--config", "demo.toml"]).current_dir(scene.folder());
    Running(command.spawn().unwrap())
}

#[test]
#[ignore = "needs mosquitto"]
fn a_real_broker_hears_that_we_are_there_what_is_found_and_that_we_were_killed() {
    let scene = Scene::new(&[]);
    let (_broker, port) = broker(scene.folder());
    let (_listener, lines) = listener(port);
    let mut demo = demo(&scene, port);
    hear(&lines, &format!("{TOPIC}/availability online"));
    let line = hear(&lines, &format!("{TOPIC} {{"));
    let frame: Value = serde_json::from_str(&line[TOPIC.len()..]).unwrap();
    assert_eq!((&frame["width_px"], &frame["detections"][0]["name"]), (&64.into(), &"red".into()));
    // Killed, it cannot say so: the broker does.
    demo.0.kill().unwrap();
    hear(&lines, &format!("{TOPIC}/availability offline"));
}
