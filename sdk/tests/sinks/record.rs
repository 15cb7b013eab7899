//! What is recorded is what was shown.

use repedge::source::{Arrival, Shot, open_video};

use super::feed::Feed;

#[test]
fn a_recording_plays_as_video() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[record]\nfolder = {:?}\nformat = 'mjpeg'\nreserve_mb = 0", folder.path());
    let mut feed = Feed::open(&config, [160, 120]);
    let parts = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    feed.run_until(|_| parts().any(|path| path.metadata().is_ok_and(|data| data.len() > 20_000)));
    assert!(feed.troubles.is_empty(), "{:?}", feed.troubles);
    drop(feed);
    let file = parts().next().unwrap();
    let (mut video, mut shot, mut frames) = (open_video(&file).unwrap(), Shot::default(), 0);
    while video.next(&mut shot, std::time::Duration::ZERO).unwrap() == Arrival::Frame {
        assert_eq!([shot.width_px, shot.height_px], [160, 120]);
        frames += 1;
    }
    assert!(frames > 2, "{frames} frames");
}
