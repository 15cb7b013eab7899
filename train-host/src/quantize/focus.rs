//! Where a pass looks at a layer's values: half over the whole picture, half where the float model finds objects. Objects
//! are a few percent of a picture, and what is fitted to all of it is fitted to background.

use crate::dataset::LabelBox;
use crate::quantize::images::Content;

/// The picture in a letterboxed image, and the objects in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Focus {
    /// Where the picture is.
    pub content: Content,
    /// The objects, in parts of the picture.
    pub objects: Vec<LabelBox>,
}

impl Focus {
    /// The whole of a square of `side` pixels.
    #[cfg(test)]
    pub fn whole(side: usize) -> Self {
        Self { content: Content::whole(side), objects: Vec::new() }
    }

    /// About `count` places in planes of `height` × `width`, as indices into a plane: each of the picture once where it
    /// has no more, and those of objects once again.
    pub fn places(&self, height: usize, width: usize, count: usize) -> Vec<usize> {
        let picture = self.picture(height, width);
        if self.objects.is_empty() {
            return picture.places(count, width);
        }
        let mut places = picture.places(count / 2, width);
        let each = (count / 2).div_ceil(self.objects.len());
        for object in self.objects.iter().take(count / 2) {
            places.extend(picture.part(object).places(each, width));
        }
        places
    }

    fn picture(&self, height: usize, width: usize) -> Area {
        let (rows, columns) = self.content.within(height, width);
        Area { top: rows.start, left: columns.start, height: rows.len(), width: columns.len() }
    }
}

/// A rectangle of a plane, of at least one place.
#[derive(Clone, Copy)]
struct Area {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Area {
    /// The places that `object` touches.
    fn part(self, object: &LabelBox) -> Self {
        let span = |center: f32, size: f32, all: usize| {
            #[expect(clippy::cast_precision_loss, reason = "sides of planes are small")]
            let scale = all as f32;
            let end = |end: f32| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let place = (end * scale) as usize;
                place.min(all - 1)
            };
            let (first, last) = (end(center - size / 2.0), end(center + size / 2.0));
            (first, last - first + 1)
        };
        let (left, width) = span(object.cx, object.w, self.width);
        let (top, height) = span(object.cy, object.h, self.height);
        Self { top: self.top + top, left: self.left + left, height, width }
    }

    /// At most `count` places, evenly spread, in planes of `width`.
    fn places(self, count: usize, width: usize) -> Vec<usize> {
        let all = self.height * self.width;
        let count = count.min(all);
        let place = |at: usize| {
            let at = scatter(at, count, all);
            (self.top + at / self.width) * width + self.left + at % self.width
        };
        (0..count).map(place).collect()
    }
}

/// Place `at` of `count` among `all`: evenly spread, and not all in one column.
fn scatter(at: usize, count: usize, all: usize) -> usize {
    // Fractional parts of multiples of the golden ratio lie evenly.
    let jitter = (at * 618_034) % 1_000_000;
    (at * all + jitter * all / 1_000_000) / count % all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn focus(objects: Vec<LabelBox>) -> Focus {
        Focus { content: Content::whole(64), objects }
    }

    #[test]
    fn places_are_spread_and_inside() {
        let places = focus(Vec::new()).places(80, 80, 256);
        assert_eq!(places.len(), 256);
        assert!(places.iter().all(|&place| place < 6400));
        let columns: std::collections::BTreeSet<usize> = places.iter().map(|place| place % 80).collect();
        assert!(columns.len() > 40, "{}", columns.len());
        assert_eq!(focus(Vec::new()).places(4, 4, 256).len(), 16, "each place once");
    }

    #[test]
    fn half_of_the_places_lie_on_objects_however_small() {
        let small = LabelBox { class: 0, cx: 0.51, cy: 0.26, w: 0.01, h: 0.01 };
        let wide = LabelBox { class: 1, cx: 0.5, cy: 0.9, w: 1.0, h: 0.2 };
        let places = focus(vec![small, wide]).places(16, 16, 64);
        let on_objects = &places[32..];
        assert_eq!(on_objects.iter().filter(|&&place| place == 4 * 16 + 8).count(), 1);
        let on_wide = on_objects.iter().filter(|&&place| place >= 12 * 16).count();
        assert!((15..=17).contains(&on_wide), "{on_wide}");
        let beyond = LabelBox { class: 0, cx: 1.2, cy: -0.3, w: 0.9, h: 0.9 };
        assert!(focus(vec![beyond]).places(16, 16, 64).iter().all(|&place| place < 256));
    }
}
