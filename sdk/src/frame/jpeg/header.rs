//! What stands in front of an image's scan (ITU-T T.81, B.2): sides, sampling and tables, of the images that are decoded here. Of others
//! it says no more than that: what they are, or what is wrong with them, is for the general decoder to say.

use super::SOI;
use super::huffman::Table;
use super::standard;

/// Tables of one kind that baseline images may have.
const HUFFMAN_TABLES: usize = 2;
const QUANTIZERS: usize = 4;

/// Tables of an image, in memory that is used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) dc: [Table; HUFFMAN_TABLES],
    pub(super) ac: [Table; HUFFMAN_TABLES],
    /// In the order in which coefficients are coded.
    pub(super) quantizers: [Quantizer; QUANTIZERS],
    /// Which of them this image brought.
    has: Has,
}

#[derive(Debug, Clone)]
pub(super) struct Quantizer(pub(super) [i32; 64]);

impl Default for Quantizer {
    fn default() -> Self {
        Self([1; 64])
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Has {
    dc: [bool; HUFFMAN_TABLES],
    ac: [bool; HUFFMAN_TABLES],
    quantizers: [bool; QUANTIZERS],
}

/// An image.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    pub(super) sides_px: [usize; 2],
    /// Brightness, and two of color where there is color.
    pub(super) components: [Component; 3],
    pub(super) count: usize,
    /// MCUs from one restart marker to the next; 0 where there are none.
    pub(super) restart_interval: usize,
    /// Where the scan's bits begin.
    pub(super) scan_at: usize,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Component {
    id: u8,
    /// Blocks in an MCU, across and down.
    pub(super) blocks: [usize; 2],
    pub(super) quantizer: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

impl Header {
    /// Reads up to the scan, tables into `tables`; none where the image is not of this decoder.
    pub(super) fn read(bytes: &[u8], tables: &mut Tables) -> Option<Self> {
        const BASELINE: u8 = 0xc0;
        const EXTENDED: u8 = 0xc1;
        const HUFFMAN: u8 = 0xc4;
        const SCAN: u8 = 0xda;
        const QUANTIZERS: u8 = 0xdb;
        const RESTARTS: u8 = 0xdd;
        const ADOBE: u8 = 0xee;
        tables.has = Has::default();
        let mut header = Self::default();
        let mut rest = bytes.strip_prefix(&[0xff, SOI])?;
        loop {
            let (marker, segment, after) = next_segment(rest)?;
            match marker {
                BASELINE | EXTENDED if header.count == 0 => header.frame(segment)?,
                HUFFMAN => tables.read_huffman(segment)?,
                QUANTIZERS => tables.read_quantizers(segment)?,
                RESTARTS => {
                    header.restart_interval = usize::from(u16::from_be_bytes(segment.try_into().ok()?))
                }
                ADOBE => is_ycc(segment).then_some(())?,
                // Of applications, and comments.
                0xe0..=0xef | 0xfe => {}
                SCAN => {
                    header.scan(segment)?;
                    header.scan_at = bytes.len() - after.len();
                    return tables.suffice(&header).then_some(header);
                }
                _ => return None,
            }
            rest = after;
        }
    }

    /// B.2.2.
    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, high, low, wide, narrow, count, components @ ..] = segment else { return None };
        self.sides_px = [[*wide, *narrow], [*high, *low]].map(|side| usize::from(u16::from_be_bytes(side)));
        let components = components.as_chunks::<3>().0;
        self.count = components.len();
        if usize::from(*count) != self.count
            || segment.len() != 6 + 3 * self.count
            || self.sides_px.contains(&0)
        {
            return None;
        }
        match components {
            // A scan of one component has blocks for MCUs, whatever it says.
            [[id, _, quantizer]] => self.components[0] = Component::new(*id, 0x11, *quantizer),
            [_, _, _] if [0, 1, 2].map(|at| components[at][0]) == *b"RGB" => return None,
            [_, _, _] => {
                for (component, [id, blocks, quantizer]) in self.components.iter_mut().zip(components) {
                    *component = Component::new(*id, *blocks, *quantizer);
                }
            }
            _ => return None,
        }
        let [luma, blue, red] = self.components.map(|component| component.blocks);
        let is_sampled =
            |side: usize| (1..=2).contains(&luma[side]) && (1..=luma[side]).contains(&blue[side]);
        let is_ours = self.count == 1 || is_sampled(0) && is_sampled(1) && blue == red;
        is_ours.then_some(())
    }

    /// B.2.3.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let (components, [0, 63, 0]) = segment.get(1..)?.split_last_chunk()? else { return None };
        let components = components.as_chunks::<2>().0;
        let is_all =
            self.count > 0 && components.len() == self.count && usize::from(segment[0]) == self.count;
        is_all.then_some(())?;
        for (component, [id, tables]) in self.components.iter_mut().zip(components) {
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            (component.id == *id).then_some(())?;
        }
        Some(())
    }

    /// Blocks of brightness in an MCU, across and down; those of color are as many or fewer.
    pub(super) fn mcu_blocks(&self) -> [usize; 2] {
        self.components[0].blocks
    }

    /// Pixels that share a color, across and down; none where there is no color.
    pub(super) fn sharing(&self) -> Option<[usize; 2]> {
        let [luma, chroma, _] = self.components.map(|component| component.blocks);
        (self.count == 3).then(|| [luma[0] / chroma[0], luma[1] / chroma[1]])
    }

    /// Those that it has.
    pub(super) fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }
}

impl Component {
    fn new(id: u8, blocks: u8, quantizer: u8) -> Self {
        let blocks = [blocks >> 4, blocks & 15].map(usize::from);
        Self { id, blocks, quantizer: usize::from(quantizer), ..Self::default() }
    }
}

impl Tables {
    /// B.2.4.2.
    fn read_huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk()?;
            let (symbols, rest) =
                rest.split_at_checked(counts.iter().map(|count| usize::from(*count)).sum())?;
            let number = usize::from(kind & 15);
            let (tables, has) = match kind >> 4 {
                0 if symbols.iter().all(|size| *size <= 15) => (&mut self.dc, &mut self.has.dc),
                1 => (&mut self.ac, &mut self.has.ac),
                _ => return None,
            };
            tables.get_mut(number)?.set(counts, symbols).then_some(())?;
            has[number] = true;
            segment = rest;
        }
        Some(())
    }

    /// B.2.4.1.
    fn read_quantizers(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = segment.split_first() {
            let Quantizer(steps) = self.quantizers.get_mut(usize::from(kind & 15))?;
            self.has.quantizers[usize::from(kind & 15)] = true;
            segment = match kind >> 4 {
                0 => {
                    let (values, rest) = rest.split_first_chunk::<64>()?;
                    *steps = values.map(i32::from);
                    rest
                }
                1 => {
                    let (values, rest) = rest.split_at_checked(128)?;
                    for (step, value) in steps.iter_mut().zip(values.as_chunks().0) {
                        *step = u16::from_be_bytes(*value).into();
                    }
                    rest
                }
                _ => return None,
            };
        }
        Some(())
    }

    /// Whether there are those that `header` wants. Cameras may leave out all Huffman tables: then they mean those that the standard shows.
    fn suffice(&mut self, header: &Header) -> bool {
        let Has { dc, ac, .. } = &mut self.has;
        if [*dc, *ac] == [[false; HUFFMAN_TABLES]; 2] {
            standard::fill(&mut self.dc, &mut self.ac);
            (*dc, *ac) = ([true; HUFFMAN_TABLES], [true; HUFFMAN_TABLES]);
        }
        let has = |tables: &[bool], number: usize| tables.get(number) == Some(&true);
        header.components().iter().all(|component| {
            has(&self.has.quantizers, component.quantizer)
                && has(&self.has.dc, component.dc)
                && has(&self.has.ac, component.ac)
        })
    }
}

/// The marker that `bytes` begin with, its segment, and what follows.
fn next_segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let fill = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let (marker, rest) = bytes[fill..].split_first()?;
    let (length, _) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (segment, after) = rest.split_at_checked(length)?;
    (fill > 0 && *marker >= 0xc0).then_some((*marker, segment.get(2..)?, after))
}

/// Whether Adobe's segment, or another one of its number, leaves colors as they are in other images.
fn is_ycc(segment: &[u8]) -> bool {
    const TRANSFORM_AT: usize = 11;
    !segment.starts_with(b"Adobe") || segment.get(TRANSFORM_AT) == Some(&1)
}
