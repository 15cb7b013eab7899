//! After the first frames, drawing and showing allocate nothing where frames are fed.

use std::time::Duration;

use allocation_counter::measure;
use repedge::Detection;
use repedge::draw::Overlay;
use repedge::sink::{Controls, FrameTimes, Object, Shown, Vitals, open_all};
use repedge::source::{Format, Pattern, Shot, Source};

fn objects() -> Vec<Object> {
    let object = |at: u16| {
        let x0 = f32::from(at) * 9.5;
        let detection =
            Detection { class: usize::from(at), score: 0.5, x0, y0: x0, x1: x0 + 60.0, y1: x0 + 40.0 };
        Object { track: Some(at.into()), detection }
    };
    (0..20).map(object).collect()
}

#[test]
fn overlays_allocate_for_the_first_frame_only() {
    let (mut nv12, objects, classes) =
        (Shot::default(), objects(), vec!["a rather long name".to_owned(); 10]);
    Pattern::new(320, 240).next(&mut nv12, Duration::ZERO).unwrap();
    let Format::Nv12(color) = nv12.format else { panic!() };
    let of = |format, len| Shot { format, bytes: vec![90; len], ..nv12.clone() };
    let pixels = 320 * 240;
    for mut shot in [of(Format::Rgb, pixels * 3), of(Format::Yuyv(color), pixels * 2), nv12.clone()] {
        let mut overlay = Overlay::new();
        let mut vitals = Vitals { fps: 29.9, temperature_c: Some(47.1), ..Vitals::default() };
        let mut draw = || {
            vitals.fps += 0.1;
            measure(|| overlay.draw(&mut shot, &objects, &classes, &vitals).unwrap()).count_total
        };
        assert!(draw() > 0, "the counter does not count");
        assert_eq!((draw(), draw()), (0, 0));
    }
}

#[test]
fn sinks_allocate_for_the_first_frames_only() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[web]\nlisten = '127.0.0.1:0'\n[record]\nfolder = {:?}\nreserve_mb = 0\n[mqtt]\nbroker = 'localhost:1'\ntopic = 't'",
        folder.path()
    );
    let mut sinks = open_all(&toml::from_str(&config).unwrap(), &Controls::new(0.5)).unwrap();
    let (mut shot, objects, classes) = (Shot::default(), objects(), vec!["name".to_owned(); 10]);
    let mut pattern = Pattern::new(320, 240);
    let mut show = |number| {
        pattern.next(&mut shot, Duration::ZERO).unwrap();
        let shown = Shown {
            number,
            shot: &shot,
            objects: &objects,
            found: &[],
            classes: &classes,
            times: FrameTimes::default(),
            vitals: Vitals::default(),
        };
        // A broker that is not there is told once.
        measure(|| sinks.iter_mut().for_each(|sink| drop(sink.show(&shown)))).count_total
    };
    (0..20).for_each(|number| {
        show(number);
        std::thread::sleep(Duration::from_millis(20));
    });
    let later: u64 = (20..40).map(&mut show).sum();
    assert_eq!(later, 0);
}
