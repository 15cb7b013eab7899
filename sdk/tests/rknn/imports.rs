//! Memory of other devices, played by files.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use artifact::TensorData;
use repedge::Error;
use repedge::backend::rknn::{DmaBuffer, IoPath, NpuFailure, Pool, RknnOptions};
use stand_in::{Action, Element};

use crate::frames::{assert_all_freed, next_error, run};
use crate::tensors::{expected, pixels, planes, quantized, with_element};
use crate::{CODES, common, failure, npu};

/// A file that holds the pixels of one frame, and its buffer.
fn buffer() -> (File, DmaBuffer) {
    let file = tempfile::tempfile().unwrap();
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    file.write_all_at(&bytes, 0).unwrap();
    let buffer = DmaBuffer::new(&file, 0, bytes.len()).unwrap();
    (file, buffer)
}

fn submit(pool: &mut Pool, buffer: &DmaBuffer) {
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, buffer);
}

#[test]
fn pixels_of_another_device_are_read_in_place() {
    let scenario = npu::scenario("imported");
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    let black = vec![0; bytes.len()];
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&black).unwrap();
    let buffer = DmaBuffer::new(&file, 0, bytes.len()).unwrap();
    for round in 0..3 {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&bytes).unwrap();
        let slot = pool.slot().unwrap().unwrap();
        pool.submit_imported(slot, &buffer);
        let found = pool.next().unwrap().result.unwrap();
        let found: Vec<f32> = found.outputs().flat_map(planes).collect();
        assert!(found == expected, "round {round}");
    }
    let short = DmaBuffer::new(&file, 0, bytes.len() - 1).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &short);
    let error = pool.next().unwrap().result.map(drop).unwrap_err();
    let (given, needed) = (bytes.len() - 1, bytes.len());
    assert_eq!(failure(&error), NpuFailure::ShortImport { given, needed });
    let text = error.to_string();
    assert!(text.contains("at least 12288 bytes") && text.contains("import_row_bytes"), "{text}");
    assert!(!text.contains("report it"), "{text}");
    // Imported once, beside the three memories of each of two sets and their inputs.
    assert_eq!(npu::counters(&scenario).memories_made, 1 + 2 * 4);
    drop(pool);
    assert_eq!(npu::counters(&scenario).memories, 0);
    let beyond = DmaBuffer::new(&file, 1, bytes.len()).map(drop).unwrap_err();
    assert!(matches!(beyond, Error::Input(_)), "{beyond}");
    assert!(DmaBuffer::new(&file, usize::MAX, 2).is_err());
}

#[test]
fn imported_rows_lie_as_far_apart_as_the_npu_wants_them() {
    const OFFSET: u64 = 4096;
    let mut scenario = npu::scenario("imported rows");
    scenario.input.row_stride = 80;
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    let row_bytes = pool.import_row_bytes();
    assert_eq!(row_bytes, 80 * 3);
    let TensorData::U8(bytes) = pixels().data else { unreachable!() };
    let file = tempfile::tempfile().unwrap();
    file.set_len(OFFSET + 64 * 80 * 3).unwrap();
    for (start, row) in (OFFSET..).step_by(row_bytes).zip(bytes.chunks(64 * 3)) {
        file.write_all_at(row, start).unwrap();
    }
    let buffer = DmaBuffer::new(&file, usize::try_from(OFFSET).unwrap(), 64 * row_bytes).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &buffer);
    let found = pool.next().unwrap().result.unwrap();
    let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
    assert!(found.outputs().flat_map(planes).eq(expected));
}

#[test]
fn memory_of_another_device_is_refused_where_inputs_are_copied() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    let mut pool = npu::pool(&npu::scenario("imported copies"), &copied).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let buffer = DmaBuffer::new(&file, 0, 1 << 20).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    pool.submit_imported(slot, &buffer);
    let error = pool.next().unwrap().result.map(drop).unwrap_err();
    assert_eq!(failure(&error), NpuFailure::NotZeroCopy);
    assert!(pool.slot().unwrap().is_some());
}

#[test]
fn a_descriptor_is_closed_after_the_memory_that_came_by_it() {
    let scenario = npu::scenario("descriptors");
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    for _ in 0..3 {
        // The pool is the last to hold each.
        let (_, buffer) = buffer();
        submit(&mut pool, &buffer);
        assert!(pool.next().unwrap().result.is_ok());
    }
    drop(pool);
    assert_all_freed(&scenario);
}

#[test]
fn a_buffer_that_cannot_be_written_is_refused_with_the_reason() {
    let mut pool = npu::pool(&npu::scenario("read only"), &npu::options()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let reading = File::open(file.path()).unwrap();
    submit(&mut pool, &DmaBuffer::new(&reading, 0, 1 << 20).unwrap());
    let error = next_error(&mut pool);
    assert_eq!(failure(&error), NpuFailure::Unmappable { errno: 13 }, "{error}");
    let text = error.to_string();
    assert!(text.contains("read and written") && text.contains("O_RDWR") && !text.contains("code"), "{text}");
    assert_eq!(run(&mut pool, 6), [None; 6]);
}

#[test]
fn pixels_for_a_model_that_takes_none_are_refused() {
    let mut scenario = with_element("no pixels", Element::F32);
    scenario.input.element = Element::F16;
    let opened = Pool::open(npu::rknn(&scenario), common::input(), common::outputs(), &npu::options());
    let mut pool = opened.unwrap();
    assert!(pool.is_zero_copy());
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    submit(&mut pool, &DmaBuffer::new(&file, 0, 1 << 20).unwrap());
    let error = next_error(&mut pool);
    assert_eq!(failure(&error), NpuFailure::NotPixels, "{error}");
    assert_eq!(pool.report().failed, 1);
}

#[test]
fn an_import_that_fails_is_told_and_tried_again() {
    for (code, _) in CODES {
        let scenario = npu::scenario(&format!("import {code}"));
        let scenario = scenario.with_fault("rknn_create_mem_from_fd", 1, 1, Action::Error(code));
        let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
        let (_file, buffer) = buffer();
        submit(&mut pool, &buffer);
        let error = next_error(&mut pool);
        // The function gives memory or none, and no code.
        assert_eq!(failure(&error), NpuFailure::OutOfMemory);
        assert!(error.to_string().starts_with("rknn_create_mem_from_fd: "), "{error}");
        submit(&mut pool, &buffer);
        let found = pool.next().unwrap().result.unwrap();
        let expected: Vec<f32> = expected(&pixels()).into_iter().flatten().map(quantized).collect();
        assert!(found.outputs().flat_map(planes).eq(expected));
        drop((found, pool));
        assert_all_freed(&scenario);
    }
}

#[test]
fn memory_that_the_runtime_does_not_free_is_counted() {
    let scenario = npu::scenario("unfreed").with_fault("rknn_destroy_mem", 1, 1, Action::Error(-1));
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    for unfreed in [0, 1] {
        let (_, buffer) = buffer();
        // Makes room by giving up what nobody else holds: the first time nothing, the second time the first buffer.
        submit(&mut pool, &buffer);
        assert!(pool.next().unwrap().result.is_ok());
        assert_eq!(pool.report().unfreed, unfreed);
    }
    drop(pool);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.memories, counters.faults), (1, vec![1]));
    assert!(
        counters.violations.iter().all(|text| text.contains("with 1 memories")),
        "{:?}",
        counters.violations
    );
}
