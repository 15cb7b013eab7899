//! What is recorded can be played, is as large as it may be, and survives a disk that is full.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::source::{Arrival, Pattern, Shot, Source, open_video};

const SIDES: [usize; 2] = [64, 48];

/// A picture of the pattern, so many milliseconds after `start`.
fn picture(pattern: &mut Pattern, start: Instant, after_ms: u64) -> Arc<Jpeg> {
    let mut shot = Shot::default();
    pattern.next(&mut shot, Duration::ZERO).unwrap();
    let mut bytes = Vec::new();
    crate::sink::jpeg::encode(shot.picture().unwrap(), 80, &mut bytes).unwrap();
    Arc::new(Jpeg {
        at: start + Duration::from_millis(after_ms),
        size_px: [shot.width_px, shot.height_px],
        bytes,
    })
}

fn pictures(count: u64) -> Vec<Arc<Jpeg>> {
    let (mut pattern, start) = (Pattern::new(SIDES[0], SIDES[1]), Instant::now());
    (0..count).map(|number| picture(&mut pattern, start, number * 40)).collect()
}

fn config(folder: &Path, format: VideoFormat) -> RecordConfig {
    RecordConfig { format, segment_mb: 1, total_mb: 2, reserve_mb: 0, ..RecordConfig::new(folder.into()) }
}

fn tape(folder: &Path, format: VideoFormat, segment_bytes: u64) -> Tape {
    Tape { segment_bytes, total_bytes: 4 * segment_bytes, ..Tape::new(&config(folder, format)).unwrap() }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn frames_of(path: &Path) -> usize {
    let (mut source, mut shot, mut frames) = (open_video(path).unwrap(), Shot::default(), 0);
    loop {
        match source.next(&mut shot, Duration::ZERO).unwrap() {
            Arrival::Frame => frames += 1,
            Arrival::Ended => return frames,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_recorded_is_read_back_and_has_its_name_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut tape = tape(folder.path(), VideoFormat::Mjpeg, 1_000_000);
    for picture in pictures(5) {
        tape.keep(&picture).unwrap();
    }
    let part = files(folder.path());
    assert!(part.len() == 1 && part[0].to_str().unwrap().ends_with(".mjpeg.part"), "{part:?}");
    tape.finish().unwrap();
    let whole = files(folder.path());
    assert!(whole.len() == 1 && whole[0].extension().unwrap() == "mjpeg", "{whole:?}");
    assert_eq!(frames_of(&whole[0]), 5);
}

#[test]
fn segments_keep_to_their_size_and_the_oldest_go() {
    for format in [VideoFormat::Mjpeg, VideoFormat::Mp4] {
        let folder = tempfile::tempdir().unwrap();
        let pictures = pictures(40);
        let segment = 5 * pictures[0].bytes.len() as u64;
        let mut tape = tape(folder.path(), format, segment);
        for picture in &pictures {
            tape.keep(picture).unwrap();
        }
        tape.finish().unwrap();
        let files = files(folder.path());
        let sizes: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= segment), "{sizes:?} of {segment}");
        assert!(sizes.iter().sum::<u64>() <= 4 * segment && files.len() >= 3, "{sizes:?}");
        assert!(!files[0].to_str().unwrap().contains("00000000-"), "{files:?}");
    }
}

#[test]
fn other_sizes_begin_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut tape = tape(folder.path(), VideoFormat::Mp4, 1_000_000);
    tape.keep(&pictures(1)[0]).unwrap();
    tape.keep(&picture(&mut Pattern::new(32, 32), Instant::now(), 0)).unwrap();
    tape.finish().unwrap();
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn a_full_disk_is_told_once_and_leaves_whole_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut tape = tape(folder.path(), VideoFormat::Mjpeg, 1_000_000);
    let pictures = pictures(3);
    tape.keep(&pictures[0]).unwrap();
    tape.reserve_bytes = u64::MAX;
    let full = tape.keep(&pictures[1]).unwrap_err();
    assert!(full.to_string().contains("almost full"), "{full}");
    let whole = files(folder.path());
    assert!(whole.len() == 1 && whole[0].extension().unwrap() == "mjpeg", "{whole:?}");

    let queue = Queue::default();
    queue.trouble.tell(full);
    assert!(queue.trouble.check().is_err());
    queue.trouble.tell(tape.keep(&pictures[1]).unwrap_err());
    queue.trouble.check().unwrap();
    queue.trouble.is_over();
    tape.reserve_bytes = 0;
    tape.keep(&pictures[2]).unwrap();
    tape.finish().unwrap();
    assert_eq!(files(folder.path()).len(), 2);
    queue.trouble.tell(Error::from(artifact::Error::io("a", std::io::ErrorKind::StorageFull.into())));
    assert!(queue.trouble.check().is_err());
}

#[test]
fn recording_rests_when_it_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(&config(folder.path(), VideoFormat::Mjpeg)).unwrap();
    let pictures = pictures(3);
    recorder.take(&pictures[0]);
    fs::remove_dir_all(folder.path()).unwrap();
    while recorder.wants() {
        recorder.take(&pictures[1]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(recorder.check().is_err());
}

/// Something that somebody does to the folder while it is recorded to.
type Deed = fn(&mut Tape, &Path);

#[test]
fn what_is_deleted_while_it_is_recorded_to_is_told_once_and_made_again() {
    let folder_with_segment: Deed = |_, folder| fs::remove_dir_all(folder).unwrap();
    let segment: Deed = |_, folder| files(folder).iter().for_each(|file| fs::remove_file(file).unwrap());
    let folder_between_segments: Deed = |tape, folder| {
        tape.finish().unwrap();
        fs::remove_dir_all(folder).unwrap();
    };
    for (delete, what) in [
        (folder_with_segment, ".mjpeg.part: deleted while"),
        (segment, ".mjpeg.part: deleted while"),
        (folder_between_segments, "video: deleted while"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("video");
        let (mut tape, pictures) = (tape(&folder, VideoFormat::Mjpeg, 1_000_000), pictures(4));
        tape.keep(&pictures[0]).unwrap();
        delete(&mut tape, &folder);
        let told = tape.keep(&pictures[1]).unwrap_err().to_string();
        assert!(told.contains(what), "{told}");
        tape.keep(&pictures[2]).unwrap();
        tape.keep(&pictures[3]).unwrap();
        tape.finish().unwrap();
        let files = files(&folder);
        assert_eq!((files.len(), frames_of(&files[0])), (1, 2), "{what}: {files:?}");
    }
}

#[test]
fn a_disk_that_does_not_keep_up_costs_the_oldest_pictures() {
    let queue = Arc::new(Queue::default());
    // Nobody writes.
    let recorder = Recorder { queue, folder: PathBuf::new(), interval: Duration::ZERO, thread: None };
    let pictures = pictures(MAX_WAITING as u64 + 2);
    pictures.iter().for_each(|picture| recorder.take(picture));
    recorder.queue.desk.with(|waiting| {
        assert_eq!(waiting.pictures.len(), MAX_WAITING);
        assert!(waiting.pictures.iter().zip(&pictures[2..]).all(|(kept, taken)| Arc::ptr_eq(kept, taken)));
    });
}

#[test]
fn sizes_must_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    for (segment_mb, total_mb) in [(0, 10), (10, 19), (u64::MAX, u64::MAX - 1)] {
        let config = RecordConfig { segment_mb, total_mb, ..config(folder.path(), VideoFormat::Mp4) };
        assert!(Recorder::open(&config).is_err());
    }
}

/// What ffprobe says of the only stream of a file: codec, sides, and frames that it could decode.
fn probe(path: &Path) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-of", "default=nw=1:nk=1", "-show_entries"])
        .arg("stream=codec_name,width,height,nb_read_frames")
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs ffprobe (Debian: ffmpeg)"]
fn mp4_is_what_other_programs_read_also_when_the_power_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut tape = tape(folder.path(), VideoFormat::Mp4, 1_000_000);
    for picture in pictures(25) {
        tape.keep(&picture).unwrap();
    }
    // As a failure of power leaves it: the last picture waits for its duration.
    let part = files(folder.path()).remove(0);
    let cut = folder.path().join("cut.mp4");
    fs::copy(&part, &cut).unwrap();
    assert_eq!(probe(&cut), ["mjpeg", "64", "48", "24"]);
    let bytes = fs::read(&part).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 100]).unwrap();
    assert!(["23", "24"].contains(&probe(&cut)[3].as_str()));

    tape.finish().unwrap();
    let whole = files(folder.path()).into_iter().find(|path| !path.ends_with("cut.mp4")).unwrap();
    assert_eq!(probe(&whole), ["mjpeg", "64", "48", "25"]);
    let length = Command::new("ffprobe")
        .args(["-v", "error", "-of", "default=nw=1:nk=1", "-show_entries", "format=duration"])
        .arg(&whole)
        .output()
        .unwrap();
    let seconds: f64 = String::from_utf8(length.stdout).unwrap().trim().parse().unwrap();
    assert!((seconds - 1.0).abs() < 0.05, "{seconds} s");
}

#[test]
fn a_folder_that_cannot_be_made_is_told_once_and_recorded_to_once_it_can() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("video");
    fs::write(&folder, "in its way").unwrap();
    let recorder = Recorder::open(&config(&folder, VideoFormat::Mjpeg)).unwrap();
    assert!(recorder.is_troubled() && !recorder.wants(), "it rests");
    let told = recorder.check().unwrap_err().to_string();
    assert!(told.contains("video"), "{told}");
    recorder.check().unwrap();
    drop(recorder);

    let (mut tape, pictures) = (tape(&folder, VideoFormat::Mjpeg, 1_000_000), pictures(2));
    assert_eq!(tape.keep(&pictures[0]).unwrap_err().to_string(), told, "the same trouble is no news");
    fs::remove_file(&folder).unwrap();
    tape.keep(&pictures[1]).unwrap();
    tape.finish().unwrap();
    let files = files(&folder);
    assert_eq!((files.len(), frames_of(&files[0])), (1, 1), "{files:?}");
}
