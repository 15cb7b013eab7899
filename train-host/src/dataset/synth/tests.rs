//! Determinism and honesty of the synthetic dataset.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::dataset::{Broken, Source};

const SMALL: Options = Options { seed: 7, train: 6, val: 2, test: 0, side_px: 96 };

#[test]
fn a_picture_depends_on_seed_split_and_index_only() {
    let one = picture(1, 96, Split::Train, 5);
    let in_other_pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(in_other_pool.install(|| picture(1, 96, Split::Train, 5)), one);
    assert_ne!(picture(2, 96, Split::Train, 5).rgb, one.rgb);
    assert_ne!(picture(1, 96, Split::Val, 5).rgb, one.rgb);
    assert_ne!(picture(1, 96, Split::Train, 6).rgb, one.rgb);
}

#[test]
fn threads_do_not_change_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |threads: usize| {
        let out = dir.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| generate(&out, &SMALL)).unwrap();
        let files = crate::dataset::files::walk(&out, &["jpg", "txt", "yaml", "json"]).unwrap();
        assert_eq!(files.len(), 2 * 8 + 2);
        files.into_iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    assert!(bytes(1) == bytes(4));
}

#[test]
fn what_is_made_reads_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("synth");
    assert_eq!(generate(&out, &SMALL).unwrap(), Outcome::Made);
    let source = Source::open(&out.join("data.yaml"), Broken::Refuse).unwrap();
    assert_eq!(source.classes(), CLASSES);
    assert!(!source.has(Split::Test));
    let train = source.split(Split::Train).unwrap();
    assert_eq!(train.samples.len(), 6);
    assert_eq!(train.notes, crate::dataset::Notes::default());
    assert!(crate::dataset::verify(&train.samples).is_empty());
    for (index, sample) in train.samples.iter().enumerate() {
        let made = picture(SMALL.seed, SMALL.side_px, Split::Train, index);
        assert_eq!(made.boxes.len(), sample.boxes.len());
        for (a, b) in made.boxes.iter().zip(&sample.boxes) {
            assert_eq!(a.class, b.class);
            assert!((a.cx - b.cx).abs() < 1e-5 && (a.w - b.w).abs() < 1e-5);
        }
    }
}

#[test]
fn a_folder_is_left_alone_unless_it_is_an_outdated_twin() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("synth");
    generate(&out, &SMALL).unwrap();
    assert_eq!(generate(&out, &SMALL).unwrap(), Outcome::AlreadyThere);
    assert!(
        generate(&out, &Options { seed: 8, ..SMALL })
            .unwrap_err()
            .to_string()
            .contains("made with other options")
    );

    let old = Stamp { generator: GENERATOR - 1, options: SMALL };
    fs::write(out.join(STAMP), serde_json::to_vec(&old).unwrap()).unwrap();
    assert_eq!(generate(&out, &SMALL).unwrap(), Outcome::Made);

    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "mine").unwrap();
    assert!(generate(&foreign, &SMALL).is_err());
    assert_eq!(fs::read(foreign.join("thesis.txt")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
}

#[test]
fn an_empty_folder_is_filled_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let inode = || fs::metadata(dir.path()).unwrap().ino();
    let before = inode();
    // As `--out .` in it.
    assert_eq!(generate(&dir.path().join("."), &SMALL).unwrap(), Outcome::Made);
    assert_eq!(inode(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), ENTRIES.len());
    Source::open(dir.path(), Broken::Refuse).unwrap();
}

#[test]
fn runs_at_once_do_not_harm_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("synth");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| generate(&out, &SMALL))).collect();
        for run in runs {
            run.join().unwrap().unwrap();
        }
    });
    assert_eq!(generate(&out, &SMALL).unwrap(), Outcome::AlreadyThere);
    assert_eq!(Source::open(&out, Broken::Refuse).unwrap().split(Split::Train).unwrap().samples.len(), 6);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside");
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        Options { train: 0, ..SMALL },
        Options { side_px: 8, ..SMALL },
        Options { side_px: 1 << 20, ..SMALL },
        Options { val: usize::MAX, ..SMALL },
    ] {
        assert!(generate(&dir.path().join("out"), &options).is_err(), "{options:?}");
    }
}
