//! Block maps: which blocks of a disk image matter, with a digest of each run of them, in bmap-tools' format 2.0.
//! Read within bounds: a map that contradicts itself or its own checksum is an error, never a guess. bmap-parser is not
//! used for reading because it panics on such maps; it is the oracle of the tests.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Bytes of a block in the maps we write.
const BLOCK_BYTES: u64 = 4096;
/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// The largest map we read; a terabyte of image in scattered runs stays below it.
const LARGEST_MAP_BYTES: u64 = 64 << 20;

/// Which blocks of an image matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmap {
    board: Option<String>,
    image_bytes: u64,
    ranges: Vec<Range>,
}

/// A run of bytes that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it starts, in bytes.
    pub start: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

impl Bmap {
    /// The map of an image of which these spans (start and length, in bytes, in any order) matter. They are widened to
    /// whole blocks and joined where they touch.
    ///
    /// # Errors
    /// When a span lies outside of the image, or it cannot be read.
    pub fn of(image: &Path, spans: &[(u64, u64)]) -> Result<Self> {
        let file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
        let image_bytes = file.metadata()?.len();
        let joined = joined(spans, image_bytes)?;
        let ranges = joined.into_iter().map(|(start, bytes)| {
            let sha256 = digest_of(&file, start, bytes)
                .with_context(|| format!("cannot read byte {start} and on of {}", image.display()))?;
            Ok(Range { start, bytes, sha256 })
        });
        Ok(Self { board: None, image_bytes, ranges: ranges.collect::<Result<_>>()? })
    }

    /// The same map, of an image that only this board boots.
    pub fn for_board(self, name: &str) -> Self {
        Self { board: Some(name.to_owned()), ..self }
    }

    /// The map that belongs to an image: the file beside it that ends in `.bmap`, or all of the image where there is none.
    ///
    /// # Errors
    /// When the map cannot be read, or is of an image of another size.
    pub fn beside(image: &Path) -> Result<Self> {
        let path = path_beside(image);
        let image_bytes = image.metadata().with_context(|| format!("cannot read {}", image.display()))?.len();
        ensure!(image_bytes > 0, "{} is empty", image.display());
        if !path.exists() {
            return Self::of(image, &[(0, image_bytes)]);
        }
        let map_bytes = path.metadata()?.len();
        ensure!(map_bytes <= LARGEST_MAP_BYTES, "{} has {map_bytes} bytes: no block map", path.display());
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let map = Self::parse(&text).with_context(|| format!("{} is no sound block map", path.display()))?;
        ensure!(
            map.image_bytes == image_bytes,
            "{} is of an image of {} bytes, {} has {image_bytes}",
            path.display(),
            map.image_bytes,
            image.display()
        );
        Ok(map)
    }

    /// Reads a map.
    ///
    /// # Errors
    /// When it is not of format 2 with SHA-256, its own checksum is another, or its ranges contradict its sizes.
    pub fn parse(text: &str) -> Result<Self> {
        let document = roxmltree::Document::parse(text).context("it is no XML")?;
        let root = document.root_element();
        let version = root.attribute("version").unwrap_or("none");
        ensure!(
            root.has_tag_name("bmap") && version.starts_with("2."),
            "found <{} version={version:?}>, expected a bmap of version 2",
            root.tag_name().name()
        );
        let field = |name: &str| {
            let node = root.children().find(|node| node.has_tag_name(name));
            let text = node.and_then(|node| node.text()).map(str::trim);
            text.with_context(|| format!("no {name}"))
        };
        let number = |name: &str| {
            let text = field(name)?;
            text.parse::<u64>().with_context(|| format!("{name} is {text:?}, expected a number"))
        };
        ensure!(field("ChecksumType")? == "sha256", "expected ChecksumType sha256");
        expect_own_checksum(text, field("BmapFileChecksum")?)?;
        let (image_bytes, block_bytes) = (number("ImageSize")?, number("BlockSize")?);
        ensure!(
            block_bytes.is_power_of_two() && (512..=1 << 30).contains(&block_bytes),
            "BlockSize {block_bytes} is no power of two from 512 on"
        );
        let blocks = image_bytes.div_ceil(block_bytes);
        ensure!(
            number("BlocksCount")? == blocks,
            "BlocksCount is not the {blocks} of ImageSize and BlockSize"
        );
        let list = root.children().find(|node| node.has_tag_name("BlockMap")).context("no BlockMap")?;
        let mut ranges = Vec::new();
        let (mut next, mut mapped) = (0, 0);
        for node in list.children().filter(|node| node.has_tag_name("Range")) {
            let (first, last) = blocks_of(node.text().unwrap_or_default().trim())?;
            ensure!(
                next <= first && first <= last && last < blocks,
                "range {first}-{last} overlaps another or ends beyond block {blocks}"
            );
            let sha256 = digest_from(node.attribute("chksum").unwrap_or_default())?;
            let start = first * block_bytes;
            let end = ((last + 1) * block_bytes).min(image_bytes);
            ranges.push(Range { start, bytes: end - start, sha256 });
            next = last + 1;
            mapped += next - first;
        }
        ensure!(
            number("MappedBlocksCount")? == mapped,
            "MappedBlocksCount is not the {mapped} blocks that are listed"
        );
        let board = root.children().filter(roxmltree::Node::is_comment).find_map(board_of);
        Ok(Self { board, image_bytes, ranges })
    }

    /// The map as text. The same image gives the same text.
    pub fn to_xml(&self) -> String {
        let block = |byte: u64| byte / BLOCK_BYTES;
        let mapped: u64 = self.ranges.iter().map(|range| range.bytes.div_ceil(BLOCK_BYTES)).sum();
        let board =
            self.board.iter().map(|name| format!("  <!--{BOARD_WORD}{name} -->\n")).collect::<String>();
        let mut text = format!(
            "<?xml version=\"1.0\" ?>\n<!-- Blocks of the disk image beside this file that matter; bmaptool copies them. -->\n\
             <bmap version=\"2.0\">\n{board}  <ImageSize> {} </ImageSize>\n  <BlockSize> {BLOCK_BYTES} </BlockSize>\n  \
             <BlocksCount> {} </BlocksCount>\n  <MappedBlocksCount> {mapped} </MappedBlocksCount>\n  \
             <ChecksumType> sha256 </ChecksumType>\n  <BmapFileChecksum> {NO_CHECKSUM} </BmapFileChecksum>\n  <BlockMap>\n",
            self.image_bytes,
            self.image_bytes.div_ceil(BLOCK_BYTES),
        );
        for range in &self.ranges {
            let (first, last) = (block(range.start), block(range.start + range.bytes - 1));
            let blocks = if first == last { format!("{first}") } else { format!("{first}-{last}") };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    <Range chksum=\"{}\"> {blocks} </Range>", hex(&range.sha256));
        }
        text.push_str("  </BlockMap>\n</bmap>\n");
        let checksum = hex(&Sha256::digest(&text));
        text.replacen(NO_CHECKSUM, &checksum, 1)
    }

    /// The board that the image is for, where the map says it.
    pub fn board(&self) -> Option<&str> {
        self.board.as_deref()
    }

    /// Bytes of the image.
    pub fn image_bytes(&self) -> u64 {
        self.image_bytes
    }

    /// Bytes that matter.
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.bytes).sum()
    }

    /// The runs of bytes that matter, in order, apart from each other.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// Where the map of an image lies.
pub fn path_beside(image: &Path) -> PathBuf {
    image.with_extension("bmap")
}

/// What begins the comment that names the board. A comment, because every reader of the format skips those; it is covered by the
/// map's checksum as all of the map is.
const BOARD_WORD: &str = " Board: ";

fn board_of(comment: roxmltree::Node) -> Option<String> {
    let name = comment.text()?.strip_prefix(BOARD_WORD)?.trim();
    Some(name.to_owned())
}

/// What stands for a map's own checksum while that is computed.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A map's own checksum is that of its text with the checksum's digits as zeros.
fn expect_own_checksum(text: &str, checksum: &str) -> Result<()> {
    digest_from(checksum).context("BmapFileChecksum")?;
    ensure!(text.matches(checksum).count() == 1, "BmapFileChecksum stands there more than once");
    let found = hex(&Sha256::digest(text.replacen(checksum, NO_CHECKSUM, 1)));
    ensure!(
        found == checksum,
        "its bytes have SHA-256 {found}, it says {checksum}: the map was damaged or edited"
    );
    Ok(())
}

fn blocks_of(text: &str) -> Result<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| digits.trim().parse::<u64>().ok().filter(|number| *number < 1 << 40);
    match (number(first), number(last)) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => bail!("range {text:?} is no pair of block numbers"),
    }
}

fn digest_from(hex: &str) -> Result<[u8; 32]> {
    let mut digest = [0; 32];
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure!(is_digest, "{hex:?} is no SHA-256");
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16)?;
    }
    Ok(digest)
}

fn joined(spans: &[(u64, u64)], image_bytes: u64) -> Result<Vec<(u64, u64)>> {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, bytes) in spans.into_iter().filter(|(_, bytes)| *bytes > 0) {
        let end = start.checked_add(bytes).filter(|end| *end <= image_bytes);
        let end = end.with_context(|| format!("{bytes} bytes from {start} on lie outside of the image"))?;
        let first = start / BLOCK_BYTES * BLOCK_BYTES;
        let end = end.next_multiple_of(BLOCK_BYTES).min(image_bytes);
        match joined.last_mut() {
            Some((start, bytes)) if first <= *start + *bytes => {
                *bytes = (*bytes).max(end.saturating_sub(*start))
            }
            _ => joined.push((first, end - first)),
        }
    }
    Ok(joined)
}

fn digest_of(file: &File, start: u64, bytes: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = start;
    while at < start + bytes {
        let length = usize::try_from(start + bytes - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        file.read_exact_at(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(hasher.finalize().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An image of four blocks and a half, and its map.
    fn example(spans: &[(u64, u64)]) -> (tempfile::TempDir, PathBuf, Bmap) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.img");
        let bytes: Vec<u8> =
            (0..4 * 4096 + 2048_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        std::fs::write(&image, bytes).unwrap();
        let map = Bmap::of(&image, spans).unwrap();
        (folder, image, map)
    }

    #[test]
    fn spans_become_whole_blocks_that_lie_apart() {
        let (_folder, _, map) = example(&[(16384, 100), (0, 1), (5000, 100), (4100, 1)]);
        let spans: Vec<_> = map.ranges().iter().map(|range| (range.start, range.bytes)).collect();
        assert_eq!(spans, [(0, 8192), (16384, 2048)]);
        assert_eq!(map.mapped_bytes(), 10240);
    }

    #[test]
    fn a_map_reads_back_as_it_was_written() {
        let (_folder, image, map) = example(&[(0, 1), (9000, 10)]);
        assert_eq!(Bmap::parse(&map.to_xml()).unwrap(), map);
        std::fs::write(path_beside(&image), map.to_xml()).unwrap();
        assert_eq!(Bmap::beside(&image).unwrap(), map);
    }

    #[test]
    fn a_map_says_which_board_its_image_is_for() {
        let (_folder, _, map) = example(&[(0, 1)]);
        assert_eq!(Bmap::parse(&map.to_xml()).unwrap().board(), None);
        for board in boards::names() {
            let map = map.clone().for_board(board);
            assert_eq!(map.to_xml(), map.to_xml());
            let read = Bmap::parse(&map.to_xml()).unwrap();
            assert_eq!((read.board(), &read), (Some(board), &map));
        }
        let edited = map.for_board("rk3568").to_xml().replace("rk3568", "rk3566");
        let error = Bmap::parse(&edited).unwrap_err();
        assert!(error.to_string().contains("damaged or edited"), "{error}");
    }

    #[test]
    fn bmap_parser_reads_the_same() {
        let (_folder, _, map) = example(&[(0, 1), (9000, 10), (16384, 1)]);
        let map = map.for_board("qemu-virt");
        let theirs = bmap_parser::Bmap::from_xml(&map.to_xml()).unwrap();
        assert_eq!(theirs.image_size(), map.image_bytes());
        let spans = theirs
            .block_map()
            .map(|range| (range.offset(), range.length(), range.checksum().as_slice().to_vec()));
        let ours = map.ranges().iter().map(|range| (range.start, range.bytes, range.sha256.to_vec()));
        assert_eq!(spans.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
    }

    #[test]
    fn an_image_without_a_map_matters_whole() {
        let (_folder, image, _) = example(&[]);
        let map = Bmap::beside(&image).unwrap();
        assert_eq!(map.mapped_bytes(), map.image_bytes());
    }

    #[test]
    fn a_damaged_map_is_refused() {
        let (_folder, image, map) = example(&[(0, 1), (9000, 10)]);
        let text = map.to_xml();
        for (from, to) in
            [(" 2 <", " 3 <"), ("ImageSize> 1", "ImageSize> 9"), ("version=\"2.0\"", "version=\"1.4\"")]
        {
            assert_ne!(text, text.replace(from, to), "{from}");
            assert!(Bmap::parse(&text.replace(from, to)).is_err(), "{from}");
        }
        std::fs::write(path_beside(&image), text).unwrap();
        std::fs::write(&image, "short").unwrap();
        assert!(Bmap::beside(&image).unwrap_err().to_string().contains("of an image of"));
    }

    /// A map with right checksums and whatever is between.
    fn sealed(body: &str) -> String {
        let text = format!(
            "<bmap version=\"2.0\"><ChecksumType>sha256</ChecksumType><BmapFileChecksum>{NO_CHECKSUM}</BmapFileChecksum>{body}</bmap>"
        );
        let checksum = hex(&Sha256::digest(&text));
        text.replacen(NO_CHECKSUM, &checksum, 1)
    }

    #[test]
    fn ranges_that_contradict_the_sizes_are_refused() {
        let digest = "1".repeat(64);
        let with = |ranges: &[&str], mapped: u64| {
            let list: String =
                ranges.iter().map(|range| format!("<Range chksum=\"{digest}\">{range}</Range>")).collect();
            sealed(&format!(
                "<ImageSize>20000</ImageSize><BlockSize>4096</BlockSize><BlocksCount>5</BlocksCount>\
                 <MappedBlocksCount>{mapped}</MappedBlocksCount><BlockMap>{list}</BlockMap>"
            ))
        };
        assert_eq!(Bmap::parse(&with(&["0-1", "4"], 3)).unwrap().mapped_bytes(), 8192 + 20000 - 16384);
        for (ranges, mapped) in [(&["0-1", "1"][..], 3), (&["5"], 1), (&["2-1"], 0), (&["x"], 1), (&["0"], 2)]
        {
            assert!(Bmap::parse(&with(ranges, mapped)).is_err(), "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sizes in prop::array::uniform4("[0-9]{1,21}"), range in "[-0-9 x]{0,24}") {
            let [image, block, count, mapped] = sizes;
            let _ = Bmap::parse(&sealed(&format!(
                "<ImageSize>{image}</ImageSize><BlockSize>{block}</BlockSize><BlocksCount>{count}</BlocksCount>\
                 <MappedBlocksCount>{mapped}</MappedBlocksCount><BlockMap><Range chksum=\"{}\">{range}</Range></BlockMap>",
                "2".repeat(64)
            )));
        }
    }
}
