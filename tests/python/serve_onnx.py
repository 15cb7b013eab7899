"""Runs an ONNX file in onnxruntime, image after image, for tests that drive it as an engine.

    serve_onnx.py MODEL.onnx

Reads raw little-endian f32 images in the model's own shape from stdin until it ends, and writes the outputs of each,
likewise and in order, to stdout.
"""

import sys

import numpy as np

from check_qdq import load


def main(path):
    session = load(path)
    (spec,) = session.get_inputs()
    size = 4 * int(np.prod(spec.shape))
    while len(data := sys.stdin.buffer.read(size)) == size:
        image = np.frombuffer(data, dtype="<f4").reshape(spec.shape)
        for output in session.run(None, {spec.name: image}):
            sys.stdout.buffer.write(np.ascontiguousarray(output, dtype="<f4").tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
