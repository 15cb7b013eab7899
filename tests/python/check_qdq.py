"""Judges a QDQ ONNX file by onnx.checker and onnxruntime, and compares what onnxruntime computes with ours.

    check_qdq.py MODEL.onnx INPUT.f32 OUTPUT.f32 SCALE [OUTPUT.f32 SCALE ...]

INPUT and OUTPUT are raw little-endian f32 in the model's own shapes. Prints JSON: how many of how many convolutions
onnxruntime runs in int8, and by how many steps of SCALE its outputs differ from OUTPUT at most and, of the output
that differs most, on average. Exits with 1 and says why when the file is refused or has other outputs.
"""

import json
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime


# Left to itself, onnxruntime rounds weights that stay in floats to int8, by scales of its own, where a QuantizeLinear
# follows the convolution or its Relu: that would be another model than the file's.
NOT_OURS = ["WeightBiasQuantization"]


def load(path, optimized=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = optimized
    # Else it turns some activations to u8 for x86, and leaves convolutions between the two kinds in floats.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=NOT_OURS
    )


def main(arguments):
    if len(arguments) < 4 or len(arguments) % 2:
        raise ValueError(__doc__)
    path, image_file, *rest = arguments
    onnx.checker.check_model(onnx.load(path), full_check=True)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as optimized:
        session = load(path, optimized.name)
        operators = [node.op_type for node in onnx.load(optimized.name).graph.node]
    (spec,) = session.get_inputs()
    image = np.fromfile(image_file, dtype="<f4").reshape(spec.shape)
    found = session.run(None, {spec.name: image})
    if len(rest) != 2 * len(found):
        raise ValueError(f"{len(rest) // 2} output files for {len(found)} outputs")
    worst, total = 0.0, []
    for spec, values, file, scale in zip(session.get_outputs(), found, rest[::2], rest[1::2]):
        expected = np.fromfile(file, dtype="<f4").reshape(spec.shape)
        steps = np.abs(values.astype(np.float64) - expected) / float(scale)
        worst, total = max(worst, steps.max()), total + [steps.mean()]
    in_int8 = operators.count("QLinearConv")
    in_floats = operators.count("Conv") + operators.count("FusedConv")
    if not np.isfinite([worst, *total]).all():
        raise ValueError("an output is not finite")
    verdict = {"in_int8": in_int8, "convolutions": in_int8 + in_floats, "most": worst, "mean": max(total)}
    print(json.dumps(verdict))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as error:  # Whatever these libraries raise, the file is at fault.
        sys.exit(f"{sys.argv[1:2]}: {type(error).__name__}: {error}")
