//! What cameras leave out, what they put in, and images that are not decoded here.

use super::*;

const PROGRESSIVE: &[u8] = include_bytes!("../../../../tests/data/progressive.jpg");

fn image() -> Vec<u8> {
    Recipe { sides_px: [32, 16], sampling: 1, quality: 80, restart_interval: 0, seed: 1, roughness: 40 }
        .encode()
}

/// `image` with `bytes` behind its first marker.
fn with(image: &[u8], bytes: &[u8]) -> Vec<u8> {
    [&image[..2], bytes, &image[2..]].concat()
}

/// `image` without its segments of this marker.
fn without(image: &[u8], marker: u8) -> Vec<u8> {
    let mut image = image.to_vec();
    while let Some(at) = image.windows(2).position(|pair| pair == [0xff, marker]) {
        let length = usize::from(u16::from_be_bytes([image[at + 2], image[at + 3]]));
        image.drain(at..at + 2 + length);
    }
    image
}

#[test]
fn tables_that_are_left_out_are_those_of_the_standard() {
    // Its encoder writes just those.
    let bare = without(&image(), 0xc4);
    assert!(is_ours(&bare));
    assert_eq!(decoded(&bare), decoded(&image()));
    // zune-jpeg knows them too, and all codes of them.
    let noise = Recipe {
        sides_px: [160, 160],
        sampling: 0,
        quality: 99,
        restart_interval: 0,
        seed: 9,
        roughness: 255,
    };
    let bare = without(&noise.encode(), 0xc4);
    let (ours, _, _) = decoded(&bare).unwrap();
    let (frame, _, _) = decoded(&noise.encode()).unwrap();
    assert_eq!(ours, frame);
    assert!(!is_ours(&without(&image(), 0xdb)));
    assert!(decoded(&without(&image(), 0xdb)).unwrap_err().starts_with("JPEG: "));
}

#[test]
fn what_applications_and_cameras_add_does_no_harm() {
    let image = image();
    let expected = decoded(&image);
    let comment = b"\xff\xfe\0\x07some.";
    let thumbnail = [&b"\xff\xe1\x02\x02"[..], &[0xff, 0xd9].repeat(256)].concat();
    for segment in [&comment[..], &thumbnail, b"\xff\xe0\0\x07AVI1\0", b"\xff\xff\xff\xfe\0\x02"] {
        assert_eq!(decoded(&with(&image, segment)), expected);
    }
    for trailer in [&[0; 40][..], b"\xff\xd8\xff\xe0", &image] {
        assert_eq!(decoded(&[&image, trailer].concat()), expected);
    }
    let padded = [&image[..image.len() - 2], &[0; 6], &[0xff, 0xff, EOI]].concat();
    assert_eq!(decoded(&padded), expected);
}

#[test]
fn images_of_other_kinds_are_decoded_as_files_are() {
    let mut optimized = Vec::new();
    let mut encoder = Encoder::new(&mut optimized, 80);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode(&plane([96, 16], 4, 20), 32, 16, ColorType::Rgb).unwrap();
    let mut quarter = Vec::new();
    let mut encoder = Encoder::new(&mut quarter, 80);
    encoder.set_sampling_factor(SamplingFactor::F_4_1);
    encoder.encode(&plane([96, 16], 4, 20), 32, 16, ColorType::Rgb).unwrap();
    let mut red_green_blue = image();
    for marker in [0xc0, 0xda] {
        let at = red_green_blue.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
        let (first, step) = if marker == 0xda { (at + 5, 2) } else { (at + 10, 3) };
        for (number, id) in b"RGB".iter().enumerate() {
            red_green_blue[first + number * step] = *id;
        }
    }
    assert!(is_ours(&with(&image(), b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\x01")));
    let adobe = with(&image(), b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0");
    for other in [PROGRESSIVE, &optimized, &quarter, &red_green_blue, &adobe] {
        assert!(!is_ours(other));
        let (expected, _) = decode(other).unwrap();
        let (rgb, sides_px, packing) = decoded(other).unwrap();
        assert_eq!((sides_px, packing), ([expected.width_px, expected.height_px], Packing::Rgb));
        assert_eq!(rgb, expected.rgb);
    }
    let mut deep = image();
    let at = deep.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    deep[at + 4] = 12;
    assert!(decoded(&deep).unwrap_err().contains("12 bits"));
}

/// An image of 32x32 pixels with the tables of the standard, of blocks that are each of one value, in the order of the scan.
fn flat_blocks(sampling: [u8; 3], values: &[u8]) -> Vec<u8> {
    // T.81, table K.3: codes of differences by their size, to 7 bits.
    const CODES: [&str; 8] = ["00", "010", "011", "100", "101", "110", "1110", "11110"];
    const END_OF_BLOCK: &str = "1010";
    let blocks = sampling.map(|blocks| usize::from(blocks >> 4) * usize::from(blocks & 15));
    let of_mcu = (0..3).flat_map(|component| std::iter::repeat_n(component, blocks[component]));
    let (mut bits, mut last) = (String::new(), [128_i32; 3]);
    for (component, value) in of_mcu.cycle().zip(values) {
        let difference = i32::from(*value) - last[component];
        last[component] = (*value).into();
        let size = 32 - difference.unsigned_abs().leading_zeros();
        bits += CODES[size as usize];
        let number = if difference < 0 { difference + (1 << size) - 1 } else { difference };
        bits.extend((0..size).rev().map(|bit| if number >> bit & 1 == 1 { '1' } else { '0' }));
        bits += END_OF_BLOCK;
    }
    bits.extend(std::iter::repeat_n('1', bits.len().next_multiple_of(8) - bits.len()));
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap());
    let stuffed = bytes.flat_map(|byte| if byte == 0xff { vec![0xff, 0] } else { vec![byte] });
    let [y, u, v] = sampling;
    let steps = [&b"\xff\xdb\0\x43\0"[..], &[8; 64]].concat();
    let frame = [&b"\xff\xc0\0\x11\x08\0\x20\0\x20\x03"[..], &[1, y, 0, 2, u, 0, 3, v, 0]].concat();
    let scan = b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0";
    [&[0xff, SOI], &steps[..], &frame, scan, &stuffed.collect::<Vec<u8>>(), &[0xff, EOI]].concat()
}

#[test]
fn blocks_of_an_mcu_lie_where_its_sampling_says() {
    // 4:2:0, and 4:2:2 as libjpeg says it and as ffmpeg does.
    for (sampling, packing) in [
        ([0x22, 0x11, 0x11], Packing::Nv12),
        ([0x21, 0x11, 0x11], Packing::Yuyv),
        ([0x22, 0x12, 0x12], Packing::Yuyv),
    ] {
        let [across, down] = [usize::from(sampling[0] >> 4), usize::from(sampling[0] & 15)];
        let chroma_down = usize::from(sampling[1] & 15);
        let (mut values, mut planes) = (Vec::new(), [const { Vec::new() }; 3]);
        let rows_px = [32, 32 / down * chroma_down, 32 / down * chroma_down];
        let widths = [32, 16, 16];
        for (plane, sides) in planes.iter_mut().zip(widths.iter().zip(rows_px)) {
            *plane = vec![0; sides.0 * sides.1];
        }
        let mut value = 40_u8;
        for mcu in 0..(32 / 8 / across) * (32 / 8 / down) {
            let (mcu_x, mcu_y) = (mcu % (4 / across), mcu / (4 / across));
            for component in 0..3 {
                let [wide, high] = if component == 0 { [across, down] } else { [1, chroma_down] };
                for block in 0..wide * high {
                    value = value.wrapping_mul(5).wrapping_add(31) % 100 + 78;
                    values.push(value);
                    let (x, y) = ((mcu_x * wide + block % wide) * 8, (mcu_y * high + block / wide) * 8);
                    for row in y..y + 8 {
                        planes[component][row * widths[component] + x..][..8].fill(value);
                    }
                }
            }
        }
        let image = flat_blocks(sampling, &values);
        let (frame, sides_px, found) = decoded(&image).unwrap();
        assert_eq!((sides_px, found), ([32, 32], packing), "{sampling:x?}");
        assert!(planes_of(&frame, sides_px, packing) == planes, "{sampling:x?}");
    }
}

#[test]
fn samplings_of_cameras_and_tools_are_decoded_here() {
    for sampling in
        [[0x11, 0x11, 0x11], [0x12, 0x12, 0x12], [0x22, 0x22, 0x22], [0x12, 0x11, 0x11], [0x22, 0x21, 0x21]]
    {
        assert!(is_ours(&flat_blocks(sampling, &[])), "{sampling:x?}");
    }
    for sampling in
        [[0x22, 0x12, 0x21], [0x11, 0x21, 0x21], [0x41, 0x11, 0x11], [0x31, 0x11, 0x11], [0, 0, 0]]
    {
        assert!(!is_ours(&flat_blocks(sampling, &[])), "{sampling:x?}");
    }
}

#[test]
fn memory_for_what_is_put_together_is_used_again() {
    let mut quarter = Vec::new();
    let mut encoder = Encoder::new(&mut quarter, 80);
    encoder.set_sampling_factor(SamplingFactor::F_4_1);
    encoder.set_optimized_huffman_tables(false);
    encoder.encode(&plane([96, 16], 4, 20), 32, 16, ColorType::Rgb).unwrap();
    let bare = without(&quarter, 0xc4);
    let (mut motion, mut frame) = (Motion::default(), Vec::new());
    motion.decode(&bare, Sides::Video, &mut frame).unwrap();
    let memory = (motion.capacity(), frame.as_ptr());
    assert!(memory.0 >= bare.len());
    motion.decode(&bare, Sides::Video, &mut frame).unwrap();
    assert_eq!((motion.capacity(), frame.as_ptr()), memory);
}
