//! Whatever is damaged is refused or decoded to as many bytes as it says, and never less strictly than zune-jpeg does.

use std::sync::LazyLock;

use super::*;

/// Images of all that is decoded here.
fn images() -> &'static [Vec<u8>] {
    static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(made);
    &IMAGES
}

fn made() -> Vec<Vec<u8>> {
    let recipe =
        Recipe { sides_px: [34, 18], sampling: 0, quality: 70, restart_interval: 0, seed: 3, roughness: 60 };
    let recipes = (0..SAMPLINGS.len()).flat_map(|sampling| {
        [0, 2].map(|restart_interval| Recipe { sampling, restart_interval, ..recipe.clone() })
    });
    recipes.map(|recipe| recipe.encode()).collect()
}

/// Where the bits of `image` begin.
fn scan_at(image: &[u8]) -> usize {
    header::Header::read(image, &mut header::Tables::default()).unwrap().scan_at
}

#[test]
fn images_that_end_early_are_refused() {
    for image in images() {
        for len in 0..image.len() {
            let said = decoded(&image[..len]).unwrap_err();
            assert!(said.starts_with("JPEG: "), "{said}");
        }
        let scan_at = scan_at(image);
        // The last byte may be padding for the most part.
        for len in scan_at..image.len() - 4 {
            let said = decoded(&[&image[..len], &[0xff, EOI]].concat()).unwrap_err();
            assert!(said.starts_with("JPEG: ") && said.contains("rows of blocks"), "{len}: {said}");
        }
    }
}

#[test]
fn a_flipped_bit_is_decoded_or_told_and_never_taken_more_lightly_than_elsewhere() {
    let (mut motion, mut frame, mut rgb) = (Motion::default(), Vec::new(), Vec::new());
    for image in images() {
        for bit in 0..image.len() * 8 {
            let mut flipped = image.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if motion.decode(&flipped, Sides::Video, &mut frame).is_ok() {
                let elsewhere = decode_into(&flipped, Sides::Video, &mut rgb);
                assert!(elsewhere.is_ok(), "bit {bit} of {}: {elsewhere:?}", image.len() * 8);
            }
        }
    }
}

#[test]
fn lost_and_wrong_restart_markers_are_told() {
    let recipe =
        Recipe { sides_px: [32, 16], sampling: 0, quality: 70, restart_interval: 2, seed: 3, roughness: 60 };
    let image = recipe.encode();
    let at = image.windows(2).position(|pair| pair == [0xff, RST0]).unwrap();
    let without = [&image[..at], &image[at + 2..]].concat();
    assert!(decoded(&without).unwrap_err().contains("row "));
    let noisy = [&image[..at], &[0x12, 0x34], &image[at..]].concat();
    assert_eq!(decoded(&noisy), decoded(&image));
    let interval = image.windows(4).position(|pair| pair == [0xff, 0xdd, 0, 4]).unwrap();
    let mut other = image.clone();
    other[interval + 5] = 1;
    let said = decoded(&other).unwrap_err();
    assert_eq!(said, "JPEG: no restart marker where one was expected in row 1 of 2 rows of blocks");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_grow(
        which in 0..8_usize, patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut image = images()[which].clone();
        for (at, byte) in patches {
            let at = at.index(image.len());
            image[at] = byte;
        }
        let (mut motion, mut frame) = (Motion::default(), Vec::new());
        let sides = Sides::Exactly([34, 18]);
        if motion.decode(&image, sides, &mut frame).is_ok() {
            prop_assert!(frame.len() <= 34 * 18 * 3);
        }
        prop_assert!(motion.capacity() < 64 << 10);
    }

    #[test]
    fn no_scan_makes_it_panic(
        which in 0..8_usize,
        bits in prop::collection::vec(prop_oneof![9 => any::<u8>(), 1 => Just(0xff), 1 => 0xd0_u8..0xda], 0..3000),
    ) {
        let image = &images()[which];
        let _ = decoded(&[&image[..scan_at(image)], &bits, &[0xff, EOI]].concat());
    }

    #[test]
    fn no_header_makes_it_panic(bytes in prop::collection::vec(
        prop_oneof![Just(0xff_u8), prop::sample::select(vec![0xc0, 0xc4, 0xd9, 0xda, 0xdb, 0xdd, 0xee]), 0_u8..20, any::<u8>()], 0..300,
    )) {
        let _ = decoded(&[&[0xff, SOI], &bytes[..]].concat());
    }
}
