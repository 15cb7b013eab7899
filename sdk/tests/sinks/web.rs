//! The page's server: what it answers, whom it refuses, and that nobody holds it up.

use std::sync::mpsc;
use std::time::Duration;

use repedge::frame::parse_image;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::feed::Feed;
use super::http::{ask, get, post};

const LOCAL: &str = "[web]\nlisten = '127.0.0.1:0'";
const SIZE_PX: [usize; 2] = [160, 120];

/// Does `visit` while frames are shown.
fn visited<T: Send + 'static>(feed: &mut Feed, visit: impl FnOnce(String) -> T + Send + 'static) -> T {
    let (host, (sender, receiver)) = (feed.host(), mpsc::channel());
    std::thread::spawn(move || sender.send(visit(host)));
    let mut result = None;
    feed.run_until(|_| match receiver.try_recv() {
        Ok(value) => {
            result = Some(value);
            true
        }
        Err(mpsc::TryRecvError::Empty) => false,
        Err(mpsc::TryRecvError::Disconnected) => panic!("the visit failed"),
    });
    result.unwrap()
}

#[test]
fn the_page_and_the_state_are_answered() {
    let mut feed = Feed::open(LOCAL, SIZE_PX);
    let host = feed.host();
    let page = ask(&host, "GET", "/", &[], "");
    assert!(page.headers.contains("content-security-policy: default-src 'none'"), "{}", page.headers);
    assert!(page.text().contains("<title>RepEdge</title>"));
    let state: Value = serde_json::from_str(&get(&host, "/api/state", &[]).1).unwrap();
    assert_eq!(state["age_ms"], Value::Null, "no frame was shown");
    feed.step();
    let state: Value = serde_json::from_str(&get(&host, "/api/state", &[]).1).unwrap();
    assert_eq!(
        (&state["frame"], &state["width_px"], &state["paused"]),
        (&0.into(), &160.into(), &false.into())
    );
    assert_eq!(state["detections"][0]["name"], "disc");
    assert_eq!(state["times"]["decode_us"], 800);
    assert!(state["age_ms"].is_u64(), "{state}");
    let metrics = get(&host, "/metrics", &[]).1;
    assert!(metrics.contains("\nrepedge_frames_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nrepedge_frame_age_seconds "), "{metrics}");
    assert_eq!(get(&host, "/nothing", &[]).0, 404);
}

#[test]
fn controls_change_what_they_say_and_nothing_else() {
    let feed = Feed::open(LOCAL, SIZE_PX);
    let host = feed.host();
    assert_eq!(post(&host, "{\"paused\":true,\"confidence\":0.5}", &[]), 200);
    assert!(feed.controls.is_paused());
    assert_eq!(feed.controls.confidence().to_bits(), 0.5_f32.to_bits());
    assert_eq!(post(&host, "{\"paused\":false}", &[]), 200);
    assert!(!feed.controls.is_paused());
    for wrong in [
        "",
        "{",
        "{\"confidence\":1.5}",
        "{\"confidence\":-1e40}",
        "{\"pause\":true}",
        "[]",
        &" ".repeat(9999),
    ] {
        assert!([400, 413].contains(&post(&host, wrong, &[])), "{wrong}");
    }
    assert_eq!(ask(&host, "POST", "/api/control", &[], "{\"paused\":true}").status, 415);
    assert_eq!(ask(&host, "GET", "/api/control", &[], "").status, 405);
    assert!(!feed.controls.is_paused());
    assert_eq!(feed.controls.confidence().to_bits(), 0.5_f32.to_bits());
}

#[test]
fn other_sites_and_other_names_are_refused() {
    let feed = Feed::open(LOCAL, SIZE_PX);
    let host = feed.host();
    assert_eq!(get(&host, "/api/state", &["Host: evil.example"]).0, 403);
    assert_eq!(post(&host, "{\"paused\":true}", &["Origin: https://evil.example"]), 403);
    assert!(!feed.controls.is_paused());
    assert_eq!(post(&host, "{\"paused\":true}", &[&format!("Origin: http://{host}")]), 200);
    let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
    request.headers_mut().insert("Origin", "https://evil.example".parse().unwrap());
    let stream = std::net::TcpStream::connect(&host).unwrap();
    assert!(tungstenite::client(request, stream).is_err());
}

#[test]
fn who_knows_the_token_may_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "correct-horse-battery\n").unwrap();
    let feed = Feed::open(&format!("{LOCAL}\ntoken_file = {path:?}"), SIZE_PX);
    let host = feed.host();
    let status = |path, lines: &[&str]| get(&host, path, lines).0;
    assert_eq!(status("/", &[]), 401);
    assert_eq!(status("/api/state?token=correct-horse", &[]), 401);
    assert_eq!(status("/metrics", &["Authorization: Bearer correct-horse-battery"]), 200);
    let page = ask(&host, "GET", "/?token=correct-horse-battery", &[], "");
    let cookie = page.headers.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(status("/api/state", &[&format!("Cookie: {pair}")]), 200);
    assert_eq!(post(&host, "{\"paused\":true}", &[]), 401);
    assert!(!feed.controls.is_paused());
}

#[test]
fn pictures_come_alone_and_one_after_the_other() {
    let mut feed = Feed::open(LOCAL, SIZE_PX);
    let pictures = visited(&mut feed, |host| {
        let alone = ask(&host, "GET", "/frame.jpg", &[], "").bytes();
        let mut stream = ask(&host, "GET", "/stream.mjpeg", &[], "");
        assert!(stream.headers.contains("multipart/x-mixed-replace"), "{}", stream.headers);
        [alone, stream.picture(), stream.picture()]
    });
    assert_ne!(pictures[1], pictures[2]);
    for picture in pictures {
        let image = parse_image("picture", &picture).unwrap();
        assert_eq!([image.width_px, image.height_px], SIZE_PX);
    }
}

#[test]
fn the_socket_tells_of_frames_and_of_controls() {
    let mut feed = Feed::open(LOCAL, SIZE_PX);
    visited(&mut feed, |host| {
        let mut socket = socket(&host);
        let mut numbers: Vec<u64> = (0..5).map(|_| said(&mut socket)["frame"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        numbers.dedup();
        assert!(numbers.len() > 1, "{numbers:?}");
        assert_eq!(post(&host, "{\"paused\":true}", &[]), 200);
        while said(&mut socket)["paused"] != true {}
    });
}

/// A visitor who never reads costs the others nothing.
#[test]
fn slow_visitors_hold_up_nobody() {
    let mut feed = Feed::open(LOCAL, [640, 480]);
    let host = feed.host();
    let slow: Vec<_> = (0..4).map(|_| ask(&host, "GET", "/stream.mjpeg", &[], "")).collect();
    let slow_sockets: Vec<_> = (0..2).map(|_| socket(&host)).collect();
    // More than the buffers of those who do not read can hold.
    for _ in 0..150 {
        feed.step();
    }
    visited(&mut feed, |host| {
        let mut stream = ask(&host, "GET", "/stream.mjpeg", &[], "");
        let mut socket = socket(&host);
        for _ in 0..5 {
            stream.picture();
            said(&mut socket);
        }
    });
    drop((slow, slow_sockets));
}

#[test]
fn there_is_room_for_so_many() {
    let feed = Feed::open(LOCAL, SIZE_PX);
    let host = feed.host();
    let watching: Vec<_> = (0..8).map(|_| ask(&host, "GET", "/stream.mjpeg", &[], "")).collect();
    assert!(watching.iter().all(|it| it.status == 200));
    assert_eq!(ask(&host, "GET", "/stream.mjpeg", &[], "").status, 503);
    assert_eq!(ask(&host, "GET", "/frame.jpg", &[], "").status, 503);
    assert_eq!(get(&host, "/api/state", &[]).0, 200);
    drop(watching);
    while ask(&host, "GET", "/stream.mjpeg", &[], "").status != 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_that_is_taken_is_said() {
    let feed = Feed::open(LOCAL, SIZE_PX);
    let config = format!("[web]\nlisten = '{}'", feed.host());
    let config = toml::from_str(&config).unwrap();
    let error = repedge::sink::open_all(&config, &feed.controls).err().unwrap().to_string();
    assert!(error.contains(&feed.host()), "{error}");
}

type Socket = WebSocket<std::net::TcpStream>;

fn socket(host: &str) -> Socket {
    let stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tungstenite::client(format!("ws://{host}/ws"), stream).unwrap().0
}

fn said(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}
