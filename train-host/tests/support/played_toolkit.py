"""Plays rknn-toolkit2 for tests: writes a file that says of itself what was asked for, and gives zeros for every frame.
The environment changes what it says: PLAYED_SCALE is the scale that it chooses, PLAYED_TYPE the type of its ends."""

import json
import os
import struct
import sys

CLASSES = int(os.environ["PLAYED_CLASSES"])
SIDE_PX = int(os.environ["PLAYED_SIDE"])
SCALE = float(os.environ.get("PLAYED_SCALE", "0.5"))
TYPE = os.environ.get("PLAYED_TYPE", "int8")
OUTPUTS = {name: [1, 3 * (5 + CLASSES), SIDE_PX // stride, SIDE_PX // stride] for name, stride in
           [("p3", 8), ("p4", 16), ("p5", 32)]}


def answer(**fields):
    sys.stdout.buffer.write(json.dumps(fields).encode() + b"\n")
    sys.stdout.buffer.flush()


def trailer(chip):
    tensors = [("images", [1, 3, SIDE_PX, SIDE_PX]), *OUTPUTS.items()]
    edges = [("input", 0), *(("output", index) for index in range(len(OUTPUTS)))]
    return {
        "version": "2.5.0",
        "target_platform": [chip],
        "graph": [{"left": left, "left_tensor_id": index, "right_tensor_id": at} for at, (left, index) in enumerate(edges)],
        "norm_tensor": [{"tensor_id": at, "url": name, "size": size, "dtype": {"vx_type": TYPE}}
                        for at, (name, size) in enumerate(tensors)],
    }


request = json.loads(sys.stdin.buffer.readline())
answer(event="stage", name="compiling")
with open(request["onnx"], "rb") as file:
    payload = file.read()
if request["quantize"]:
    with open(request["quantize"]["dataset"]) as file:
        assert all(os.path.getsize(line.strip()) for line in file)
text = json.dumps(trailer(request["target"])).encode()
with open(request["out"], "wb") as file:
    file.write(b"RKNN" + bytes(4) + struct.pack("<QQ", 6, len(payload)) + bytes(40))
    file.write(payload + struct.pack("<Q", len(text)) + text)
answer(event="built", toolkit="2.5.0", scales={name: [SCALE, 0] for name in OUTPUTS} if request["quantize"] else {})
for line in iter(sys.stdin.buffer.readline, b""):
    sys.stdin.buffer.read(json.loads(line)["bytes"])
    answer(event="outputs", shapes=list(OUTPUTS.values()))
    for shape in OUTPUTS.values():
        sys.stdout.buffer.write(bytes(4 * shape[1] * shape[2] * shape[3]))
    sys.stdout.buffer.flush()
