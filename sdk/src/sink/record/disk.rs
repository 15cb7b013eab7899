//! The folder of the segments: their names, which are the oldest, and how much room there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use artifact::Fault;

use crate::Error;
use crate::sink::config::VideoFormat;

/// Ending of a segment that is being written.
pub(super) const PART: &str = "part";
/// What a name says of a segment that was cut by a failure.
const CUT: &str = "-cut";

/// A segment in the folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    number: u64,
    path: PathBuf,
    bytes: u64,
}

/// Where the next segment goes: a number that grows, for the order, and the time, for people. Boards without a clock that is
/// right number right all the same.
pub(super) fn next_path(folder: &Path, format: VideoFormat) -> Result<PathBuf, Error> {
    let number = segments(folder)?.last().map_or(0, |last| last.number + 1);
    let ending = match format {
        VideoFormat::Mp4 => "mp4",
        VideoFormat::Mjpeg => "mjpeg",
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(folder.join(format!("{number:08}-{}.{ending}", utc(seconds))))
}

/// Deletes the oldest segments until those left have at most `bytes`.
pub(super) fn make_room(folder: &Path, bytes: u64) -> Result<(), Error> {
    let segments = segments(folder)?;
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    for segment in segments {
        if total <= bytes {
            break;
        }
        fs::remove_file(&segment.path).map_err(|e| artifact::Error::io(&segment.path, e))?;
        total -= segment.bytes;
    }
    Ok(())
}

/// Gives segments that a failure of power cut a name that says so. They can be played up to where they were cut.
pub(super) fn name_cut_segments(folder: &Path) -> Result<(), Error> {
    for segment in segments(folder)? {
        let path = &segment.path;
        if path.extension().is_some_and(|ending| ending == PART) {
            let whole = path.with_extension("");
            let ending = whole.extension().unwrap_or_default().to_string_lossy().into_owned();
            let stem = whole.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let cut = folder.join(format!("{stem}{CUT}.{ending}"));
            fs::rename(path, &cut).map_err(|e| artifact::Error::io(path, e))?;
        }
    }
    Ok(())
}

/// Fails unless `reserve_bytes` are free on the disk of `folder`.
pub(super) fn check_room(folder: &Path, reserve_bytes: u64) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(folder).map_err(|e| artifact::Error::io(folder, e.into()))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) > reserve_bytes {
        return Ok(());
    }
    // Without the bytes left: they change from time to time, and the trouble is the same.
    Err(artifact::Error::Artifact(Fault::new(
        format!("{}: the disk is almost full, recording rests", folder.display()),
        format!("more than {} MB free", reserve_bytes / 1_000_000),
        "make room; recording goes on by itself",
    ))
    .into())
}

/// The segments by age, whole or not; other files are none of ours.
fn segments(folder: &Path) -> Result<Vec<Found>, Error> {
    let named = |e| artifact::Error::io(folder, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        let Some(number) = entry.file_name().to_str().and_then(number_of) else { continue };
        // One that somebody deleted just now.
        let Ok(data) = entry.metadata() else { continue };
        if data.is_file() {
            found.push(Found { number, path: entry.path(), bytes: data.len() });
        }
    }
    found.sort();
    Ok(found)
}

/// The number in a segment's name, such as `00000042-20260102T030405Z.mp4`.
fn number_of(name: &str) -> Option<u64> {
    let name = name.strip_suffix(&format!(".{PART}")).unwrap_or(name);
    let stem = name.strip_suffix(".mp4").or_else(|| name.strip_suffix(".mjpeg"))?;
    let (number, time) = stem.strip_suffix(CUT).unwrap_or(stem).split_once('-')?;
    let is_time = time.len() == 16 && time.as_bytes()[8] == b'T' && time.ends_with('Z');
    (number.len() >= 8 && is_time).then(|| number.parse().ok()).flatten()
}

/// A time such as `20260102T030405Z`; days become a date as in H. Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60];
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_399), "20000228T235959Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_767_323_045), "20260102T030405Z");
    }

    #[test]
    fn only_segments_are_ours() {
        assert_eq!(number_of("00000042-20260102T030405Z.mp4"), Some(42));
        assert_eq!(number_of("123456789-20260102T030405Z.mjpeg.part"), Some(123_456_789));
        assert_eq!(number_of("00000042-20260102T030405Z-cut.mp4"), Some(42));
        for name in
            ["film.mp4", "00000042.mp4", "00000042-summer-in-italy.mp4", "00000042-20260102T030405Z.txt", ""]
        {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_oldest_go_first_and_what_was_cut_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for number in 7..12 {
            fs::write(path(&format!("{number:08}-20260102T030405Z.mp4")), [0; 10]).unwrap();
        }
        fs::write(path("00000012-20260102T030405Z.mp4.part"), [0; 10]).unwrap();
        fs::write(path("keep.mp4"), [0; 1000]).unwrap();
        name_cut_segments(folder.path()).unwrap();
        assert!(path("00000012-20260102T030405Z-cut.mp4").exists());
        make_room(folder.path(), 35).unwrap();
        let numbers: Vec<_> = segments(folder.path()).unwrap().iter().map(|it| it.number).collect();
        assert_eq!(numbers, [10, 11, 12]);
        assert!(path("keep.mp4").exists());
        let next = next_path(folder.path(), VideoFormat::Mjpeg).unwrap();
        assert!(next.file_name().unwrap().to_str().unwrap().starts_with("00000013-"), "{next:?}");
    }

    #[test]
    fn a_disk_that_is_almost_full_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        check_room(folder.path(), 0).unwrap();
        let error = check_room(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("almost full"), "{error}");
    }
}
