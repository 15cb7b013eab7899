"""Builds ONNX detectors as other tools export them, and runs them in onnxruntime, for the tests of the ONNX import.

    make_detectors.py OUT_DIR RAW.onnx ...

RAW.onnx are YOLOv5 models as train-host exports them, with three raw outputs; they get the decoding that YOLOv5's
exporter prints. The models with split heads are made from scratch, narrow, by the published architecture of YOLOv8 and
YOLO11. Beside each NAME.onnx stand NAME.image.f32 (the image), NAME.raw0.f32, … (the last convolutions) and
NAME.decoded.f32 (the model's own boxes), raw little-endian f32, and NAME.json with their shapes. 16-bit models are run
in 32 bits with their rounded weights, so that only the import is measured and not the arithmetic of 16 bits.
"""

import copy
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from onnx_blocks import BINS, Builder, Net

STRIDES = (8, 16, 32)
ANCHORS = np.array(
    [[[9, 14], [17, 29], [33, 22]], [[31, 60], [61, 46], [58, 118]], [[115, 91], [157, 197], [372, 327]]], np.float32
)


def pyramid(net, block, imgsz, attention=None, stem=None):
    """Backbone and neck: maps at strides 8, 16 and 32. `block(x, out, name, shortcut)` is the stage block."""
    x = stem("images") if stem else net.conv("images", 8, "model.0", 3, 2)
    x = net.conv(x, 16, "model.1", 3, 2)
    x = block(x, 16, "model.2", True)
    p3 = block(net.conv(x, 24, "model.3", 3, 2), 24, "model.4", True)
    p4 = block(net.conv(p3, 32, "model.5", 3, 2), 32, "model.6", True)
    p5 = net.sppf(block(net.conv(p4, 48, "model.7", 3, 2), 48, "model.8", True), "model.9")
    if attention:
        p5 = attention(p5)
    n4 = block(net.concat(net.upsample(p5), p4), 32, "model.12", False)
    n3 = block(net.concat(net.upsample(n4), p3), 24, "model.15", False)
    n4 = block(net.concat(net.conv(n3, 24, "model.16", 3, 2), n4), 32, "model.18", False)
    n5 = block(net.concat(net.conv(n4, 32, "model.19", 3, 2), p5), 48, "model.21", False)
    return [n3, n4, n5]


def grid(imgsz):
    """Middles of all cells [1, 2, boxes] and their strides [1, boxes]."""
    points, strides = [], []
    for stride in STRIDES:
        side = imgsz // stride
        y, x = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
        points.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full(side * side, stride))
    return np.concatenate(points, 1)[None].astype(np.float32), np.concatenate(strides)[None].astype(np.float32)


def open_grid(net, pairs):
    """As `grid`, computed from the shapes of the maps, as exporters print it for images of any size."""
    points, strides = [], []
    for (box, _), stride in zip(pairs, STRIDES):
        shape = net.add("Shape", box)
        sides = [net.add("Gather", shape, net.constant(np.array(i, np.int64)), axis=0) for i in (2, 3)]
        zero, one = (net.constant(np.array(i, np.int64)) for i in (0, 1))
        half = net.constant(np.float32(0.5))
        axes = []
        for side in sides:
            steps = net.add("Cast", net.add("Range", zero, side, one), to=TensorProto.FLOAT)
            axes.append(net.add("Add", steps, half))
        whole = net.add("Concat", *(net.add("Unsqueeze", side, net.ints(0)) for side in sides), axis=0)
        rows = net.add("Expand", net.add("Unsqueeze", axes[0], net.ints(1)), whole)
        columns = net.add("Expand", net.add("Unsqueeze", axes[1], net.ints(0)), whole)
        stacked = net.add("Concat", *(net.add("Unsqueeze", a, net.ints(-1)) for a in (columns, rows)), axis=-1)
        points.append(net.add("Reshape", stacked, net.ints(-1, 2)))
        count = net.add("Mul", *sides)
        fill = net.add(
            "ConstantOfShape",
            net.add("Concat", net.add("Unsqueeze", count, net.ints(0)), net.ints(1), axis=0),
            value=helper.make_tensor("value", TensorProto.FLOAT, [1], [float(stride)]),
        )
        strides.append(fill)
    points = net.add("Unsqueeze", net.add("Transpose", net.add("Concat", *points, axis=0), perm=[1, 0]), net.ints(0))
    strides = net.add("Transpose", net.add("Concat", *strides, axis=0), perm=[1, 0])
    return points, strides


def decode_split(net, pairs, classes, imgsz, dynamic=False, chunked=False):
    """YOLOv8's decoding as PyTorch's exporter prints it: [1, 4 + classes, boxes]."""
    channels = 4 * BINS + classes
    flat = [net.add("Reshape", net.add("Concat", *pair, axis=1), net.ints(1, channels, -1)) for pair in pairs]
    joined = net.add("Concat", *flat, axis=2)
    box, scores = net.add("Split", joined, net.ints(4 * BINS, classes), outputs=2, axis=1)
    bins = net.add("Transpose", net.add("Reshape", box, net.ints(1, 4, BINS, -1)), perm=[0, 2, 1, 3])
    counts = net.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1), "model.22.dfl.conv.weight")
    distances = net.add("Conv", net.add("Softmax", bins, axis=1), counts, kernel_shape=[1, 1])
    distances = net.add("Reshape", distances, net.ints(1, 4, -1))
    if chunked:
        # torch.chunk, whose size the exporter computes from the shape.
        size = net.add("Gather", net.add("Shape", distances), net.ints(1), axis=0)
        half = net.add("Div", net.add("Add", size, net.ints(1)), net.ints(2))
        ends = [net.add("Mul", half, net.ints(i)) for i in (1, 2)]
        start = net.add("Slice", distances, net.ints(0), ends[0], net.ints(1))
        end = net.add("Slice", distances, ends[0], ends[1], net.ints(1))
    else:
        start, end = net.add("Split", distances, net.ints(2, 2), outputs=2, axis=1)
    if dynamic:
        points, strides = open_grid(net, pairs)
    else:
        points, strides = (net.constant(values) for values in grid(imgsz))
    corner = net.add("Sub", points, start)
    other = net.add("Add", points, end)
    center = net.add("Div", net.add("Add", corner, other), net.constant(np.float32(2)))
    boxes = net.add("Mul", net.add("Concat", center, net.add("Sub", other, corner), axis=1), strides)
    return net.add("Concat", boxes, net.add("Sigmoid", scores), axis=1)


def value_info(name, rank):
    """A result of open shape."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_{axis}" for axis in range(rank)])


def model_of(net, outputs, imgsz, opset=17, metadata=None, dynamic=False, rank=3):
    shape = ["batch", 3, "height", "width"] if dynamic else [1, 3, imgsz, imgsz]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    outputs = [value_info(name, rank) for name in outputs]
    graph = helper.make_graph(net.nodes, "main_graph", [image], outputs, net.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model


def half(model):
    """The model in 16 bits, and the same in 32 bits with the weights that 16 bits hold."""
    small, rounded = copy.deepcopy(model), copy.deepcopy(model)
    for copied, dtype in ((small, np.float16), (rounded, np.float32)):
        tensors = list(copied.graph.initializer)
        tensors += [a.t for node in copied.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        for tensor in tensors:
            if tensor.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(tensor).astype(np.float16).astype(dtype)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in list(small.graph.input) + list(small.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in small.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    return small, rounded


def shuffled(model, seed):
    model = copy.deepcopy(model)
    nodes = list(model.graph.node)
    order = np.random.default_rng(seed).permutation(len(nodes))
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in order)
    return model


def decode_anchors(model, imgsz, form, metadata):
    """Adds YOLOv5's decoding to a raw model: form 'split' as v7 prints it, 'slice' as v6 does."""
    model = copy.deepcopy(model)
    raws = [output.name for output in model.graph.output]
    build = Builder(0)
    rows = []
    for index, (raw, stride) in enumerate(zip(raws, STRIDES)):
        side = imgsz // stride
        channels = model.graph.output[index].type.tensor_type.shape.dim[1].dim_value
        numbers = channels // 3
        y = build.add("Reshape", raw, build.ints(1, 3, numbers, side, side), name=f"/level{index}/Reshape")
        y = build.add("Sigmoid", build.add("Transpose", y, perm=[0, 1, 3, 4, 2], name=f"/level{index}/Transpose"))
        cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)[None, None].astype(np.float32)
        cells = np.broadcast_to(cells, (1, 3, side, side, 2))
        sizes = np.broadcast_to(ANCHORS[index].reshape(1, 3, 1, 1, 2), cells.shape)
        two = build.constant(np.float32(2))
        if form == "split":
            xy, wh, rest = build.add("Split", y, build.ints(2, 2, numbers - 4), outputs=3, axis=4)
            xy = build.add("Add", build.add("Mul", xy, two), build.constant(cells - np.float32(0.5)))
        else:
            part = lambda a, b: build.add("Slice", y, build.ints(a), build.ints(b), build.ints(4), build.ints(1))
            xy, wh, rest = part(0, 2), part(2, 4), part(4, 2**63 - 1)
            xy = build.add("Sub", build.add("Mul", xy, two), build.constant(np.float32(0.5)))
            xy = build.add("Add", xy, build.constant(cells))
        xy = build.add("Mul", xy, build.constant(np.float32(stride)))
        wh = build.add("Mul", build.add("Pow", build.add("Mul", wh, two), two), build.constant(sizes))
        y = build.add("Concat", xy, wh, rest, axis=4)
        rows.append(build.add("Reshape", y, build.ints(1, 3 * side * side, numbers)))
    output = build.add("Concat", *rows, axis=1)
    model.graph.node.extend(build.nodes)
    model.graph.initializer.extend(build.constants)
    del model.graph.output[:]
    model.graph.output.append(value_info(output, 3))
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    return model, raws


def run(model, raws, image):
    """The last convolutions and the outputs, in onnxruntime."""
    model = copy.deepcopy(model)
    outputs = [output.name for output in model.graph.output]
    for name in raws:
        if name not in outputs:
            model.graph.output.append(value_info(name, 4))
    options = onnxruntime.SessionOptions()
    # What is compared are the tensors of the file, not those of an optimizer.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(raws, {"images": image}), session.run(outputs, {"images": image})


def save(folder, name, model, raws, imgsz, reference=None, decoded=True):
    if reference is None:
        onnx.checker.check_model(model)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    image = np.random.default_rng(1).random((1, 3, imgsz, imgsz), dtype=np.float32)
    found, outputs = run(reference or model, raws, image)
    files = {f"raw{i}": values for i, values in enumerate(found)}
    if decoded:
        files["decoded"] = outputs[0]
    for key, values in {"image": image, **files}.items():
        assert np.isfinite(values).all(), (name, key)
        values.astype("<f4").tofile(folder / f"{name}.{key}.f32")
    shapes = {key: list(values.shape) for key, values in files.items()}
    (folder / f"{name}.json").write_text(json.dumps({"imgsz": imgsz, "shapes": shapes}))


def split_models(folder):
    imgsz, classes = 64, 5
    names = {"names": str({i: f"thing {i}" for i in range(classes)}), "stride": "32", "task": "detect"}

    def v8(**settings):
        net = Net(3, **settings)
        return net, net.head(pyramid(net, net.c2f, imgsz), classes, False, "model.22")

    def finish(name, net, pairs, opset=17, metadata=names, dynamic=False, **form):
        raws = [name for pair in pairs for name in pair]
        output = decode_split(net, pairs, classes, imgsz, dynamic, **form)
        model = model_of(net, [output], imgsz, opset, metadata, dynamic)
        save(folder, name, model, raws, imgsz)
        return model, raws

    net, pairs = v8()
    model, raws = finish("yolov8", net, pairs)
    small, rounded = half(model)
    save(folder, "yolov8-half", small, raws, imgsz, rounded)
    save(folder, "yolov8-shuffled", shuffled(model, 5), raws, imgsz, model)
    finish("yolov8-norms", *v8(norms=True, act="relu"), opset=13, chunked=True)
    finish("yolov8-open", *v8(), dynamic=True, metadata={})

    net, pairs = v8(act="leaky")
    raws = [name for pair in pairs for name in pair]
    joined = [net.add("Concat", *pair, axis=1) for pair in pairs]
    save(folder, "yolov8-raw", model_of(net, joined, imgsz, rank=4), raws, imgsz, decoded=False)

    net = Net(7)
    stem = lambda x: net.rep(net.rep(x, 8, "model.0", 2), 8, "model.0b")
    finish("yolov8-rep", net, net.head(pyramid(net, net.c2f, imgsz, stem=stem), classes, False, "model.22"))

    net = Net(11)
    block = lambda x, out, name, shortcut: net.c2f(
        x, out, name, shortcut=True, inner="c3k" if out > 32 else "narrow", half=out // 4 if out < 24 else None
    )
    attend = lambda x: net.c2psa(x, "model.10", 2, imgsz // 32)
    pairs = net.head(pyramid(net, block, imgsz, attend), classes, True, "model.23")
    model, raws = finish("yolo11", net, pairs, opset=19)
    small, rounded = half(model)
    save(folder, "yolo11-half", shuffled(small, 9), raws, imgsz, rounded)


def anchor_models(folder, paths):
    for path in map(pathlib.Path, paths):
        raw = onnx.load(path)
        imgsz = raw.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        numbers = raw.graph.output[0].type.tensor_type.shape.dim[1].dim_value // 3
        names = {"names": str([f"thing {i}" for i in range(numbers - 5)]), "stride": "32"}
        for form in ("split", "slice"):
            model, raws = decode_anchors(raw, imgsz, form, names)
            save(folder, f"{path.stem}-{form}", model, raws, imgsz)
        small, rounded = half(model)
        save(folder, f"{path.stem}-half-shuffled", shuffled(small, 2), raws, imgsz, rounded)


def main(arguments):
    if not arguments:
        raise ValueError(__doc__)
    folder = pathlib.Path(arguments[0])
    anchor_models(folder, arguments[1:])
    split_models(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
