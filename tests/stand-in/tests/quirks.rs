//! The stand-in as a C program sees it: what the real runtime refuses is refused, and what it would take silently and
//! wrongly is reported.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use artifact::Quant;
use rknn_sys::{
    Library, rknn_context, rknn_core_mask, rknn_input, rknn_input_output_num, rknn_mem_sync_mode,
    rknn_output, rknn_query_cmd, rknn_run_extend, rknn_tensor_attr, rknn_tensor_format, rknn_tensor_mem,
    rknn_tensor_type,
};
use stand_in::control::{Control, Counters, library};
use stand_in::{
    Action, Caches, Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, digest,
};

const QUANT: Quant = Quant { scale: 0.5, zero_point: 1 };
/// Pixels of the input of 2x3 cells and 3 channels.
const PIXELS: usize = 18;
/// Elements of each output, 5 channels of 6 cells.
const ELEMENTS: usize = 30;

/// Calls a function of the table with these arguments.
macro_rules! call {
    ($npu:expr, $name:ident($($argument:expr),*)) => {{
        let function = *$npu.library.table().$name.as_ref().unwrap();
        // SAFETY: a stand-in, which checks handles; every pointer given is to a local value that outlives the call.
        unsafe { function($($argument),*) }
    }};
}

/// A library and a context in it.
struct Npu {
    library: Library,
    context: rknn_context,
    control: Control,
}

/// A model of two outputs that replays `stored(n)` for the input whose pixels are all `n`.
fn model(name: &str) -> Model {
    let element = Element::I8(QUANT);
    let input = Input { name: "i".into(), shape: [1, 3, 2, 3], element, row_stride: 0 };
    let output = |name: &str| Output {
        name: name.into(),
        shape: [1, 5, 2, 3],
        element,
        order: Order::Nc1hwc2 { c2: 4, align: 1 },
    };
    let scenario = Scenario {
        mode: Mode::Replay { latencies_us: vec![0] },
        ..Scenario::new(name, input, vec![output("a"), output("b")])
    };
    let recording =
        |n: u8| Recording { input: digest(&[n; PIXELS]), outputs: vec![stored(n), stored(n + 1)] };
    Model { scenario, onnx: Vec::new(), recordings: (0..4).map(recording).collect() }
}

fn stored(n: u8) -> Vec<u8> {
    (0..30).map(|at| at + n).collect()
}

impl Npu {
    fn open(kind: Kind, model: &Model) -> Self {
        let path = library(kind);
        let library = Library::open(path.as_os_str()).unwrap();
        let control = Control::new(&path, &model.scenario.name);
        let mut npu = Self { library, context: 0, control };
        assert_eq!(npu.init(&model.pack()), 0);
        npu
    }

    fn init(&mut self, file: &[u8]) -> i32 {
        self.init_with(file, 0)
    }

    fn init_with(&mut self, file: &[u8], flags: u32) -> i32 {
        let mut file = file.to_vec();
        let size = u32::try_from(file.len()).unwrap();
        call!(self, rknn_init(&raw mut self.context, file.as_mut_ptr().cast(), size, flags, null_mut()))
    }

    fn query<T: Default>(&self, command: rknn_query_cmd, size: usize) -> (i32, T) {
        let mut answer = T::default();
        let size = u32::try_from(size).unwrap();
        (call!(self, rknn_query(self.context, command, (&raw mut answer).cast(), size)), answer)
    }

    fn attr(&self, command: rknn_query_cmd) -> rknn_tensor_attr {
        let (code, attr) = self.query(command, size_of::<rknn_tensor_attr>());
        assert_eq!(code, 0);
        attr
    }

    fn set_input(&self, n: u8) -> i32 {
        let mut pixels = [n; PIXELS];
        let mut input = rknn_input {
            index: 0,
            buf: pixels.as_mut_ptr().cast(),
            size: 18,
            pass_through: 0,
            type_: rknn_tensor_type::RKNN_TENSOR_UINT8,
            fmt: rknn_tensor_format::RKNN_TENSOR_NHWC,
        };
        call!(self, rknn_inputs_set(self.context, 1, &raw mut input))
    }

    fn run(&self, timeout_ms: i32) -> i32 {
        let mut extend = rknn_run_extend { timeout_ms, ..Default::default() };
        call!(self, rknn_run(self.context, &raw mut extend))
    }

    /// Gets the first `count` outputs into buffers of `size` bytes.
    fn get(&self, count: u32, size: u32) -> (i32, Vec<Vec<u8>>) {
        let mut buffers = vec![vec![0_u8; ELEMENTS]; 2];
        let mut outputs: Vec<rknn_output> = (0..)
            .zip(&mut buffers)
            .map(|(index, buffer)| rknn_output {
                want_float: 0,
                is_prealloc: 1,
                index,
                buf: buffer.as_mut_ptr().cast(),
                size,
            })
            .collect();
        (call!(self, rknn_outputs_get(self.context, count, outputs.as_mut_ptr(), null_mut())), buffers)
    }

    fn create(&self, size: u32) -> *mut rknn_tensor_mem {
        call!(self, rknn_create_mem(self.context, size))
    }

    fn destroy_mem(&self, memory: *mut rknn_tensor_mem) -> i32 {
        call!(self, rknn_destroy_mem(self.context, memory))
    }

    fn bind(&self, memory: *mut rknn_tensor_mem, mut attr: rknn_tensor_attr) -> i32 {
        call!(self, rknn_set_io_mem(self.context, memory, &raw mut attr))
    }

    fn destroy(&self) -> i32 {
        call!(self, rknn_destroy(self.context))
    }

    fn counters(&self) -> Counters {
        self.control.counters()
    }
}

/// The bytes of a memory, as the host sees them.
fn host<'m>(memory: *mut rknn_tensor_mem) -> &'m mut [u8] {
    // SAFETY: a memory that was just created and is used by this test alone until it is destroyed.
    unsafe { std::slice::from_raw_parts_mut((*memory).virt_addr.cast(), (*memory).size as usize) }
}

#[test]
fn answers_that_do_not_fit_are_refused_and_more_room_is_not() {
    let npu = Npu::open(Kind::Rk, &model("room"));
    let size = size_of::<rknn_input_output_num>();
    let ask = |size| npu.query::<[rknn_input_output_num; 2]>(rknn_query_cmd::RKNN_QUERY_IN_OUT_NUM, size);
    assert_eq!(ask(size - 1).0, -5);
    let (code, [answer, beyond]) = ask(2 * size);
    assert_eq!((code, answer.n_input, answer.n_output, beyond.n_output), (0, 1, 2, 0));
    assert_eq!(npu.query::<rknn_tensor_attr>(rknn_query_cmd(99), size_of::<rknn_tensor_attr>()).0, -5);
    let null = call!(npu, rknn_query(npu.context, rknn_query_cmd::RKNN_QUERY_IN_OUT_NUM, null_mut(), 8));
    assert_eq!(null, -5);
}

#[test]
fn all_outputs_are_fetched_together() {
    let npu = Npu::open(Kind::Rk, &model("together"));
    assert_eq!(npu.get(2, 30).0, -9, "before a run");
    assert_eq!((npu.set_input(2), npu.run(0)), (0, 0));
    assert_eq!(npu.get(1, 30).0, -9);
    assert_eq!(npu.get(2, 29).0, -9, "short buffers");
    let (code, outputs) = npu.get(2, 30);
    assert_eq!((code, outputs), (0, vec![stored(2), stored(3)]));
    assert_eq!(npu.counters().outputs, 2);
    assert_eq!(call!(npu, rknn_outputs_release(npu.context, 3, null_mut())), -9);
    assert_eq!(call!(npu, rknn_outputs_release(npu.context, 2, null_mut())), 0);
    assert_eq!(npu.counters().outputs, 0);
}

#[test]
fn memory_for_strides_is_more_than_the_elements_take() {
    let npu = Npu::open(Kind::Rk, &model("strides"));
    let plain = npu.attr(rknn_query_cmd::RKNN_QUERY_OUTPUT_ATTR);
    assert_eq!((plain.size, plain.size_with_stride, plain.dims[..4].to_vec()), (30, 48, vec![1, 5, 2, 3]));
    let native = npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_OUTPUT_ATTR);
    assert_eq!((native.n_dims, native.dims[..5].to_vec()), (5, vec![1, 2, 2, 3, 4]));
    assert_eq!((native.size, native.size_with_stride), (30, 48));
    let short = npu.create(47);
    assert_eq!(npu.bind(short, native), -5);
    let (input, output) = (npu.create(18), npu.create(48));
    let attr = npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_INPUT_ATTR);
    let pixels = rknn_tensor_attr { type_: rknn_tensor_type::RKNN_TENSOR_UINT8, ..attr };
    assert_eq!((npu.bind(input, pixels), npu.bind(output, native)), (0, 0));
    host(input).fill(1);
    assert_eq!(npu.run(0), 0);
    // Channel 4, which begins the second block, of cell 2.
    assert_eq!(host(output)[(6 + 2) * 4], stored(1)[4 * 6 + 2]);
    for memory in [short, input, output] {
        assert_eq!(npu.destroy_mem(memory), 0);
    }
    assert_eq!((npu.counters().memories, npu.counters().violations.len()), (0, 0));
}

#[test]
fn what_the_caller_does_not_synchronize_stays_in_the_cache() {
    let mut model = model("caches");
    model.scenario.caches = Caches::Manual;
    let npu = Npu::open(Kind::Rk, &model);
    let (input, output) = (npu.create(18), npu.create(48));
    let sync = |memory, mode| assert_eq!(call!(npu, rknn_mem_sync(npu.context, memory, mode)), 0);
    let attr = npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_INPUT_ATTR);
    npu.bind(input, rknn_tensor_attr { type_: rknn_tensor_type::RKNN_TENSOR_UINT8, ..attr });
    npu.bind(output, npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_OUTPUT_ATTR));
    host(input).fill(3);
    assert_eq!(npu.run(0), 0, "the NPU sees zeros, which are recorded");
    sync(output, rknn_mem_sync_mode::RKNN_MEMORY_SYNC_FROM_DEVICE);
    assert_eq!(host(output)[0], stored(0)[0]);
    sync(input, rknn_mem_sync_mode::RKNN_MEMORY_SYNC_TO_DEVICE);
    assert_eq!(npu.run(0), 0);
    assert_eq!(host(output)[0], stored(0)[0], "not synchronized");
    sync(output, rknn_mem_sync_mode::RKNN_MEMORY_SYNC_FROM_DEVICE);
    assert_eq!(host(output)[0], stored(3)[0]);
    assert_eq!(call!(npu, rknn_mem_sync(npu.context, output, rknn_mem_sync_mode(0))), -5);
}

#[test]
fn the_small_runtime_copies_nothing_and_has_no_cores_to_choose() {
    let mut model = model("small");
    model.scenario = model.scenario.on_rv1106();
    let npu = Npu::open(Kind::Rv, &model);
    assert!(npu.library.table().rknn_set_core_mask.is_err());
    assert_eq!((npu.set_input(1), npu.get(2, 30).0), (-1, -9));
    assert_eq!(npu.library.version(), Some("2.3.2"));
    let mut large = Npu::open(Kind::Rk, &self::model("large"));
    assert_eq!(large.init(&model.pack()), -13, "a model of the other family");
}

#[test]
fn runs_without_inputs_or_with_unknown_ones_are_refused() {
    let npu = Npu::open(Kind::Rk, &model("inputs"));
    assert_eq!(npu.run(0), -8);
    assert_eq!((npu.set_input(99), npu.run(0)), (0, -8));
    assert_eq!((npu.set_input(0), npu.run(0)), (0, 0));
    let set = |mask| call!(npu, rknn_set_core_mask(npu.context, rknn_core_mask(mask)));
    assert_eq!((set(7), set(8)), (0, -5));
}

#[test]
fn a_core_takes_its_time_and_no_more_than_it_is_given() {
    let mut model = model("time");
    model.scenario.mode = Mode::Replay { latencies_us: vec![30_000, 60_000] };
    let npu = Npu::open(Kind::Rk, &model);
    let took = || {
        let began = Instant::now();
        assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
        began.elapsed()
    };
    assert!(took() >= Duration::from_millis(30));
    assert_eq!((npu.set_input(1), npu.run(10)), (0, -2));
    // The third core is as slow as the second, the last that is described.
    for mask in [2, 4] {
        assert_eq!(call!(npu, rknn_set_core_mask(npu.context, rknn_core_mask(mask))), 0);
        assert!(took() >= Duration::from_millis(60), "core mask {mask}");
    }
}

#[test]
fn a_run_on_several_cores_has_all_of_them() {
    let npu = Npu::open(Kind::Rk, &model("several"));
    for (mask, runs) in [(7, [1, 1, 1]), (3, [2, 2, 1]), (4, [2, 2, 2])] {
        assert_eq!(call!(npu, rknn_set_core_mask(npu.context, rknn_core_mask(mask))), 0);
        assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
        assert_eq!(npu.counters().runs_by_core, runs, "core mask {mask}");
    }
    assert_eq!(npu.counters().runs, 3);
}

#[test]
fn time_that_a_run_waits_for_its_core_counts() {
    const MASK: rknn_core_mask = rknn_core_mask(1);
    let npu = Npu::open(Kind::Rk, &model("waits"));
    assert_eq!(call!(npu, rknn_set_core_mask(npu.context, MASK)), 0);
    let other = std::thread::spawn(|| {
        // Keeps the core until long after the test.
        let mut model = model("waits");
        model.scenario = model.scenario.with_fault("rknn_run", 1, u64::MAX - 1, Action::Slow(60_000));
        let npu = Npu::open(Kind::Rk, &model);
        assert_eq!(call!(npu, rknn_set_core_mask(npu.context, MASK)), 0);
        (npu.set_input(1), npu.run(0))
    });
    let code = loop {
        assert_eq!(npu.set_input(1), 0);
        let code = npu.run(10);
        if code != 0 || other.is_finished() {
            break code;
        }
    };
    assert_eq!(code, -2);
}

#[test]
fn a_context_used_from_two_threads_is_reported() {
    let npu = Npu::open(Kind::Rk, &model("threads"));
    let (mut from, mut copy) = (npu.context, 0);
    assert_eq!(call!(npu, rknn_dup_context(&raw mut from, &raw mut copy)), 0);
    let counts = |context| {
        let size = u32::try_from(size_of::<rknn_input_output_num>()).unwrap();
        let mut answer = rknn_input_output_num::default();
        let info: *mut c_void = (&raw mut answer).cast();
        call!(npu, rknn_query(context, rknn_query_cmd::RKNN_QUERY_IN_OUT_NUM, info, size))
    };
    // A fresh duplicate belongs to whoever uses it first.
    std::thread::scope(|scope| scope.spawn(|| assert_eq!(counts(copy), 0)).join()).unwrap();
    assert_eq!(npu.counters().violations, [""; 0]);
    std::thread::scope(|scope| scope.spawn(|| assert_eq!(counts(npu.context), 0)).join()).unwrap();
    assert_eq!(counts(copy), 0);
    let violations = npu.counters().violations;
    assert!(
        violations.len() == 2 && violations.iter().all(|text| text.contains("second thread")),
        "{violations:?}"
    );
}

#[test]
fn two_calls_in_one_context_are_reported() {
    let mut model = model("twice");
    model.scenario = model.scenario.with_fault("rknn_run", 1, 1, Action::Stall);
    let npu = Npu::open(Kind::Rk, &model);
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| npu.run(0));
        while npu.counters().violations.is_empty() {
            std::thread::yield_now();
        }
        npu.set_input(1);
        npu.control.release();
        stalled.join().unwrap();
    });
    let violations = npu.counters().violations;
    assert!(violations.iter().any(|text| text.contains("another call is in it")), "{violations:?}");
}

#[test]
fn handles_and_memories_that_are_none_are_refused() {
    let npu = Npu::open(Kind::Rk, &model("none"));
    let other = Npu::open(Kind::Rk, &model("other"));
    let memory = npu.create(48);
    assert_eq!(other.destroy_mem(memory), -5);
    assert!(other.counters().violations[0].contains("another context"));
    assert_eq!((npu.destroy_mem(memory), npu.destroy_mem(memory)), (0, -5));
    assert!(npu.counters().violations[0].contains("none, or freed"));
    npu.create(1);
    assert_eq!((npu.destroy(), npu.destroy()), (0, -7));
    assert!(npu.counters().violations[1].contains("with 1 memories"));
    assert_eq!((npu.run(0), npu.set_input(1), npu.create(1)), (-7, -7, null_mut()));
}

#[test]
fn faults_come_when_they_are_due() {
    let mut model = model("faults");
    let fault = |scenario: Scenario, call, action| scenario.with_fault(call, 2, 1, action);
    model.scenario = fault(model.scenario, "rknn_run", Action::Error(-3));
    model.scenario = fault(model.scenario, "rknn_create_mem", Action::Short(8));
    model.scenario = fault(model.scenario, "rknn_destroy_mem", Action::Error(-1));
    let npu = Npu::open(Kind::Rk, &model);
    assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
    assert_eq!((npu.set_input(1), npu.run(0)), (0, -3));
    assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
    let (whole, short) = (npu.create(48), npu.create(48));
    assert_eq!((host(whole).len(), host(short).len()), (48, 40));
    assert_eq!((npu.destroy_mem(whole), npu.destroy_mem(short), npu.destroy_mem(short)), (0, -1, 0));
    assert_eq!(npu.counters().runs, 2);
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let mut npu = Npu::open(Kind::Rk, &model("bytes"));
    let file = model("bytes").pack();
    for broken in [&b"RKNN"[..], b"not a model at all", &file[..100], &file[1..]] {
        assert_eq!(npu.init(broken), -6);
    }
    let null = call!(npu, rknn_init(null_mut(), null_mut(), 0, 0, null_mut()));
    assert_eq!(null, -5);
}

#[test]
fn asynchronous_runs_give_the_frame_before() {
    let model = model("async");
    let mut npu = Npu::open(Kind::Rk, &model);
    assert_eq!(npu.init_with(&model.pack(), rknn_sys::RKNN_FLAG_ASYNC_MASK), 0);
    assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
    assert_eq!(npu.get(2, 30).0, -9, "there is no frame before the first");
    for n in 2..4 {
        assert_eq!((npu.set_input(n), npu.run(0)), (0, 0));
        assert_eq!(npu.get(2, 30), (0, vec![stored(n - 1), stored(n)]));
    }
}

#[test]
fn a_context_for_information_tells_and_does_not_run() {
    let model = model("information");
    let mut npu = Npu::open(Kind::Rk, &model);
    assert_eq!(npu.init_with(&model.pack(), rknn_sys::RKNN_FLAG_COLLECT_MODEL_INFO_ONLY), 0);
    assert_eq!(npu.attr(rknn_query_cmd::RKNN_QUERY_OUTPUT_ATTR).n_dims, 4);
    assert_eq!((npu.set_input(1), npu.run(0)), (0, -1));
}

#[test]
fn a_format_newer_than_the_runtime_is_refused() {
    let mut model = model("format");
    let mut npu = Npu::open(Kind::Rk, &model);
    model.scenario.newest_format = 5;
    assert_eq!(npu.init(&model.pack()), -6);
}

#[test]
fn a_model_of_another_chip_of_the_family_is_reported() {
    let mut model = model("other chip");
    let mut npu = Npu::open(Kind::Rk, &model);
    model.scenario.platforms = vec!["rk3576".into()];
    assert_eq!(npu.init(&model.pack()), -1);
    let violations = npu.counters().violations;
    assert!(violations[0].contains("a model of rk3576 loaded on rk3588"), "{violations:?}");
}

#[test]
fn weights_that_go_before_those_that_share_them_are_reported() {
    let npu = Npu::open(Kind::Rk, &model("parent"));
    let (mut from, mut copy) = (npu.context, 0);
    assert_eq!(call!(npu, rknn_dup_context(&raw mut from, &raw mut copy)), 0);
    assert_eq!(npu.destroy(), 0);
    assert!(npu.counters().violations[0].contains("before 1 that share its weights"));
    assert_eq!(call!(npu, rknn_destroy(copy)), 0);
    assert_eq!((npu.counters().contexts, npu.counters().violations.len()), (0, 1));
}

#[test]
fn outputs_asked_for_out_of_order_are_reported() {
    let npu = Npu::open(Kind::Rk, &model("out of order"));
    assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
    let mut buffers = vec![vec![0_u8; ELEMENTS]; 2];
    let mut outputs: Vec<rknn_output> = [1, 0]
        .into_iter()
        .zip(&mut buffers)
        .map(|(index, buffer)| rknn_output {
            want_float: 0,
            is_prealloc: 1,
            index,
            buf: buffer.as_mut_ptr().cast(),
            size: 30,
        })
        .collect();
    assert_eq!(call!(npu, rknn_outputs_get(npu.context, 2, outputs.as_mut_ptr(), null_mut())), 0);
    assert_eq!(buffers, [stored(2), stored(1)]);
    assert!(npu.counters().violations[0].contains("another order"));
}

#[test]
fn channels_innermost_can_be_asked_for() {
    let npu = Npu::open(Kind::Rk, &model("innermost"));
    let output = npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_NHWC_OUTPUT_ATTR);
    assert_eq!(
        (output.fmt, output.dims[..4].to_vec()),
        (rknn_tensor_format::RKNN_TENSOR_NHWC, vec![1, 2, 3, 5])
    );
    assert_eq!((output.size, output.size_with_stride), (30, 30));
    let input = npu.attr(rknn_query_cmd::RKNN_QUERY_NATIVE_NHWC_INPUT_ATTR);
    assert_eq!(
        (input.fmt, input.dims[..4].to_vec()),
        (rknn_tensor_format::RKNN_TENSOR_NHWC, vec![1, 2, 3, 3])
    );
}

#[test]
fn functions_that_repedge_does_not_use_are_there_too() {
    let npu = Npu::open(Kind::Rk, &model("unused"));
    let wait = || call!(npu, rknn_wait(npu.context, null_mut()));
    assert_eq!(wait(), -1, "nothing was run");
    assert_eq!((npu.set_input(1), npu.run(0), wait()), (0, 0, 0));
    let set = |count| call!(npu, rknn_set_batch_core_num(npu.context, count));
    assert_eq!((set(0), set(3), set(4)), (-5, 0, -5));
    let memory = call!(npu, rknn_create_mem2(npu.context, 48, 0));
    // SAFETY: a memory that was just created.
    let fd = unsafe { (*memory).fd };
    let file = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|target| target == file)).count()
    };
    assert!(open() >= 2);
    let before = open();
    assert_eq!(npu.destroy_mem(memory), 0);
    assert!(open() < before && open() > 0, "the real one keeps a descriptor for good");
    assert!(Npu::open(Kind::Rk, &model("large family")).library.table().rknn_set_batch_core_num.is_ok());
    let mut small = model("small family");
    small.scenario = small.scenario.on_rv1106();
    assert!(Npu::open(Kind::Rv, &small).library.table().rknn_set_batch_core_num.is_err());
}

#[test]
fn a_slow_npu_keeps_to_the_time_it_was_given() {
    let mut model = model("slow");
    model.scenario = model.scenario.with_fault("rknn_run", 1, 2, Action::Slow(20));
    let npu = Npu::open(Kind::Rk, &model);
    assert_eq!((npu.set_input(1), npu.run(5)), (0, -2));
    let began = Instant::now();
    assert_eq!((npu.set_input(1), npu.run(10_000)), (0, 0));
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert_eq!((npu.set_input(1), npu.run(10_000)), (0, 0));
    assert_eq!(npu.counters().faults, [2]);
}

#[test]
fn a_core_that_computes_wrongly_says_nothing_and_others_are_right() {
    let mut model = model("garbled");
    // The driver chooses core 0, the first that is free.
    for (run, core) in [(1, 2), (2, 0)] {
        model.scenario = model.scenario.with_fault("rknn_run", run, 1, Action::Garble(core));
    }
    let npu = Npu::open(Kind::Rk, &model);
    let right = [stored(1), stored(2)].to_vec();
    let wrong = right.iter().map(|bytes| bytes.iter().map(|byte| !byte).collect()).collect();
    for outputs in [right.clone(), wrong, right] {
        assert_eq!((npu.set_input(1), npu.run(0)), (0, 0));
        assert_eq!(npu.get(2, 30), (0, outputs));
        assert_eq!(call!(npu, rknn_outputs_release(npu.context, 2, null_mut())), 0);
    }
}

#[test]
fn faults_that_can_never_come_are_refused() {
    for (call, from, count, action) in [
        ("rknn_ruin", 1, 1, Action::Stall),
        ("rknn_run", 1, 1, Action::Short(1)),
        ("rknn_query", 1, 1, Action::Slow(1)),
        ("rknn_wait", 1, 1, Action::Garble(0)),
        ("rknn_run", 0, 1, Action::Stall),
        ("rknn_run", 1, 0, Action::Stall),
        ("rknn_run", 1, 1, Action::Error(0)),
    ] {
        let scenario = model("impossible").scenario;
        let made = std::panic::catch_unwind(|| scenario.with_fault(call, from, count, action));
        assert!(made.is_err(), "{call} {action:?}");
    }
}

#[test]
fn faults_that_came_are_counted() {
    let mut model = model("counted");
    model.scenario = model.scenario.with_fault("rknn_run", 1, 2, Action::Error(-1));
    model.scenario = model.scenario.with_fault("rknn_wait", 1, 1, Action::Error(-1));
    let npu = Npu::open(Kind::Rk, &model);
    for code in [-1, -1, 0] {
        assert_eq!((npu.set_input(1), npu.run(0)), (0, code));
    }
    assert_eq!(npu.counters().faults, [2, 0]);
}
