//! The page in a browser: picture, list, plots and controls; and the picture of it that the README shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use repedge::sink::Controls;

use super::browser::Browser;
use super::feed::Feed;

/// Shows frames on a thread of its own until it is dropped.
struct Show {
    controls: Controls,
    host: String,
    is_over: Arc<AtomicBool>,
    /// Whether the camera is unplugged: no frame comes, and the page is served on.
    is_unplugged: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    fn start(config: &str) -> Self {
        let mut feed = Feed::open(config, [960, 540]);
        let (controls, host) = (feed.controls.clone(), feed.host());
        let [is_over, is_unplugged] = [false; 2].map(|flag| Arc::new(AtomicBool::new(flag)));
        let (stop, unplugged) = (Arc::clone(&is_over), Arc::clone(&is_unplugged));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if !unplugged.load(Ordering::Relaxed) {
                    feed.step();
                }
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Self { controls, host, is_over, is_unplugged, thread: Some(thread) }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Where pictures of the page go: REPEDGE_SCREENSHOTS, or a folder that goes again.
fn screenshots(folder: &tempfile::TempDir) -> PathBuf {
    std::env::var_os("REPEDGE_SCREENSHOTS").map_or_else(|| folder.path().to_path_buf(), PathBuf::from)
}

fn until(mut is_done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never done");
}

fn is_picture(path: &Path) {
    let image = repedge::frame::read_image(path).unwrap();
    assert!(image.rgb.iter().any(|value| *value > 100), "{}: nothing to be seen", path.display());
}

const HAS_PICTURE: &str = "document.querySelector('#picture').naturalWidth === 960";
/// Whether both plots have a line, which is the only thing in them that has a color.
const HAS_PLOTS: &str = "[...document.querySelectorAll('canvas')].every((canvas) => canvas.width > 0 && \
     canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data \
     .some((value, at, data) => at % 4 === 0 && data[at + 3] > 200 && Math.abs(value - data[at + 1]) > 60))";

#[test]
#[ignore = "needs chromium (Debian: chromium)"]
fn the_page_shows_and_controls_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let show = Show::start("[web]\nlisten = '127.0.0.1:0'");
    let mut browser = Browser::open(&format!("http://{}/", show.host), [1240, 840]);
    browser.wait("document.querySelector('#state')?.textContent === 'live'");
    browser.wait(HAS_PICTURE);
    browser.wait("document.querySelectorAll('#found li').length === 7");
    browser.wait("samples.length > 60");
    browser.wait("document.querySelector('#fps').textContent.startsWith('2')");
    browser.wait(HAS_PLOTS);
    let path = screenshots(&folder).join("page.png");
    browser.screenshot(&path);
    is_picture(&path);

    browser.click("#run");
    until(|| show.controls.is_paused());
    browser.wait("document.querySelector('#state').textContent === 'paused'");
    browser.wait("document.querySelector('#run').textContent === 'Start'");
    browser.click("#run");
    until(|| !show.controls.is_paused());
    browser.wait("document.querySelector('#state').textContent === 'live'");

    // The middle of the slider is 0.5; five of the seven score more.
    browser.click("#confidence");
    until(|| (show.controls.confidence() - 0.5).abs() < 0.02);
    browser.wait("document.querySelectorAll('#found li').length === 5");

    browser.size([400, 860]);
    browser.wait("document.documentElement.scrollWidth <= 400");
    let path = screenshots(&folder).join("page-phone.png");
    browser.screenshot(&path);
    is_picture(&path);

    show.is_unplugged.store(true, Ordering::Relaxed);
    browser.wait("document.querySelector('#state').textContent.startsWith('no frames for ')");
    browser.wait("document.querySelector('#fps').textContent === '–'");
    show.is_unplugged.store(false, Ordering::Relaxed);
    browser.wait("document.querySelector('#state').textContent === 'live'");

    drop(show);
    browser.wait("document.querySelector('#state').className === 'offline'");
}

#[test]
#[ignore = "needs chromium (Debian: chromium)"]
fn a_browser_keeps_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "correct-horse-battery").unwrap();
    let show = Show::start(&format!("[web]\nlisten = '127.0.0.1:0'\ntoken_file = {path:?}"));
    let mut browser =
        Browser::open(&format!("http://{}/?token=correct-horse-battery", show.host), [800, 600]);
    browser.wait("document.querySelector('#state')?.textContent === 'live'");
    browser.wait(HAS_PICTURE);
    assert_eq!(browser.evaluate("location.search + document.cookie"), "");
}
