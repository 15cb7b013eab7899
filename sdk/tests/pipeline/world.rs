//! Sources, engines and sinks that do as they are told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use artifact::{BackendKind, DType, Decode, Fault, Layout, Manifest, Preprocess, Tensor, TensorSpec};
use repedge::Error;
use repedge::backend::{InTurn, Session, SharedEngine};
use repedge::pipeline::{Analyzer, Duty, Note, Pipeline, Policy, Run, Settings, Stop, Watch};
use repedge::sink::{Controls, Shown, Sink};
use repedge::source::{Arrival, Format, Rewound, Shot, Source, Supply};

pub const SIDE_PX: usize = 32;

/// A gate that is shut until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn pass(&self) {
        let mut is_open = self.0.0.lock().unwrap();
        while !*is_open {
            is_open = self.0.1.wait(is_open).unwrap();
        }
    }
}

/// What a stage does with its n-th frame.
#[derive(Debug, Clone)]
pub enum Act {
    Sleep(u64),
    Fail,
    Panic,
    Wait(Gate),
    Stop(Stop),
}

/// Acts by frame; nothing for the others.
pub type Acts = HashMap<u64, Act>;

/// Does what `acts` say of frame `number`.
fn act(acts: &Acts, number: u64) -> Result<(), Error> {
    match acts.get(&number) {
        Some(Act::Sleep(us)) => std::thread::sleep(Duration::from_micros(*us)),
        Some(Act::Fail) => {
            return Err(Error::Backend(Fault::new(format!("frame {number} fails"), "none", "")));
        }
        Some(Act::Panic) => panic!("frame {number} panics"),
        Some(Act::Wait(gate)) => gate.pass(),
        Some(Act::Stop(stop)) => stop.stop(),
        None => {}
    }
    Ok(())
}

/// So many gray frames.
pub struct Frames {
    pub count: u64,
    pub next: u64,
    pub acts: Acts,
    /// Frames that cannot be used.
    pub broken: Vec<u64>,
    /// What happens before any frame.
    pub event: Option<&'static str>,
    pub supply: Supply,
    /// How long ago each was taken, where that is known.
    pub age: Option<Duration>,
    /// Frames given so far.
    pub given: Arc<AtomicU64>,
}

impl Frames {
    pub fn new(count: u64) -> Self {
        let supply = Supply::OnDemand;
        let (acts, given) = (Acts::new(), Arc::default());
        Self { count, next: 0, acts, broken: vec![], event: None, supply, age: None, given }
    }
}

impl Source for Frames {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        if let Some(what) = self.event.take() {
            return Ok(Arrival::Event(what.into()));
        }
        let number = self.next;
        if number >= self.count {
            return Ok(Arrival::Ended);
        }
        self.next += 1;
        act(&self.acts, number)?;
        if self.broken.contains(&number) {
            return Ok(Arrival::Broken(format!("frame {number} is broken")));
        }
        (shot.number, shot.width_px, shot.height_px, shot.format) = (number, 16, 8, Format::Rgb);
        shot.bytes.resize(16 * 8 * 3, 114);
        shot.taken_at = self.age.and_then(|age| Instant::now().checked_sub(age));
        self.given.fetch_add(1, Ordering::SeqCst);
        Ok(Arrival::Frame)
    }

    fn supply(&self) -> Supply {
        self.supply
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "frames".into()
    }
}

/// A source whose camera never gives anything.
pub struct Silent;

impl Source for Silent {
    fn next(&mut self, _shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        std::thread::sleep(patience);
        Ok(Arrival::Late)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "silence".into()
    }
}

/// A model that sees nothing.
struct Blind {
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    next: u64,
    acts: Acts,
}

impl Session for Blind {
    fn input(&self) -> &TensorSpec {
        &self.input
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, _input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error> {
        self.next += 1;
        act(&self.acts, self.next - 1)?;
        for output in outputs {
            if let artifact::TensorData::F32(values) = &mut output.data {
                values.fill(-20.0);
            }
        }
        Ok(())
    }
}

fn spec(name: &str, shape: [usize; 4]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// A model with engines that are used one after the other.
pub struct Model {
    manifest: Manifest,
    engines: Vec<SharedEngine>,
    fallback: Option<String>,
}

pub fn manifest() -> Manifest {
    Manifest {
        model: "blind".into(),
        classes: vec!["a".into(), "b".into()],
        preprocess: Preprocess::yolo(SIDE_PX, SIDE_PX),
        decode: Decode::Yolov5 { strides: vec![8], anchors_px: vec![vec![[8.0, 8.0]]], spread: Vec::new() },
        confidence: 0.25,
        iou: 0.45,
        producer: "test".into(),
        security_version: 0,
        check_images: vec![],
        payloads: vec![],
    }
}

/// An engine that does what `acts` say, by the number of the frame that it is given.
pub fn engine(acts: Acts) -> InTurn {
    let session = Blind {
        input: spec("images", [1, 3, SIDE_PX, SIDE_PX]),
        outputs: vec![spec("output", [1, 7, SIDE_PX / 8, SIDE_PX / 8])],
        next: 0,
        acts,
    };
    InTurn::new(Box::new(session), 4)
}

impl Model {
    /// One engine for each of `acts`.
    pub fn new(acts: impl IntoIterator<Item = Acts>) -> Self {
        Self::of(acts.into_iter().map(|acts| Arc::new(Mutex::new(engine(acts))) as SharedEngine).collect())
    }

    /// These engines, one after the other.
    pub fn of(engines: Vec<SharedEngine>) -> Self {
        Self { manifest: manifest(), engines, fallback: None }
    }
}

impl Analyzer for Model {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn engine(&self) -> SharedEngine {
        Arc::clone(&self.engines[0])
    }

    fn replace(&mut self, error: &Error) -> Result<Option<String>, Error> {
        if self.engines.len() < 2 {
            return Ok(None);
        }
        self.engines.remove(0);
        self.fallback = Some(error.to_string());
        Ok(self.fallback.clone())
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Tract)
    }

    fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

/// Remembers the numbers of the frames it was shown, as they count in their source.
#[derive(Clone, Default)]
pub struct Record {
    pub numbers: Arc<Mutex<Vec<u64>>>,
    pub acts: Acts,
}

impl Sink for Record {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        act(&self.acts, shown.number)?;
        self.numbers.lock().unwrap().push(shown.shot.number);
        Ok(())
    }

    fn describe(&self) -> String {
        "record".into()
    }
}

impl Record {
    pub fn with(acts: Acts) -> Self {
        Self { acts, ..Self::default() }
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().unwrap().clone()
    }
}

/// Hears everything.
#[derive(Default)]
pub struct Ear {
    pub notes: Vec<Note>,
    pub alive: Arc<AtomicU64>,
}

impl Watch for Ear {
    fn note(&mut self, note: &Note) {
        self.notes.push(note.clone());
    }

    fn alive(&mut self) {
        self.alive.fetch_add(1, Ordering::SeqCst);
    }
}

/// A whole pipeline.
pub struct World {
    pub source: Box<dyn Source>,
    pub engines: Vec<Acts>,
    pub sinks: Vec<(Record, Duty)>,
    pub settings: Settings,
    pub controls: Controls,
    pub stop: Stop,
}

impl World {
    pub fn new(source: impl Source + 'static, policy: Policy) -> Self {
        Self {
            source: Box::new(source),
            engines: vec![Acts::new()],
            sinks: vec![(Record::default(), Duty::Optional)],
            settings: Settings { policy, ..Settings::default() },
            controls: Controls::new(0.25),
            stop: Stop::new(),
        }
    }

    pub fn run(self) -> (Run, Ear) {
        let mut ear = Ear::default();
        (self.run_heard(&mut ear), ear)
    }

    pub fn run_heard(mut self, ear: &mut Ear) -> Run {
        let mut model = Model::new(std::mem::take(&mut self.engines));
        self.run_model(&mut model, ear)
    }

    /// With that model in place of [`World::engines`].
    pub fn run_model(self, model: &mut Model, ear: &mut Ear) -> Run {
        let mut pipeline = Pipeline::new(self.source, self.settings, self.controls, self.stop);
        for (sink, duty) in self.sinks {
            pipeline.add_sink(Box::new(sink), duty);
        }
        pipeline.run(model, ear)
    }
}

/// Waits until `holds`, for what another thread does in its own time.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what}: waited for a minute");
}
