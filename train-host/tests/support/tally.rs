//! A second count of every named model, from the papers' tables of blocks and widths: formulas instead of graphs, so
//! that it shares no code with what it checks. 80 classes, images of 640 px.

/// Anchors · (5 + classes).
const OUTPUTS: u64 = 3 * (5 + 80);

/// Which 3×3 convolutions are rep blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threes {
    Plain,
    Repvgg,
    Qarepvgg,
}

/// Parameters and floating-point operations of both forms of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    threes: Threes,
    pub trained: u64,
    pub fused: u64,
    pub trained_flops: u64,
    pub fused_flops: u64,
}

impl Tally {
    fn new(threes: Threes) -> Self {
        Self { threes, trained: 0, fused: 0, trained_flops: 0, fused_flops: 0 }
    }

    /// Convolution and batch norm; `side` is that of the result. Gives back `cout`.
    fn conv(&mut self, kernel: u64, cin: u64, cout: u64, side: u64) -> u64 {
        let taps = kernel * kernel * cin * cout;
        self.trained += taps + 2 * cout;
        self.fused += taps + cout;
        self.trained_flops += 2 * taps * side * side;
        self.fused_flops += 2 * taps * side * side;
        cout
    }

    /// A 3×3 of the model's kind; an identity branch where `stride` and channels allow.
    fn three(&mut self, cin: u64, cout: u64, stride: u64, side: u64) -> u64 {
        let identity = stride == 1 && cin == cout;
        self.conv(3, cin, cout, side);
        if self.threes != Threes::Plain {
            self.trained += cin * cout + 2 * cout;
            self.trained_flops += 2 * cin * cout * side * side;
        }
        if self.threes == Threes::Repvgg && identity {
            self.trained += 2 * cout;
        }
        cout
    }

    /// 1×1 to `hidden`, 3×3 to `cout`.
    fn bottleneck(&mut self, cin: u64, hidden: u64, cout: u64, side: u64) {
        self.conv(1, cin, hidden, side);
        self.three(hidden, cout, 1, side);
    }

    fn c3(&mut self, cin: u64, cout: u64, depth: u64, side: u64) -> u64 {
        let half = cout / 2;
        (0..depth).for_each(|_| self.bottleneck(half, half, half, side));
        self.conv(1, cin, half, side);
        self.conv(1, cin, half, side);
        self.conv(1, 2 * half, cout, side)
    }

    /// Spatial pyramid pooling: pools weigh nothing.
    fn spp(&mut self, cin: u64, cout: u64, side: u64) -> u64 {
        self.conv(1, cin, cin / 2, side);
        self.conv(1, 2 * cin, cout, side)
    }

    /// One 1×1 with bias a level, at strides 8, 16 and 32.
    fn detect(&mut self, channels: [u64; 3]) {
        for (channels, side) in channels.into_iter().zip([80, 40, 20]) {
            let weights = channels * OUTPUTS;
            self.trained += weights + OUTPUTS;
            self.fused += weights + OUTPUTS;
            self.trained_flops += 2 * weights * side * side;
            self.fused_flops += 2 * weights * side * side;
        }
    }

    /// YOLOv5's head over backbone channels `from` (strides 8, 16, 32), with `to` channels a level. `down` are its two
    /// stride-2 convolutions, rep blocks or not; C3 is of the model's kind.
    fn pan(&mut self, from: [u64; 3], to: [u64; 3], depth: u64, down: Threes) {
        let [c3, c4, c5] = from;
        let [p3, p4, p5] = to;
        let inner = self.threes;
        self.conv(1, c5, p4, 20);
        self.c3(p4 + c4, p4, depth, 40);
        self.conv(1, p4, p3, 40);
        self.c3(p3 + c3, p3, depth, 80);
        self.threes = down;
        self.three(p3, p3, 2, 40);
        self.three(p4, p4, 2, 20);
        self.threes = inner;
        self.c3(2 * p3, p4, depth, 40);
        self.c3(2 * p4, p5, depth, 20);
        self.detect(to);
    }
}

/// YOLOv5 v6 with stage channels `c` (strides 2 to 32) and depths of its C3.
fn yolov5(c: [u64; 5], depths: [u64; 4], threes: Threes) -> Tally {
    let mut tally = Tally::new(threes);
    tally.conv(6, 3, c[0], 320);
    for (stage, side) in [160, 80, 40, 20].into_iter().enumerate() {
        tally.three(c[stage], c[stage + 1], 2, side);
        tally.c3(c[stage + 1], c[stage + 1], depths[stage], side);
    }
    tally.spp(c[4], c[4], 20);
    tally.pan([c[2], c[3], c[4]], [c[2], c[3], c[4]], depths[0], threes);
    tally
}

/// YOLOv5 small v5.0, rep blocks at stride 2 only.
fn lite(threes: Threes) -> Tally {
    let mut tally = Tally::new(Threes::Plain);
    let widths = [32, 64, 128, 256, 512];
    tally.conv(3, 12, 32, 320);
    for (stage, side) in [160, 80, 40, 20].into_iter().enumerate() {
        tally.threes = threes;
        tally.three(widths[stage], widths[stage + 1], 2, side);
        tally.threes = Threes::Plain;
        if stage < 3 {
            tally.c3(widths[stage + 1], widths[stage + 1], [1, 3, 3][stage], side);
        }
    }
    tally.spp(512, 512, 20);
    tally.c3(512, 512, 1, 20);
    tally.pan([128, 256, 512], [128, 256, 512], 1, threes);
    tally
}

/// A RepVGG backbone under YOLOv5's head, whose convolutions stay plain.
fn on_repvgg(widths: [u64; 5], blocks: [u64; 5], to: [u64; 3], threes: Threes) -> Tally {
    let mut tally = Tally::new(threes);
    let mut channels = 3;
    for ((width, count), side) in widths.into_iter().zip(blocks).zip([320, 160, 80, 40, 20]) {
        for block in 0..count {
            channels = tally.three(channels, width, if block == 0 { 2 } else { 1 }, side);
        }
    }
    tally.threes = Threes::Plain;
    tally.pan([widths[2], widths[3], widths[4]], to, 1, Threes::Plain);
    tally
}

const DARKNET_BLOCKS: [u64; 5] = [1, 2, 8, 8, 4];

fn yolov3_spp(threes: Threes) -> Tally {
    let mut tally = Tally::new(threes);
    let mut channels = tally.three(3, 32, 1, 640);
    for (count, side) in DARKNET_BLOCKS.into_iter().zip([320, 160, 80, 40, 20]) {
        channels = tally.three(channels, 2 * channels, 2, side);
        (0..count).for_each(|_| tally.bottleneck(channels, channels / 2, channels, side));
    }
    tally.bottleneck(1024, 512, 1024, 20);
    tally.spp(1024, 512, 20);
    tally.three(512, 1024, 1, 20);
    tally.bottleneck(1024, 512, 1024, 20);
    for (lateral, hidden, side) in [(512, 256, 40), (256, 128, 80)] {
        tally.conv(1, 2 * hidden, hidden, side / 2);
        tally.bottleneck(hidden + lateral, hidden, 2 * hidden, side);
        tally.bottleneck(2 * hidden, hidden, 2 * hidden, side);
        tally.bottleneck(2 * hidden, hidden, 2 * hidden, side);
    }
    tally.detect([256, 512, 1024]);
    tally
}

fn yolov4(threes: Threes) -> Tally {
    let mut tally = Tally::new(threes);
    let mut channels = tally.three(3, 32, 1, 640);
    for (stage, (count, side)) in DARKNET_BLOCKS.into_iter().zip([320, 160, 80, 40, 20]).enumerate() {
        channels = tally.three(channels, 2 * channels, 2, side);
        let (half, hidden) = if stage == 0 { (channels, channels / 2) } else { (channels / 2, channels / 2) };
        tally.conv(1, channels, half, side);
        tally.conv(1, channels, half, side);
        (0..count).for_each(|_| tally.bottleneck(half, hidden, half, side));
        tally.conv(1, half, half, side);
        tally.conv(1, 2 * half, channels, side);
    }
    tally.bottleneck(1024, 512, 1024, 20);
    tally.spp(1024, 512, 20);
    tally.three(512, 1024, 1, 20);
    tally.conv(1, 1024, 512, 20);
    for (lateral, hidden, side) in [(512, 256, 40), (256, 128, 80)] {
        tally.conv(1, 2 * hidden, hidden, side / 2);
        tally.conv(1, lateral, hidden, side);
        five(&mut tally, hidden, side);
    }
    tally.three(128, 256, 1, 80);
    for (hidden, side) in [(256, 40), (512, 20)] {
        tally.three(hidden / 2, hidden, 2, side);
        five(&mut tally, hidden, side);
        tally.three(hidden, 2 * hidden, 1, side);
    }
    tally.detect([256, 512, 1024]);
    tally
}

/// YOLOv4's five convolutions over two inputs of `hidden` channels: 1×1, 3×3, 1×1, 3×3, 1×1.
fn five(tally: &mut Tally, hidden: u64, side: u64) {
    tally.bottleneck(2 * hidden, hidden, 2 * hidden, side);
    tally.bottleneck(2 * hidden, hidden, 2 * hidden, side);
    tally.conv(1, 2 * hidden, hidden, side);
}

/// The count of the model called `name`; `rep` is the form its rep blocks have.
pub fn tally(name: &str, rep: Threes) -> Tally {
    let nano = [16, 32, 64, 128, 256];
    let scaled = |times: u64| nano.map(|channels| channels * times);
    let shallow = [1, 2, 3, 1];
    match name {
        "yolov5n" => yolov5(nano, shallow, Threes::Plain),
        "yolov5s" => yolov5(scaled(2), shallow, Threes::Plain),
        "yolov5m" => yolov5(scaled(3), [2, 4, 6, 2], Threes::Plain),
        "yolov5l" => yolov5(scaled(4), [3, 6, 9, 3], Threes::Plain),
        "yolov5x" => yolov5(scaled(5), [4, 8, 12, 4], Threes::Plain),
        "repyolov5n" => yolov5(nano, shallow, rep),
        "repyolov5p" => yolov5(nano.map(|channels| channels / 2), shallow, rep),
        "repyolov5s" => yolov5(scaled(2), shallow, rep),
        "repyolov5m" => yolov5(scaled(3), [2, 4, 6, 2], rep),
        "repyolov5s-lite" => lite(rep),
        "yolov5s-repvgg-a1" => on_repvgg([64, 64, 128, 256, 512], [1, 2, 4, 14, 1], [128, 256, 512], rep),
        "v5lite-g" => on_repvgg([48, 48, 96, 192, 1280], [1, 2, 2, 7, 1], [128; 3], rep),
        "yolov3-spp" => yolov3_spp(Threes::Plain),
        "repyolov3-spp" => yolov3_spp(rep),
        "yolov4" => yolov4(Threes::Plain),
        "repyolov4" => yolov4(rep),
        other => panic!("no count of {other}"),
    }
}
