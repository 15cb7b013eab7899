//! Every source gives the frames it holds, tells what is broken, ends, and begins anew.

mod promises;

use std::io::Cursor;

use image::ImageFormat;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Image;
use crate::frame::write_png;

const PATIENCE: Duration = Duration::from_secs(1);

/// Numbers of the frames that come, and what is said of broken ones, until the end.
fn play(source: &mut dyn Source) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut broken, mut shot) = (Vec::new(), Vec::new(), Shot::default());
    for _ in 0..1000 {
        match source.next(&mut shot, PATIENCE).unwrap() {
            Arrival::Frame => {
                shot.picture().unwrap();
                numbers.push(shot.number);
            }
            Arrival::Broken(reason) => broken.push(reason),
            Arrival::Event(what) => panic!("nothing happens to files: {what}"),
            Arrival::Late => panic!("files are never late"),
            Arrival::Ended => return (numbers, broken),
        }
    }
    panic!("no end")
}

fn jpeg(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(16, 8, image::Rgb(color)).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// The same with numbers in its first table that cannot be.
fn damaged(jpeg: &[u8]) -> Vec<u8> {
    let mut damaged = jpeg.to_vec();
    let table = damaged.windows(2).position(|mark| mark == [0xff, 0xc4]).unwrap();
    damaged[table + 5..table + 20].fill(0xee);
    damaged
}

fn y4m(frames: &[u8]) -> Vec<u8> {
    y4m_at("30:1", frames)
}

fn y4m_at(rate: &str, frames: &[u8]) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 W4 H2 F{rate} C420jpeg\n").into_bytes();
    for y in frames {
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend_from_slice(&[*y; 8]);
        bytes.extend_from_slice(&[100, 101, 200, 201]);
    }
    bytes
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Cameras are asked the same by `tests/camera-probe`, in the QEMU board test.
#[test]
fn every_source_counts_tells_what_is_broken_and_gives_the_same_frames_read_at_once_or_later() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, &Image::filled(3, 2, [1, 2, 3])).unwrap();
    let pictures = [picture.clone(), written(&folder, "b.png", b"no picture"), picture];
    let video = written(&folder, "a.y4m", &y4m(&[1, 2, 3])[..80]);
    let red = jpeg([255, 0, 0]);
    let motion = written(&folder, "a.mjpeg", &[&red[..], &damaged(&red), &jpeg([0, 0, 255])].concat());
    let sources: [(Box<dyn Source>, &[u64], usize); 4] = [
        (Box::new(Stills::new(pictures.map(Still::File).to_vec())), &[0, 2], 1),
        (open_video(&video).unwrap(), &[0, 1], 1),
        (open_video(&motion).unwrap(), &[0, 2], 1),
        (Box::new(Pattern::new(32, 16)), &[0, 1, 2, 3, 4], 0),
    ];
    for (mut source, numbers, broken) in sources {
        let name = source.describe();
        let heard = contract::check(source.as_mut()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!((&heard.numbers[..], heard.broken, heard.unread), (numbers, broken, 0), "{name}");
        assert_eq!(source.rewind().unwrap(), Rewound::Yes, "{name}");
    }
}

/// Fails unless `source`, played twice, gives frames filmed after so many intervals among each four arrivals.
fn films(mut source: impl Source, interval: Duration, rounds: [&[u32]; 2]) {
    let mut shot = Shot::default();
    for intervals in rounds {
        let mut filmed_at = Vec::new();
        for _ in 0..4 {
            if source.next(&mut shot, PATIENCE).unwrap() == Arrival::Frame {
                filmed_at.push(shot.filmed_at);
            }
        }
        let expected: Vec<_> = intervals.iter().map(|count| Some(interval * *count)).collect();
        assert_eq!(filmed_at, expected, "{}", source.describe());
        source.rewind().unwrap();
    }
}

#[test]
fn recorded_time_follows_the_number_of_frames_counts_broken_ones_and_goes_on_over_a_rewind() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = y4m_at("25:1", &[1, 2, 3]);
    let video = Y4mFile::open(&written(&folder, "a.y4m", &bytes[..bytes.len() - 1])).unwrap();
    films(video, Duration::from_millis(40), [&[0, 1], &[3, 4]]);
    let red = jpeg([255, 0, 0]);
    let motion = written(&folder, "a.mjpeg", &[&red[..], &damaged(&red), &red].concat());
    films(MjpegFile::open(&motion).unwrap(), reel::USUAL_INTERVAL, [&[0, 2], &[3, 5]]);
    let whole = || Still::Image("a".into(), Image::filled(1, 1, [9; 3]));
    let pictures = vec![whole(), Still::File(folder.path().join("none.png")), whole()];
    films(Stills::new(pictures), reel::USUAL_INTERVAL, [&[0, 2], &[3, 5]]);
    films(Pattern::new(16, 16), reel::USUAL_INTERVAL, [&[0, 1, 2, 3], &[4, 5, 6, 7]]);
}

#[test]
fn pictures_come_in_turn_and_broken_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("a.png");
    write_png(&whole, &Image::filled(3, 2, [1, 2, 3])).unwrap();
    let broken = written(&folder, "b.png", b"no picture");
    let memory = Still::Image("c".into(), Image::filled(1, 1, [9; 3]));
    let mut stills = Stills::new(vec![Still::File(whole), Still::File(broken), memory]);
    for _ in 0..2 {
        let (numbers, said) = play(&mut stills);
        assert_eq!(numbers, [0, 2]);
        assert!(said.len() == 1 && said[0].contains("b.png"), "{said:?}");
        assert_eq!(stills.rewind().unwrap(), Rewound::Yes);
    }
}

#[test]
fn y4m_becomes_nv12_and_a_file_that_is_cut_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder, "a.y4m", &y4m(&[10, 20, 30]));
    let mut source = open_video(&path).unwrap();
    let mut shot = Shot::default();
    assert_eq!(source.next(&mut shot, PATIENCE).unwrap(), Arrival::Frame);
    assert_eq!(shot.bytes, [10, 10, 10, 10, 10, 10, 10, 10, 100, 200, 101, 201]);
    assert_eq!(play(source.as_mut()).0, [1, 2]);
    source.rewind().unwrap();
    assert_eq!(play(source.as_mut()), (vec![0, 1, 2], vec![]));

    let cut = written(&folder, "cut.y4m", &y4m(&[1, 2])[..50]);
    let (numbers, said) = play(open_video(&cut).unwrap().as_mut());
    assert_eq!((numbers, said), (vec![0], vec!["no frame begins where frame 1 should".to_owned()]));
    let cut = written(&folder, "cut.y4m", &y4m(&[1, 2])[..60]);
    let (numbers, said) = play(open_video(&cut).unwrap().as_mut());
    assert_eq!((numbers, said), (vec![0], vec!["the file ends within frame 1".to_owned()]));
}

#[test]
fn damaged_jpegs_cost_themselves_only() {
    let folder = tempfile::tempdir().unwrap();
    let (red, blue) = (jpeg([255, 0, 0]), jpeg([0, 0, 255]));
    let bytes = [&red[..], &damaged(&red), b"noise between", &blue, &red[..red.len() - 9]].concat();
    let path = written(&folder, "a.mjpeg", &bytes);
    let mut source = open_video(&path).unwrap();
    for _ in 0..2 {
        let (numbers, said) = play(source.as_mut());
        assert_eq!(numbers, [0, 2]);
        assert!(said[0].starts_with("frame 1: JPEG"), "{said:?}");
        assert_eq!(said[1], "the file ends within frame 3");
        source.rewind().unwrap();
    }
}

#[test]
fn an_image_that_is_cut_leaves_those_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (red, blue) = (jpeg([255, 0, 0]), jpeg([0, 0, 255]));
    let tables = red.windows(2).position(|mark| mark == [0xff, 0xdb]).unwrap();
    let [late, early] = [red.len() - 9, tables + 20].map(|at| &red[..at]);
    let cut = written(&folder, "a.mjpeg", &[late, &red, &blue, late, &blue].concat());
    let (numbers, said) = play(open_video(&cut).unwrap().as_mut());
    assert_eq!(numbers, [1, 2, 4]);
    assert_eq!(said, [0, 3].map(|number| format!("frame {number} has no end before the next one begins")));
    let many = written(&folder, "b.mjpeg", &[late, &blue.repeat(200)].concat());
    let (numbers, _) = play(open_video(&many).unwrap().as_mut());
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    // The image behind it is taken for the rest of its tables, at most.
    let within = written(&folder, "c.mjpeg", &[&red[..], early, &red, &blue].concat());
    let (numbers, said) = play(open_video(&within).unwrap().as_mut());
    assert_eq!((numbers.first(), numbers.last(), numbers.len() + said.len()), (Some(&0), Some(&2), 3));
    let mut long = red.clone();
    long[tables + 2..tables + 4].fill(0xff);
    let beyond = written(&folder, "d.mjpeg", &[&red[..], &long, &red, &blue].concat());
    let (numbers, said) = play(open_video(&beyond).unwrap().as_mut());
    assert_eq!((numbers, said), (vec![0, 2, 3], vec!["the file ends within frame 1".to_owned()]));
}

/// The same image, saying that it has other sides.
fn claiming(jpeg: &[u8], [width_px, height_px]: [u16; 2]) -> Vec<u8> {
    let mut claiming = jpeg.to_vec();
    let frame = claiming.windows(2).position(|mark| mark == [0xff, 0xc0]).unwrap();
    claiming[frame + 5..frame + 7].copy_from_slice(&height_px.to_be_bytes());
    claiming[frame + 7..frame + 9].copy_from_slice(&width_px.to_be_bytes());
    claiming
}

#[test]
fn a_jpeg_that_claims_to_be_larger_than_it_can_be_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let red = jpeg([255, 0, 0]);
    let [huge, hollow, other] = [[16000, 16000], [8192, 8192], [32, 16]].map(|px| claiming(&red, px));
    let path = written(&folder, "a.mjpeg", &[&huge[..], &hollow, &red, &huge, &other, &red].concat());
    let (mut source, mut shot, mut said) = (open_video(&path).unwrap(), Shot::default(), Vec::new());
    for _ in 0..6 {
        if let Arrival::Broken(reason) = source.next(&mut shot, PATIENCE).unwrap() {
            said.push(reason);
        }
    }
    assert_eq!(source.next(&mut shot, PATIENCE).unwrap(), Arrival::Ended);
    let hollow = format!("frame 1: JPEG: 8192x8192 pixels where {} bytes cannot hold as many", red.len());
    assert_eq!(
        said,
        [
            "frame 0: JPEG: 16000x16000 pixels where 8192x8192 are the most that a frame of video has",
            &hollow,
            "frame 3: JPEG: 16000x16000 pixels where 16x8 were expected",
            "frame 4: JPEG: 32x16 pixels where 16x8 were expected",
        ]
    );
    assert!(shot.bytes.capacity() < 1 << 16, "{}", shot.bytes.capacity());
}

#[test]
fn memory_of_motion_jpeg_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let whole = jpeg([0, 255, 0]);
    let path = written(&folder, "a.mjpeg", &[&whole[..], &whole, &whole].concat());
    let (mut source, mut shot) = (open_video(&path).unwrap(), Shot::default());
    assert_eq!(source.next(&mut shot, PATIENCE).unwrap(), Arrival::Frame);
    let place = shot.bytes.as_ptr();
    for number in 1..3 {
        shot.bytes.fill(0);
        assert_eq!(source.next(&mut shot, PATIENCE).unwrap(), Arrival::Frame);
        assert_eq!((shot.number, shot.bytes.as_ptr()), (number, place));
        assert!(shot.bytes[1] > 240, "a green pixel, not what was there before: {:?}", &shot.bytes[..3]);
    }
}

#[test]
fn the_pattern_moves_and_repeats_itself() {
    let mut source = Pattern::new(63, 31);
    let (mut first, mut second) = (Shot::default(), Shot::default());
    source.next(&mut first, PATIENCE).unwrap();
    source.next(&mut second, PATIENCE).unwrap();
    assert_eq!((first.width_px, first.height_px), (64, 32));
    assert_ne!(first.bytes, second.bytes);
    source.rewind().unwrap();
    source.next(&mut second, PATIENCE).unwrap();
    assert_eq!(first.bytes, second.bytes);
    for _ in 0..500 {
        source.next(&mut second, PATIENCE).unwrap();
        second.picture().unwrap();
    }
}

#[test]
fn squares_of_tall_patterns_have_a_way_to_go() {
    for (width_px, height_px) in [(100, 1000), (16, 80)] {
        let (mut first, mut second) = (Shot::default(), Shot::default());
        let mut source = Pattern::new(width_px, height_px);
        source.next(&mut first, PATIENCE).unwrap();
        source.next(&mut second, PATIENCE).unwrap();
        assert_ne!(first.bytes, second.bytes, "{width_px}x{height_px}");
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| open_video(&folder.path().join(name)).err().unwrap().to_string();
    assert!(refused("film.mp4").contains("ffmpeg"));
    assert!(refused("none.y4m").contains("none.y4m"));
}

proptest! {
    #[test]
    fn patterns_are_of_any_size(width_px in 0_usize..600, height_px in 0_usize..1200) {
        let (mut source, mut shot) = (Pattern::new(width_px, height_px), Shot::default());
        for _ in 0..20 {
            prop_assert_eq!(source.next(&mut shot, PATIENCE).unwrap(), Arrival::Frame);
            shot.picture().unwrap();
        }
        prop_assert!(shot.width_px >= width_px && shot.height_px >= height_px);
    }

    #[test]
    fn no_file_makes_a_source_panic_or_go_on_for_ever(
        bytes in proptest::collection::vec(prop_oneof![Just(0xff), Just(0xd8), Just(0xd9), Just(0xda), any::<u8>()], 0..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        play(open_video(&written(&folder, "a.mjpeg", &bytes)).unwrap().as_mut());
        let video = [&y4m(&[])[..], &bytes].concat();
        play(open_video(&written(&folder, "a.y4m", &video)).unwrap().as_mut());
    }
}
