//! The overlay of live frames: boxes, labels and a caption, drawn into the frame where it lies. Allocates for the first
//! frames only.

use std::fmt::Write;

use super::{Canvas, Look, caption, mark};
use crate::Error;
use crate::sink::{Object, Vitals};
use crate::source::Shot;

/// Draws on frames in their own form.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// The label at hand, whose memory is used again.
    text: String,
}

impl Overlay {
    /// An overlay.
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws each object's box in the color of its class, with `name #track 0.87` above it, and a caption with frames a second
    /// and the temperature, where that is known. A class without a name shows its number.
    ///
    /// # Errors
    /// [`Error::Input`] when the sides and bytes of `shot` do not fit together.
    pub fn draw(
        &mut self,
        shot: &mut Shot,
        objects: &[Object],
        classes: &[String],
        vitals: &Vitals,
    ) -> Result<(), Error> {
        let look = Look::for_side(shot.width_px.min(shot.height_px));
        let mut canvas = Canvas::of_shot(shot)?;
        // The best last, so that it lies on top.
        for object in objects.iter().rev() {
            self.text.clear();
            // Writing to a string does not fail, here and below.
            let _ = write_label(&mut self.text, object, classes);
            mark(&mut canvas, &object.detection, &self.text, &look);
        }
        self.text.clear();
        let _ = self.write_caption(vitals);
        caption(&mut canvas, &self.text, &look);
        Ok(())
    }

    fn write_caption(&mut self, vitals: &Vitals) -> std::fmt::Result {
        write!(self.text, "{:.1} fps", vitals.fps)?;
        if let Some(temperature_c) = vitals.temperature_c {
            write!(self.text, "  {temperature_c:.0} °C")?;
        }
        Ok(())
    }
}

fn write_label(text: &mut String, object: &Object, classes: &[String]) -> std::fmt::Result {
    let Object { track, detection } = object;
    match classes.get(detection.class) {
        Some(name) => text.write_str(name)?,
        None => write!(text, "class {}", detection.class)?,
    }
    if let Some(track) = track {
        write!(text, " #{track}")?;
    }
    write!(text, " {:.2}", detection.score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{class_color, draw_detection};
    use crate::frame::YuvColor;
    use crate::source::{Format, Pattern, Source};
    use crate::{Detection, Image};

    fn object(track: Option<u32>) -> Object {
        let detection = Detection { class: 1, score: 0.87, x0: 20.0, y0: 40.0, x1: 60.0, y1: 70.0 };
        Object { track, detection }
    }

    #[test]
    fn labels_say_name_number_and_score() {
        let classes = ["rbc".to_owned(), "wbc".to_owned()];
        let label = |track, classes: &[String]| {
            let mut text = String::new();
            write_label(&mut text, &object(track), classes).unwrap();
            text
        };
        assert_eq!(label(Some(7), &classes), "wbc #7 0.87");
        assert_eq!(label(None, &classes), "wbc 0.87");
        assert_eq!(label(Some(7), &[]), "class 1 #7 0.87");
    }

    #[test]
    fn captions_say_what_is_known() {
        let mut overlay = Overlay::new();
        let mut vitals = Vitals { fps: 29.97, ..Vitals::default() };
        overlay.write_caption(&vitals).unwrap();
        assert_eq!(overlay.text, "30.0 fps");
        overlay.text.clear();
        vitals.temperature_c = Some(48.4);
        overlay.write_caption(&vitals).unwrap();
        assert_eq!(overlay.text, "30.0 fps  48 °C");
    }

    #[test]
    fn rgb_frames_look_as_images_do() {
        let mut image = Image::filled(120, 80, [9; 3]);
        let mut shot = Shot { width_px: 120, height_px: 80, bytes: image.rgb.clone(), ..Shot::default() };
        let classes = ["a".into(), "b".into()];
        Overlay::new().draw(&mut shot, &[object(Some(3))], &classes, &Vitals::default()).unwrap();
        draw_detection(&mut image, &object(None).detection, "b #3 0.87");
        let below_caption = 120 * 3 * 12;
        assert_eq!(shot.bytes[below_caption..], image.rgb[below_caption..]);
        assert_ne!(shot.bytes[..below_caption], image.rgb[..below_caption]);
    }

    #[test]
    fn a_box_on_a_camera_frame_has_the_color_of_its_class() {
        let mut shot = Shot::default();
        Pattern::new(120, 80).next(&mut shot, std::time::Duration::ZERO).unwrap();
        assert_eq!(shot.format, Format::Nv12(YuvColor::default()));
        Overlay::new().draw(&mut shot, &[object(None)], &[], &Vitals::default()).unwrap();
        let mut plain = Image::filled(1, 1, [0; 3]);
        let color = class_color(1);
        use embedded_graphics::pixelcolor::RgbColor;
        plain.rgb.copy_from_slice(&[color.r(), color.g(), color.b()]);
        let [r, g, b] = [0, 1, 2].map(|at| f32::from(plain.rgb[at]));
        let luma = 16.0 + (0.299 * r + 0.587 * g + 0.114 * b) * 219.0 / 255.0;
        for (x, y) in [(20, 50), (59, 50), (40, 69)] {
            let found = f32::from(shot.bytes[y * 120 + x]);
            assert!((found - luma).abs() <= 1.0, "{x},{y}: {found} for {luma}");
        }
    }
}
