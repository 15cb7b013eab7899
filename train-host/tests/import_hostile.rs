//! Hostile checkpoints are refused by `train-host import` with an error, inside 256 MiB of memory, and nothing in them runs.
//! The limit is the operating system's: whoever asks for more memory is ended, which no error message survives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::checkpoint::{
    Entry, GOLDEN, archive, archive_of, doubling, edited, entries, float, golden, pickle, replace, text,
};

/// What RLIMIT_DATA limits in KiB: the heap and all other private memory that can be written. RLIMIT_AS would also count
/// libtorch's code.
const LIMIT_KIB: usize = 256 * 1024;

/// A command of `program` under a limit.
fn limited(program: &Path, limit_kib: usize) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d \"$0\" && exec \"$@\"", &limit_kib.to_string()]).arg(program);
    command
}

fn import(file: &Path, out: &Path, limit_kib: usize) -> Output {
    limited(Path::new(env!("CARGO_BIN_EXE_train-host")), limit_kib)
        .args(["import", file.to_str().unwrap(), "--out", out.to_str().unwrap()])
        .output()
        .unwrap()
}

/// Imports a file under the limit; it has to be refused with a message that holds `word`.
fn assert_refused(bytes: &[u8], word: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("hostile.pt"), dir.path().join("out.safetensors"));
    std::fs::write(&file, bytes).unwrap();
    let output = import(&file, &out, LIMIT_KIB);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{word}: {said}");
    assert!(said.contains(word) && said.contains("help:") && !said.contains("panicked"), "{word}: {said}");
    assert!(!out.exists());
}

/// The checkpoint of release 6 with something more in it.
fn with_junk(junk: &[u8]) -> Vec<u8> {
    let mut entries = entries("v6.pt");
    let pickle = pickle(&mut entries);
    assert_eq!(pickle.pop(), Some(b'.'));
    pickle.extend([&text("junk")[..], junk, b"s."].concat());
    archive(&entries)
}

/// A list of `count` times the same instructions, a thousand at a time as Python's pickler writes it.
fn list_of(item: &[u8], count: usize) -> Vec<u8> {
    let batch = [b"(", &item.repeat(1000)[..], b"e"].concat();
    [b"]", &batch.repeat(count / 1000)[..]].concat()
}

/// Set in the child process that fuzzes under the limit.
const INSIDE: &str = "REPEDGE_FUZZ_UNDER_LIMIT";
const FUZZ_CASES: u64 = 800;

#[test]
fn damaged_checkpoints_are_read_or_refused_within_the_limit() {
    if std::env::var_os(INSIDE).is_some() {
        (0..FUZZ_CASES).for_each(read_damaged);
        println!("{FUZZ_CASES} damaged checkpoints");
        return;
    }
    // This test again, in a process of its own: whoever asks for too much memory takes the process along.
    let output = limited(&std::env::current_exe().unwrap(), LIMIT_KIB)
        .args(["--exact", "damaged_checkpoints_are_read_or_refused_within_the_limit", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{}: {told}", output.status);
    assert!(told.contains("800 damaged checkpoints"), "{told}");
}

/// Opens a checkpoint that is damaged in one of four ways, the same for the same number.
fn read_damaged(case: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(case);
    let name = GOLDEN[rng.random_range(0..GOLDEN.len())];
    let mut entries = entries(name);
    let bytes = match case % 4 {
        0 => {
            let mut bytes = std::fs::read(golden(name)).unwrap();
            change(&mut bytes, &mut rng);
            bytes
        }
        kind => {
            let pickle = pickle(&mut entries);
            match kind {
                1 => change(pickle, &mut rng),
                2 => move_piece(pickle, &mut rng),
                _ => enlarge(pickle, &mut rng),
            }
            archive(&entries)
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.pt");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(imported) = train_host::import::open(&path) {
        imported.checkpoint.validate().unwrap();
    }
}

fn change(bytes: &mut [u8], rng: &mut impl Rng) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
}

fn move_piece(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let from = rng.random_range(0..bytes.len());
    let piece = bytes[from..(from + rng.random_range(1..200)).min(bytes.len())].to_vec();
    let at = rng.random_range(0..=bytes.len());
    bytes.splice(at..at, piece);
}

/// Puts a large number, of up to 31 bits, in place of a small one: sizes, counts and shapes.
fn enlarge(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let small: Vec<usize> = (0..bytes.len() - 1).filter(|&at| bytes[at] == b'K').collect();
    let at = small[rng.random_range(0..small.len())];
    let large = rng.random_range(0..i32::MAX) >> rng.random_range(0..16);
    bytes.splice(at..at + 2, [&b"J"[..], &large.to_le_bytes()].concat());
}

#[test]
fn the_limit_is_enough_for_a_checkpoint_and_is_enforced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.safetensors");
    for name in GOLDEN {
        let output = import(&golden(name), &out, LIMIT_KIB);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_file(&out).unwrap();
    }
    // 1 MiB is not enough for any program.
    assert!(!import(&golden("v6.pt"), &out, 1024).status.success());
}

#[test]
fn code_is_refused_and_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("ran");
    let command = text(&format!("touch {}", mark.display()));
    for function in ["os\nsystem", "posix\nsystem", "subprocess\ncheck_output"] {
        let call = [b"c", function.as_bytes(), b"\n", &command, b"\x85R"].concat();
        let name = function.replace('\n', ".");
        assert_refused(
            &archive(&[("archive/data.pkl".into(), [b"\x80\x02", &call[..], b"."].concat())]),
            &name,
        );
        assert_refused(&with_junk(&call), &name);
    }
    let eval = [b"c__builtin__\neval\n", &text("__import__('os')")[..], b"\x85R"].concat();
    assert_refused(&with_junk(&eval), "__builtin__.eval");
    assert_refused(
        &with_junk(&[b"ctorch.hub\nload\n", &text("x/y")[..], b"\x85R"].concat()),
        "calls torch.hub.load",
    );
    assert!(!mark.exists());
}

#[test]
fn zip_bombs_are_refused() {
    let bomb = |entry: Entry| archive_of(&[Entry::stored("a/version", b"3\n"), entry]);
    let pickle = Entry::stored("a/data.pkl", &[0; 4096]);
    assert_refused(&bomb(Entry { method: 8, len: u32::MAX - 1, ..pickle.clone() }), "method 8");
    assert_refused(&bomb(Entry { len: u32::MAX - 1, ..pickle.clone() }), "4294967294 bytes in 4096");
    assert_refused(
        &bomb(Entry { header_start: Some(u32::MAX), ..pickle.clone() }),
        "beyond the end of the file",
    );
    // A thousand entries that are all the same megabyte.
    let mut entries = vec![Entry::stored("a/data.pkl", b"N."), Entry::stored("a/data/0", &vec![0; 1 << 20])];
    let len = entries[1].len;
    let mut bytes = archive_of(&entries);
    let start =
        u32::try_from(bytes.windows(8).position(|window| window == b"a/data/0").unwrap() - 30).unwrap();
    entries.extend((1..1000).map(|key| Entry {
        len,
        header_start: Some(start),
        ..Entry::stored(&format!("a/data/{key}"), &[])
    }));
    bytes = archive_of(&entries);
    // The writer claims 0 bytes as stored; the directory has to claim the megabyte for both.
    bytes = replace(&bytes, &[&[0; 4][..], &len.to_le_bytes()].concat(), &[len.to_le_bytes(); 2].concat());
    assert_refused(&bytes, "overlaps or repeats");
    assert_refused(&bomb(Entry::stored("a/data.pkl", &vec![b'N'; 9 << 20])), "9437184 bytes of \"data.pkl\"");
    let crowd: Vec<Entry> = (0..40_000).map(|key| Entry::stored(&format!("a/data/{key}"), &[])).collect();
    assert_refused(&archive_of(&crowd), "40000 entries");
}

#[test]
fn archives_that_are_none_are_refused() {
    assert_refused(b"", "0 bytes that are no zip archive");
    assert_refused(&vec![0; 1 << 20], "no zip archive");
    assert_refused(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", "no zip archive");
    assert_refused(&archive(&[("a/b".into(), vec![])]), "0 entries called data.pkl");
    let two = [("a/data.pkl".into(), b"N.".to_vec()), ("b/data.pkl".into(), b"N.".to_vec())];
    assert_refused(&archive(&two), "2 entries called data.pkl");
    let script = [("a/data.pkl".into(), b"N.".to_vec()), ("a/constants.pkl".into(), b"N.".to_vec())];
    assert_refused(&archive(&script), "TorchScript");
    let bytes = std::fs::read(golden("v6.pt")).unwrap();
    for len in [bytes.len() / 2, bytes.len() - 22, bytes.len() - 1] {
        assert_refused(&bytes[..len], "does not end with its directory");
    }
    let dir = tempfile::tempdir().unwrap();
    let sparse = dir.path().join("sparse.pt");
    std::fs::write(&sparse, &bytes).unwrap();
    std::fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(1 << 36).unwrap();
    let output = import(&sparse, &dir.path().join("out.safetensors"), LIMIT_KIB);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn values_without_end_are_refused() {
    assert_refused(&with_junk(b"]r\xff\xff\xff\x00j\xff\xff\xff\x00a"), "holds itself");
    // The checkpoint, memo entry 0, as its own model's hyper-parameters.
    assert_refused(&edited("v6.pt", &[(&float(0.01), b"h\0")]), "holds itself");
    assert_refused(&with_junk(&[b")", &b"\x85".repeat(1_000_000)[..]].concat()), "nested deeper");
    assert_refused(&with_junk(&b"(".repeat(1_000_000)), "open brackets");
    assert_refused(&with_junk(&doubling(100)), "unfolds");
    assert_refused(&with_junk(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"), "bytes where");
    assert_refused(&with_junk(&[b"\x80\x05\x96", &(1u64 << 40).to_le_bytes()[..]].concat()), "bytes where");
}

#[test]
fn absurd_shapes_are_refused() {
    let shape = |to: &[u8]| edited("v6.pt", &[(b"(K\x08K\x03K\x06K\x06t", to)]);
    let most = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let absurd = [b"(", &most[..], most, most, most, b"t"].concat();
    assert_refused(&shape(&absurd), "9223372036854775807");
    assert_refused(&shape(b"(J\xff\xff\xff\xffK\x03K\x06K\x06t"), "no natural number");
    assert_refused(&shape(&[b"(", &b"K\x01".repeat(1000)[..], b"t"].concat()), "1000 axes");
    // A description that asks for a graph without end.
    let repeats = |to: &[u8]| edited("v6.pt", &[(&[b"K\x03", &text("C3")[..]].concat(), to)]);
    let row = |number: &[u8]| [number, &text("C3")].concat();
    assert_refused(&repeats(&row(b"J\xff\xff\xff\x7f")), "bad `number`");
    assert_refused(
        &edited("v6.pt", &[(&0.0625f64.to_be_bytes(), &1e300f64.to_be_bytes())]),
        "width_multiple",
    );
}

#[test]
fn bombs_that_the_second_reader_would_copy_are_refused() {
    // Each is far beyond what is allowed, and would take a gigabyte or more.
    assert_refused(&with_junk(&list_of(b")", 3_000_000)), "unfolds");
    assert_refused(&with_junk(&list_of(&text(""), 1_500_000)), "unfolds");
    let class = b"ccollections\nOrderedDict\nr\0\0\x02\x000";
    assert_refused(&with_junk(&[&class[..], &list_of(b"j\0\0\x02\0)R", 1_000_000)].concat()), "unfolds");
    assert_refused(&with_junk(&[b"(", &b")".repeat(3_000_000)[..], b"t"].concat()), "on the stack");
    let memo: Vec<u8> =
        (0..1_000_000u32).flat_map(|at| [b"Nr", &at.to_le_bytes()[..], b"0"].concat()).collect();
    assert_refused(&with_junk(&[&memo[..], b"N"].concat()), "unfolds");
    let list = [b"](", &b"N".repeat(1000)[..], b"er\0\0\x01\0"].concat();
    assert_refused(&with_junk(&[&list[..], b"0", &list_of(b"j\0\0\x01\0", 1_000_000)].concat()), "unfolds");
}

#[test]
fn what_is_allowed_at_most_fits_the_limit() {
    // Just below the bars of the test above: accepted, by both readers, within the limit.
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("large.pt"), dir.path().join("out.safetensors"));
    let entry = |at: u32| [&text(&at.to_string())[..], b"N"].concat();
    let dict: Vec<u8> = (0..200_000)
        .map(entry)
        .collect::<Vec<_>>()
        .chunks(1000)
        .flat_map(|batch| [b"(", &batch.concat()[..], b"u"].concat())
        .collect();
    let junks = [
        list_of(b")", 1_200_000),
        list_of(b"ctorch\nx\n", 600_000),
        list_of(b"ccollections\nOrderedDict\n)R", 250_000),
        [b"}", &dict[..]].concat(),
    ];
    for junk in junks {
        std::fs::write(&file, with_junk(&junk)).unwrap();
        let output = import(&file, &out, LIMIT_KIB);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
