"""Times engines on the same ONNX files, turn about, and prints what it found as JSON.

Usage: time_models.py PROGRAM ROUNDS THREADS[,THREADS] FILE.onnx...

PROGRAM is the example `time-onnx`, which runs our kernels and plain tract. Every round runs every engine once, in an order
that moves on, so that whatever else the machine does falls on all alike. Wall and processor time are both taken: on one
thread the latter tells even while other programs run. Memory is the most that a process of its own holds for one run; of the
libraries', what the interpreter and numpy held before is taken off. All engines have the same cores, as many as threads: one core may
have a busier neighbor than another. Where ours runs on several threads, it runs on one in the same
rounds, so that what the others give is a ratio of neighbours in time as well.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx


class Program:
    """Ours or plain tract, in a process of its own."""

    def __init__(self, program, kernels, threads, path, specs):
        arguments = [program, kernels, str(threads), path, *specs]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load = float(self.process.stdout.readline())

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def run(self):
        return self.ask("run")

    def processor(self):
        total = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
        return total * 1e-9

    def peak(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def outputs(self):
        with tempfile.NamedTemporaryFile() as file:
            self.ask(f"outputs {file.name}")
            return np.fromfile(file.name, np.float32)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Library:
    """An engine in this process."""

    def __init__(self, runner):
        self.runner, self.results = runner, runner()

    def run(self):
        started = time.perf_counter()
        self.results = self.runner()
        return time.perf_counter() - started

    def processor(self):
        return time.process_time()

    def outputs(self):
        return np.concatenate([np.asarray(result, np.float32).ravel() for result in self.results])

    def close(self):
        pass


def onnxruntime(path, threads, image, _):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})


def openvino(path, threads, image, _):
    import openvino as ov

    core = ov.Core()
    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
              "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(path, "CPU", config).create_infer_request()
    request.set_input_tensor(ov.Tensor(image))

    def run():
        request.infer()
        return [request.get_output_tensor(number).data for number in range(len(request.model_outputs))]

    return run


def ncnn(path, threads, image, folder):
    import ncnn as engine

    base = str(Path(folder) / Path(path).stem.replace("-", "_"))  # pnnx writes no dashes.
    if not Path(base + ".ncnn.param").exists():
        copy = Path(base + ".onnx")
        copy.write_bytes(Path(path).read_bytes())
        sides = ",".join(str(side) for side in image.shape)
        # The program itself: the package's Python half wants torch, which is not needed to convert ONNX.
        pnnx = Path(importlib.util.find_spec("pnnx").origin).parent / "pnnx"
        subprocess.run([pnnx, copy, f"inputshape=[{sides}]", "fp16=0"], check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net = engine.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(base + ".ncnn.param")
    net.load_model(base + ".ncnn.bin")
    mat = engine.Mat(image[0])

    def run():
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], mat)
        return [np.array(extractor.extract(name)[1]) for name in net.output_names()]

    return run


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn}
SLOW_S = 1  # A run that takes longer is made few times.
FEW = 3
PAUSE_S = 0.05  # Threads of the engine before look for more work for some milliseconds, on the cores of the next.
FIRSTS = 5  # Times that a bundle is opened.
ALONE = "ours on one thread"


def memory(field):
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) * 1024


def print_peak(name, path, threads, folder):
    """What one run of a library holds at most; to be called in a process of its own."""
    shape, _ = specs_of(path)
    image = image_of(shape)
    before = memory("VmRSS")
    PEERS[name](path, int(threads), image, folder)()
    print(memory("VmHWM") - before)


def peak_of(name, path, threads, folder):
    arguments = [sys.executable, __file__, "peak", name, path, str(threads), folder]
    return int(subprocess.run(arguments, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def first_result(program, path, specs, folder):
    """Seconds from a bundle to the boxes of a first frame, on all cores."""
    bundle = str(Path(folder) / "timed.bundle")
    subprocess.run([program, "pack", bundle, path, *specs], check=True)
    first = lambda: float(subprocess.run([program, "first", bundle], check=True, stdout=subprocess.PIPE).stdout)
    return float(np.median([first() for _ in range(FIRSTS)]))


def image_of(shape):
    """As the example fills its input."""
    state, values = 1, np.empty(int(np.prod(shape)), np.float32)
    for index in range(values.size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[index] = np.float32(state >> 24) / np.float32(255)
    return values.reshape(shape)


def specs_of(path):
    graph = onnx.load(path).graph
    sides = lambda value: [side.dim_value for side in value.type.tensor_type.shape.dim]
    text = lambda value: f"{value.name}:" + "x".join(str(side) for side in sides(value)[1:])
    return sides(graph.input[0]), [text(value) for value in (graph.input[0], *graph.output)]


def form_of(path):
    """Model, activation, size and precision: of our own models by their names, of others as their nodes tell."""
    parts = Path(path).stem.split("-")
    if len(parts) in (3, 4) and parts[1] in ("relu", "silu") and parts[2].isdecimal():
        return parts[0], parts[1], int(parts[2]), parts[3] if len(parts) == 4 else "fp32"
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    activation = next((name for kind, name in (("Sigmoid", "silu"), ("LeakyRelu", "leaky"), ("Relu", "relu")) if kind in kinds), "none")
    return Path(path).stem, activation, specs_of(path)[0][-1], "int8" if "QuantizeLinear" in kinds else "fp32"


def gflops_of(path):
    """What textbooks count for the convolutions of a run."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    stored = (node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in weights)
    weights.update({node.output[0]: weights[node.input[0]] for node in stored})
    pixels = {}
    for value in (*model.graph.value_info, *model.graph.output):
        pixels[value.name] = int(np.prod([side.dim_value for side in value.type.tensor_type.shape.dim[2:]]))
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return sum(2 * weights[node.input[1]] * pixels[node.output[0]] for node in convs) * 1e-9


def open_all(program, path, threads, image, specs, folder):
    engines = {"ours": Program(program, "ours", threads, path, specs)}
    if threads == 1:
        engines["tract"] = Program(program, "engine", 1, path, specs)
    else:
        engines[ALONE] = Program(program, "ours", 1, path, specs)
    for name, peer in PEERS.items():
        try:
            engines[name] = Library(peer(path, threads, image, folder))
        except Exception as error:  # An engine that cannot run a model is left out of its row, and named.
            print(f"{name} cannot run {Path(path).name}: {error}", file=sys.stderr)
    return engines


def measure(engines, rounds):
    wall = {name: [] for name in engines}
    processor = {name: [] for name in engines}
    names = list(engines)
    for number in range(rounds + 1):
        for name in names[number % len(names):] + names[:number % len(names)]:
            if len(wall[name]) >= FEW and wall[name][0] > SLOW_S:
                continue
            time.sleep(PAUSE_S)
            before = engines[name].processor()
            seconds = engines[name].run()
            if number > 0:
                wall[name].append(seconds)
                processor[name].append(engines[name].processor() - before)
    return wall, processor


def ratio(peer, ours):
    """The median of what each round gave; of a slow engine, there are the first ones."""
    return float(np.median(np.array(peer) / np.array(ours[:len(peer)])))


def peak_gflops(program, threads):
    """What so many cores do at once at most."""
    start = lambda: subprocess.Popen([program, "peak"], stdout=subprocess.PIPE, text=True)
    return sum(float(running.communicate()[0]) for running in [start() for _ in range(threads)]) * 1e-9


def sizes_mb(program, folder):
    """What a program takes with our kernels and tract, without debug information, and the others' libraries."""
    stripped = Path(folder) / "stripped"
    subprocess.run(["strip", "-o", stripped, program], check=True)
    sizes = {"ours": stripped.stat().st_size}
    for name in PEERS:
        package = Path(importlib.util.find_spec(name).origin).parent
        # Beside a package lie the libraries that its wheel brought along. Some lie there twice, by another name.
        libraries = [*package.rglob("*.so*"), *package.parent.glob(f"{name}.libs/*.so*"), *package.parent.glob(f"{name}*.so")]
        sizes[name] = sum({library.resolve(): library.stat().st_size for library in libraries}.values())
    return {name: size / 1e6 for name, size in sizes.items()}


def row(path, threads, engines, times, folder, peak):
    wall, processor = times
    held = engines["ours"].peak()  # Before outputs are asked for, which takes copies.
    reference = engines["ours"].outputs()
    agree = {}
    for name, engine in engines.items():
        values = engine.outputs()
        if values.size == reference.size:
            agree[name] = float(np.abs(values - reference).max() / np.abs(reference).max())
    peers = [name for name in PEERS if name in engines]
    model, activation, size, precision = form_of(path)
    median = lambda values: float(np.median(values) * 1e3)
    best = {clock: min((ratio(times[name], times["ours"]) for name in peers), default=None)
            for clock, times in (("wall", wall), ("processor", processor))}
    return {
        "model": model, "activation": activation, "size": size, "precision": precision, "threads": threads,
        "ours_ms": median(wall["ours"]),
        "peers_ms": {name: median(values) for name, values in wall.items() if name not in ("ours", ALONE)},
        "best_peer_over_ours": best["wall"],
        "ours_processor_ms": median(processor["ours"]),
        "peers_processor_ms": {name: median(values) for name, values in processor.items() if name not in ("ours", ALONE)},
        "best_peer_over_ours_processor": best["processor"],
        "least_ms": {name: float(min(values) * 1e3) for name, values in wall.items()},
        "gflops": gflops_of(path) / float(np.median(wall["ours"])),
        "peak_gflops": peak,
        "one_thread_over_ours": ratio(wall[ALONE], wall["ours"]) if ALONE in wall else None,
        "differs": agree,
        "file_to_first_result_s": engines["ours"].load,
        "peak_rss_mb": held / 1e6,
        "peers_peak_rss_mb": {name: peak_of(name, path, threads, folder) / 1e6 for name in peers},
    }


def main(program, rounds, threads, *paths):
    rows = []
    threads = [int(count) for count in threads.split(",")]
    peaks = {count: peak_gflops(program, count) for count in {1, *threads}}
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        sizes = sizes_mb(program, folder)
        for path in paths:
            shape, specs = specs_of(path)
            image = image_of(shape)
            first = first_result(program, path, specs, folder)
            for count in threads:
                os.sched_setaffinity(0, cores[:count])
                engines = open_all(program, path, count, image, specs, folder)
                rows.append(row(path, count, engines, measure(engines, int(rounds)), folder, peaks[count]))
                rows[-1] |= {"load_to_first_result_s": first, "peak_over_one_core": peaks[count] / peaks[1], "binary_mb": sizes}
                for engine in engines.values():
                    engine.close()
                os.sched_setaffinity(0, cores)
                print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows))


os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if sys.argv[1] == "peak":
    print_peak(*sys.argv[2:])
else:
    main(*sys.argv[1:])
