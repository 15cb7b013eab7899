//! Messages to a broker that comes, goes and comes back.

use std::time::Duration;

use serde_json::Value;

use super::broker::{self, Said};
use super::feed::Feed;

const SIZE_PX: [usize; 2] = [64, 48];

/// Frames are shown until the broker has heard something that `wanted` likes.
fn heard(feed: &mut Feed, said: &std::sync::mpsc::Receiver<Said>, wanted: impl Fn(&Said) -> bool) -> Said {
    let mut found = None;
    feed.run_until(|_| {
        found = said.try_iter().find(&wanted);
        found.is_some()
    });
    found.unwrap()
}

fn is_availability(said: &Said, state: &str) -> bool {
    matches!(said, Said::Publish { topic, payload, retain: true }
        if topic == "repedge/door/availability" && payload == state)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn frames_and_availability_are_published_and_a_line_that_breaks_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame").unwrap();
    // Nine messages a line: one says that we are there.
    let (port, said) = broker::start(9);
    let mut feed = Feed::open(
        &format!(
            "[mqtt]\nbroker = '127.0.0.1:{port}'\ntopic = 'repedge/door'\nuser = 'ali'\npassword_file = {password:?}"
        ),
        SIZE_PX,
    );
    let Said::Connect(packet) = heard(&mut feed, &said, |said| matches!(said, Said::Connect(_))) else {
        panic!()
    };
    for part in ["MQTT", "repedge/door/availability", "offline", "ali", "open sesame"] {
        assert!(contains(&packet, part), "{part} is not in {packet:?}");
    }
    heard(&mut feed, &said, |said| is_availability(said, "online"));
    let frame = heard(&mut feed, &said, |said| matches!(said, Said::Publish { retain: false, .. }));
    let Said::Publish { topic, payload, .. } = frame else { panic!() };
    assert_eq!(topic, "repedge/door");
    let message: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(message["detections"][0]["name"], "disc");
    assert_eq!(message["width_px"], 64);
    heard(&mut feed, &said, |said| matches!(said, Said::Connect(_)));
    heard(&mut feed, &said, |said| is_availability(said, "online"));
    assert!(feed.troubles.len() == 1 && feed.troubles[0].contains("MQTT broker"), "{:?}", feed.troubles);
}

#[test]
fn who_leaves_says_so() {
    let (port, said) = broker::start(usize::MAX);
    let mut feed =
        Feed::open(&format!("[mqtt]\nbroker = '127.0.0.1:{port}'\ntopic = 'repedge/door'"), SIZE_PX);
    heard(&mut feed, &said, |said| is_availability(said, "online"));
    drop(feed);
    // The broker may hear the last message only after the sender has gone.
    let hears = || said.recv_timeout(Duration::from_secs(30)).ok();
    assert!(std::iter::from_fn(hears).any(|said| is_availability(&said, "offline")));
}

#[test]
fn a_broker_that_is_not_there_is_told_once_and_holds_up_nobody() {
    // A port that nobody listens at, as long as it is ours.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let mut feed =
        Feed::open(&format!("[mqtt]\nbroker = '127.0.0.1:{port}'\ntopic = 'repedge/door'"), SIZE_PX);
    feed.run_until(|feed| !feed.troubles.is_empty());
    for _ in 0..100 {
        feed.step();
    }
    assert_eq!(feed.troubles.len(), 1, "{:?}", feed.troubles);
    assert!(feed.troubles[0].contains("127.0.0.1"), "{:?}", feed.troubles);
}
