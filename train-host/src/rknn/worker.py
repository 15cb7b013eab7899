"""Drives rknn-toolkit2 for train-host, which starts it in the toolkit's own Python environment and talks to it.

A request is one line of JSON on stdin; an answer is one line of JSON on stdout, `event` naming its kind. Values of
tensors follow their line as raw bytes. All that the toolkit prints goes to stderr. The first request builds a model;
the ones after it, if it asks to simulate, are frames. It ends when stdin does.
"""

import ctypes
import importlib.metadata
import json
import os
import sys
import types

ANSWERS = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)


def answer(event, tensors=(), **fields):
    ANSWERS.write(json.dumps({"event": event, **fields}).encode() + b"\n")
    for tensor in tensors:
        ANSWERS.write(tensor.tobytes())
    ANSWERS.flush()


def stand_in_for_torch():
    """The toolkit imports torch for an algorithm that we do not use, and needs no more of it than these two names.
    The real one would bring three gigabytes of CUDA libraries into the environment."""
    torch, nn = types.ModuleType("torch"), types.ModuleType("torch.nn")
    nn.Module = type("Module", (), {})
    torch.__version__ = "2.4.0"
    torch.nn = nn
    torch.no_grad = lambda: lambda function: function
    sys.modules.update({"torch": torch, "torch.nn": nn})


def expect_success(code, step):
    if code != 0:
        raise RuntimeError(f"{step} returned {code}")


def build(request):
    """Builds the model in the current folder, and tells the scale and zero point of each tensor that the toolkit chose."""
    from rknn.api import RKNN

    answer("stage", name="reading the model")
    # What tells which tensors are computed in half floats is printed to those who ask for all.
    rknn = RKNN(verbose=True)
    config = {
        "mean_values": [request["mean"]],
        "std_values": [request["std"]],
        "target_platform": request["target"],
        **request["config"],
    }
    quantize, scales = request["quantize"], {}
    expect_success(rknn.config(**config), "config")
    expect_success(rknn.load_onnx(model=request["onnx"]), "load_onnx")
    if quantize:
        rknn, scales = choose_scales(rknn, config, quantize["dataset"], stem(request["onnx"]))
    else:
        answer("stage", name="compiling")
        expect_success(rknn.build(do_quantization=False), "build")
    answer("stage", name="writing")
    expect_success(rknn.export_rknn(request["out"]), "export_rknn")
    if request["simulate"]:
        answer("stage", name="starting the simulator")
        expect_success(rknn.init_runtime(), "init_runtime")
    return rknn, scales


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def choose_scales(rknn, config, dataset, name):
    """Quantizes in the two steps of the toolkit's hybrid way, which gives the same model as one step does, and between
    them a file with the scales."""
    from rknn.api import RKNN
    from ruamel.yaml import YAML

    answer("stage", name="finding scales")
    expect_success(rknn.hybrid_quantization_step1(dataset=dataset, proposal=False), "hybrid_quantization_step1")
    rknn.release()
    answer("stage", name="compiling")
    files = [f"{name}.{kind}" for kind in ("model", "data", "quantization.cfg")]
    rknn = RKNN(verbose=True)
    expect_success(rknn.config(**config), "config")
    step2 = dict(zip(("model_input", "data_input", "model_quantization_cfg"), files))
    expect_success(rknn.hybrid_quantization_step2(**step2), "hybrid_quantization_step2")
    with open(files[2]) as file:
        tensors = YAML(typ="safe", pure=True).load(file)["quantize_parameters"]
    ends = {key.removesuffix("_int8"): value for key, value in tensors.items() if key.endswith("_int8")}
    single = {key: value for key, value in ends.items() if len(value["scale"]) == 1}
    return rknn, {key: [value["scale"][0], value["zero_point"][0]] for key, value in single.items()}


def simulate(rknn, request, numpy):
    pixels = numpy.frombuffer(sys.stdin.buffer.read(request["bytes"]), dtype=numpy.uint8)
    outputs = rknn.inference(inputs=[pixels.reshape(request["shape"])], data_format=["nhwc"])
    if outputs is None:
        raise RuntimeError("the simulator gave no outputs")
    outputs = [numpy.ascontiguousarray(output, dtype="<f4") for output in outputs]
    answer("outputs", outputs, shapes=[output.shape for output in outputs])


def main():
    stand_in_for_torch()
    import numpy

    rknn = None
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        if rknn is None:
            rknn, scales = build(request)
            # The toolkit's own libraries print through C's buffers, and what they said is read now.
            ctypes.CDLL(None).fflush(None)
            sys.stdout.flush()
            answer("built", toolkit=importlib.metadata.version("rknn-toolkit2"), scales=scales)
        else:
            simulate(rknn, request, numpy)


try:
    main()
except Exception as error:  # Whatever it is, train-host shows it beside the end of the toolkit's own messages.
    answer("failed", message=f"{type(error).__name__}: {error}")
    sys.exit(1)
