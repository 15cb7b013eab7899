//! Frames with discs that drift over a gray ground, and what a perfect detector would say of them.

use std::time::Duration;

use repedge::Detection;
use repedge::draw::{Overlay, class_color};
use repedge::sink::config::SinkConfig;
use repedge::sink::{Controls, FrameTimes, Object, Shown, Sink, Vitals, open_all};
use repedge::source::Shot;

use embedded_graphics::pixelcolor::RgbColor;

/// Discs in a frame.
const DISCS: usize = 7;

/// Feeds sinks until it is dropped.
pub struct Feed {
    pub controls: Controls,
    sinks: Vec<Box<dyn Sink>>,
    size_px: [usize; 2],
    classes: Vec<String>,
    number: u64,
    overlay: Overlay,
    /// What sinks said went wrong.
    pub troubles: Vec<String>,
}

impl Feed {
    /// Opens the sinks of a TOML file.
    pub fn open(config: &str, size_px: [usize; 2]) -> Self {
        let config: SinkConfig = toml::from_str(config).unwrap();
        let controls = Controls::new(0.25);
        let sinks = open_all(&config, &controls).unwrap();
        let classes = ["disc", "cell", "drop"].map(str::to_owned).to_vec();
        Self { controls, sinks, size_px, classes, number: 0, overlay: Overlay::new(), troubles: Vec::new() }
    }

    /// Host and port of the page.
    pub fn host(&self) -> String {
        let said: Vec<String> = self.sinks.iter().map(|sink| sink.describe()).collect();
        let host = said.iter().find_map(|it| it.strip_prefix("page at http://")?.strip_suffix('/'));
        host.unwrap().to_owned()
    }

    /// Shows a frame, unless somebody pressed stop.
    pub fn step(&mut self) {
        if self.controls.is_paused() {
            return;
        }
        let objects: Vec<Object> = (0..DISCS)
            .map(|disc| self.object(disc))
            .filter(|object| object.detection.score > self.controls.confidence())
            .collect();
        let mut shot = self.picture();
        let wave = (self.number as f32 / 9.0).sin();
        let vitals = Vitals {
            fps: 24.0 + wave,
            dropped: self.number / 40,
            lost: 0,
            temperature_c: Some(47.0 + 2.0 * wave),
            ..Vitals::default()
        };
        self.overlay.draw(&mut shot, &objects, &self.classes, &vitals).unwrap();
        let jitter = (self.number * 7919 % 1700) as f32;
        let times = FrameTimes {
            preprocess_us: 1900 + jitter as u64 / 4,
            inference_us: 21_300 + jitter as u64,
            decode_us: 800,
            track_us: 140,
            draw_us: 310,
            latency_us: 31_000 + 2 * jitter as u64,
        };
        let shown = Shown {
            number: self.number,
            shot: &shot,
            objects: &objects,
            found: &[],
            classes: &self.classes,
            times,
            vitals,
        };
        for sink in &mut self.sinks {
            self.troubles.extend(sink.show(&shown).err().map(|error| error.to_string()));
        }
        self.number += 1;
    }

    /// Steps, some time apart, until `is_done`.
    pub fn run_until(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..3000 {
            self.step();
            if is_done(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never done; troubles: {:?}", self.troubles);
    }

    /// Middle and radius of a disc.
    fn disc(&self, disc: usize) -> [f32; 3] {
        let [width, height] = self.size_px.map(|px| px as f32);
        let (time, disc) = (self.number as f32 / 25.0, disc as f32);
        let x = (0.5 + 0.42 * (time * (0.2 + 0.05 * disc) + disc * 2.1).sin()) * width;
        let y = (0.54 + 0.34 * (time * (0.31 - 0.03 * disc) + disc * 1.3).cos()) * height;
        [x, y, height * (0.06 + 0.012 * disc)]
    }

    fn object(&self, disc: usize) -> Object {
        let [x, y, r] = self.disc(disc);
        let [width, height] = self.size_px.map(|px| px as f32);
        let detection = Detection {
            class: disc % 3,
            score: 0.95 - 0.11 * disc as f32,
            x0: (x - r).max(0.0),
            y0: (y - r).max(0.0),
            x1: (x + r).min(width),
            y1: (y + r).min(height),
        };
        Object { track: Some(disc as u32 + 1), detection }
    }

    fn picture(&self) -> Shot {
        let [width_px, height_px] = self.size_px;
        let mut bytes = Vec::with_capacity(width_px * height_px * 3);
        for y in 0..height_px {
            let shade = (58 + 60 * y / height_px) as u8;
            for _ in 0..width_px {
                bytes.extend_from_slice(&[shade, shade + 6, shade + 14]);
            }
        }
        for disc in 0..DISCS {
            let [x, y, r] = self.disc(disc);
            let color = class_color(disc % 3);
            let ink = [color.r(), color.g(), color.b()].map(|value| value / 3 + 110);
            for row in (y - r).max(0.0) as usize..((y + r) as usize).min(height_px) {
                let half = (r * r - (row as f32 - y).powi(2)).max(0.0).sqrt();
                for column in (x - half).max(0.0) as usize..((x + half) as usize).min(width_px) {
                    bytes[(row * width_px + column) * 3..][..3].copy_from_slice(&ink);
                }
            }
        }
        Shot { number: self.number, width_px, height_px, bytes, ..Shot::default() }
    }
}
