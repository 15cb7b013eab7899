"""Judges an ONNX file by the tools of others: onnx.checker with full shape inference, and a run in onnxruntime.

    check_onnx.py MODEL.onnx [INPUT.f32 OUTPUT.f32 ...]

INPUT and OUTPUT are raw little-endian f32 in the model's own shapes; each output of onnxruntime has to be within
1e-3 of its range of the OUTPUT in the same place. Exits with 1 and says why when something is wrong.
"""

import sys

import numpy as np
import onnx
import onnxruntime

# Engines add in different orders, and a hundred layers of random weights amplify the last bit; a wrong attribute of
# one node changes the outputs by more than a tenth.
BAR = 1e-3


def check_schema(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for value in list(model.graph.input) + list(inferred.graph.output):
        dims = value.type.tensor_type.shape.dim
        if not value.name or len(dims) != 4 or any(dim.dim_value <= 0 for dim in dims):
            raise ValueError(f"{value.name!r} has no static NCHW shape")
    return model


def run(path, image_file):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (spec,) = session.get_inputs()
    if image_file is None:
        image = np.random.default_rng(0).random(spec.shape, dtype=np.float32)
    else:
        image = np.fromfile(image_file, dtype="<f4").reshape(spec.shape)
    return session, session.run(None, {spec.name: image})


def compare(session, found, files):
    if len(files) not in (0, len(found)):
        raise ValueError(f"{len(files)} output files for {len(found)} outputs")
    for spec, values, file in zip(session.get_outputs(), found, files):
        expected = np.fromfile(file, dtype="<f4").reshape(spec.shape).astype(np.float64)
        error = np.abs(values - expected).max() / np.abs(expected).max()
        if not error <= BAR:
            raise ValueError(f"output {spec.name!r} differs by {error:.2e} of its range, bar {BAR:.0e}")


def main(arguments):
    if not arguments:
        raise ValueError(__doc__)
    path, image_file, *output_files = arguments + ([None] if len(arguments) == 1 else [])
    model = check_schema(path)
    session, found = run(path, image_file)
    if not all(np.isfinite(values).all() for values in found):
        raise ValueError("an output is not finite")
    compare(session, found, output_files)
    names = [spec.name for spec in session.get_inputs() + session.get_outputs()]
    print(f"{path}: {len(model.graph.node)} nodes, {', '.join(names)}: accepted")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as error:  # Whatever these libraries raise, the file is at fault.
        sys.exit(f"{sys.argv[1:]}: {type(error).__name__}: {error}")
