use proptest::prelude::*;

use super::*;

fn pixel(image: &Image, x: usize, y: usize) -> Rgb888 {
    let start = (y * image.width_px + x) * 3;
    Rgb888::new(image.rgb[start], image.rgb[start + 1], image.rgb[start + 2])
}

fn found(class: usize, [x0, y0, x1, y1]: [f32; 4]) -> Detection {
    Detection { class, score: 0.87, x0, y0, x1, y1 }
}

#[test]
fn the_box_is_drawn_within_its_edges_and_not_filled() {
    let mut image = Image::filled(100, 80, [0; 3]);
    draw_detections(&mut image, &[found(0, [20.0, 40.0, 60.0, 70.0])], &["rbc".into()]);
    let color = class_color(0);
    for (x, y) in [(20, 40), (59, 40), (20, 69), (59, 69), (40, 69)] {
        assert_eq!(pixel(&image, x, y), color, "{x},{y}");
    }
    for (x, y) in [(19, 69), (60, 69), (40, 70), (40, 60)] {
        assert_eq!(pixel(&image, x, y), Rgb888::BLACK, "{x},{y}");
    }
}

#[test]
fn the_label_stays_within_the_image() {
    // In the top right corner there is room neither above nor to the right.
    let mut image = Image::filled(120, 80, [0; 3]);
    draw_detections(&mut image, &[found(1, [100.0, 0.0, 120.0, 30.0])], &["a".into(), "wide name".into()]);
    let labelled = (0..120).filter(|&x| pixel(&image, x, 3) != Rgb888::BLACK).min().unwrap();
    // "wide name 0.87": 14 letters of 6 px.
    assert_eq!(labelled, 120 - 14 * 6);
}

#[test]
fn a_caption_is_black_on_white_in_the_upper_left_corner() {
    let mut image = Image::filled(100, 40, [9; 3]);
    draw_caption(&mut image, "rep: 3");
    // Six letters of 6x10 px.
    let inside: Vec<Rgb888> =
        (0..10).flat_map(|y| (0..36).map(move |x| (x, y))).map(|(x, y)| pixel(&image, x, y)).collect();
    assert!(inside.contains(&Rgb888::BLACK) && inside.contains(&Rgb888::WHITE));
    assert!(inside.iter().all(|color| [Rgb888::BLACK, Rgb888::WHITE].contains(color)));
    assert_eq!((pixel(&image, 36, 0), pixel(&image, 0, 10)), (Rgb888::new(9, 9, 9), Rgb888::new(9, 9, 9)));
}

#[test]
fn a_class_keeps_its_color_and_neighbors_differ() {
    let colors: Vec<Rgb888> = (0..20).map(class_color).collect();
    for (i, a) in colors.iter().enumerate() {
        assert!(colors[..i].iter().all(|b| a != b), "class {i} looks like another");
    }
    assert_eq!(class_color(7), colors[7]);
}

proptest! {
    #[test]
    fn any_box_can_be_drawn(
        corners in any::<[f32; 4]>(),
        size in (1_usize..50, 1_usize..50),
        class in any::<usize>(),
        name in "\\PC{0,12}",
    ) {
        let mut image = Image::filled(size.0, size.1, [0; 3]);
        draw_detections(&mut image, &[found(class, corners)], &[name.clone(), name]);
        prop_assert_eq!(image.rgb.len(), size.0 * size.1 * 3);
    }
}
