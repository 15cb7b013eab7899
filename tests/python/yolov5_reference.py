"""What a YOLOv5 checkpoint finds and scores, by tools that are not ours: the reference of the parity test.

    yolov5_reference.py WEIGHTS.pt EXCHANGE

Reads the checkpoint with Python's own unpickler (classes become empty stand-ins, so that none of its code runs), prints
its modules as an unfused ONNX graph, runs that in onnxruntime, decodes and suppresses in numpy and scores with
pycocotools against the labels that YOLO keeps beside the images. EXCHANGE is a folder with `images.json`, a list of
{stem, file, width, height}, and for each the decoded pixels STEM.rgb and the letterboxed ones STEM.input, both as the
program under test made them (u8, rows of RGB). Writes there: raw outputs of the first images (STEM.0.f32 ...),
`detections.json`, and `reference.json` with the scores, once on the pixels given and once on pixels decoded and
letterboxed by OpenCV.
"""

import json
import pathlib
import pickle
import sys
import zipfile

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE = 640
RAW_IMAGES = 16
CONFIDENCE, IOU, MAX_DETECTIONS, MAX_CANDIDATES = 0.001, 0.6, 300, 30000
PAD = 114


class Thing:
    """Stands in for every class of the pickle: keeps its state and runs nothing."""

    def __init__(self, *arguments):
        del arguments

    def __setstate__(self, state):
        self.__dict__.update(state)


class Reader(pickle.Unpickler):
    """Unpickles the archive's `data.pkl`; tensors become numpy arrays."""

    KINDS = {"HalfStorage": "<f2", "FloatStorage": "<f4", "LongStorage": "<i8", "DoubleStorage": "<f8"}

    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)
        (name,) = [n for n in self.archive.namelist() if n.endswith("/data.pkl")]
        self.root = name[: -len("data.pkl")]
        super().__init__(self.archive.open(name))

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("builtins", "set"):
            return set
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        return type(name, (Thing,), {"kind": name})

    def persistent_load(self, reference):
        _, kind, key, _, _ = reference
        return np.frombuffer(self.archive.read(f"{self.root}data/{key}"), dtype=self.KINDS[kind.kind])

    @staticmethod
    def tensor(storage, offset, shape, stride, *rest):
        bytes_of = storage.dtype.itemsize
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, [s * bytes_of for s in stride]).copy()


class Printer:
    """Prints pickled modules as ONNX nodes, batch norms and all."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def name(self):
        return f"t{len(self.nodes)}"

    def add(self, op, inputs, **attributes):
        output = self.name()
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def weight(self, array):
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name))
        return name

    def convolution(self, module, x):
        parameters = module._parameters
        inputs = [x, self.weight(parameters["weight"])]
        if parameters.get("bias") is not None:
            inputs.append(self.weight(parameters["bias"]))
        return self.add(
            "Conv",
            inputs,
            kernel_shape=list(module.kernel_size),
            strides=list(module.stride),
            pads=list(module.padding) * 2,
            dilations=list(module.dilation),
            group=module.groups,
        )

    def conv(self, module, x):
        parts = module._modules
        x = self.convolution(parts["conv"], x)
        norm = parts["bn"]
        numbers = [norm._parameters["weight"], norm._parameters["bias"]]
        numbers += [norm._buffers["running_mean"], norm._buffers["running_var"]]
        x = self.add("BatchNormalization", [x] + [self.weight(n) for n in numbers], epsilon=norm.eps)
        if parts["act"].kind != "SiLU":
            raise ValueError(f"activation {parts['act'].kind}")
        return self.add("Mul", [x, self.add("Sigmoid", [x])])

    def bottleneck(self, module, x):
        y = self.conv(module._modules["cv2"], self.conv(module._modules["cv1"], x))
        return self.add("Add", [x, y]) if module.add else y

    def c3(self, module, x):
        parts = module._modules
        left = self.conv(parts["cv1"], x)
        for inner in parts["m"]._modules.values():
            left = self.bottleneck(inner, left)
        return self.conv(parts["cv3"], self.add("Concat", [left, self.conv(parts["cv2"], x)], axis=1))

    def sppf(self, module, x):
        parts = module._modules
        side = parts["m"].kernel_size
        levels = [self.conv(parts["cv1"], x)]
        for _ in range(3):
            pads = [side // 2] * 4
            pool = self.add("MaxPool", [levels[-1]], kernel_shape=[side, side], strides=[1, 1], pads=pads)
            levels.append(pool)
        return self.conv(parts["cv2"], self.add("Concat", levels, axis=1))

    def layer(self, module, inputs):
        kind = module.kind
        if kind == "Concat":
            return self.add("Concat", inputs, axis=1)
        (x,) = inputs
        if kind == "Upsample":
            scales = self.weight(np.array([1, 1, 2, 2]))
            return self.add("Resize", [x, "", scales], mode="nearest", nearest_mode="floor",
                            coordinate_transformation_mode="asymmetric")
        return {"Conv": self.conv, "C3": self.c3, "SPPF": self.sppf}[kind](module, x)


def print_model(model):
    """The ONNX bytes of the model up to its raw convolution outputs, and its Detect module."""
    printer, results = Printer(), []
    layers = list(model._modules["model"]._modules.values())
    for layer in layers[:-1]:
        sources = layer.f if isinstance(layer.f, list) else [layer.f]
        inputs = [(results[s] if results else "images") if s == -1 else results[s] for s in sources]
        results.append(printer.layer(layer, inputs))
    detect = layers[-1]
    heads = detect._modules["m"]._modules.values()
    outputs = [printer.convolution(head, results[s]) for head, s in zip(heads, detect.f)]
    graph = helper.make_graph(
        printer.nodes,
        "reference",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in outputs],
        printer.initializers,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString(), detect


def letterbox(image):
    """OpenCV's bilinear resize, centered on gray."""
    height, width = image.shape[:2]
    scale = min(SIDE / height, SIDE / width)
    new_width, new_height = round(width * scale), round(height * scale)
    left, top = (round((SIDE - side) / 2 - 0.1) for side in (new_width, new_height))
    canvas = np.full((SIDE, SIDE, 3), PAD, np.uint8)
    resized = image
    if (new_width, new_height) != (width, height):
        resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + new_height, left : left + new_width] = resized
    return canvas, (width / new_width, height / new_height, left, top)


def overlap(box, others):
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(sides, 0, None).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def suppress(boxes, scores, classes):
    """Indices of the boxes that stay, best first."""
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    kept = []
    while len(order) and len(kept) < MAX_DETECTIONS:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[(classes[order] != classes[best]) | (overlap(boxes[best], boxes[order]) <= IOU)]
    return kept


class Detector:
    def __init__(self, weights):
        checkpoint = Reader(weights).load()
        model = checkpoint.get("ema") or checkpoint["model"]
        graph, detect = print_model(model)
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        strides = np.asarray(model.stride, dtype=np.float64)
        anchors = {**detect._buffers, **detect.__dict__}["anchors"].astype(np.float64)
        self.levels = [(int(s), level * s) for s, level in zip(strides, anchors)]
        self.classes = len(model.names)

    def raw(self, pixels):
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        return self.session.run(None, {"images": image})

    def detect(self, raw, geometry, size):
        """Rows of class, score, x0, y0, x1, y1 in source pixels."""
        boxes, scores = [], []
        for output, (stride, anchors) in zip(raw, self.levels):
            _, channels, rows, columns = output.shape
            values = output.reshape(len(anchors), channels // len(anchors), rows, columns).transpose(0, 2, 3, 1)
            values = 1 / (1 + np.exp(-values.astype(np.float64)))
            y, x = np.mgrid[:rows, :columns]
            center = (values[..., :2] * 2 - 0.5 + np.stack([x, y], -1)) * stride
            half = (values[..., 2:4] * 2) ** 2 * anchors[:, None, None] / 2
            boxes.append(np.concatenate([center - half, center + half], -1).reshape(-1, 4))
            scores.append((values[..., 4:5] * values[..., 5:]).reshape(-1, self.classes))
        boxes, scores = np.concatenate(boxes), np.concatenate(scores)
        places, classes = np.nonzero(scores > CONFIDENCE)
        boxes, scores = boxes[places], scores[places, classes]
        kept = suppress(boxes, scores, classes)
        scale_x, scale_y, left, top = geometry
        found = (boxes[kept] - [left, top, left, top]) * [scale_x, scale_y, scale_x, scale_y]
        found = found.clip(0, [size[0], size[1]] * 2)
        return [[int(c), float(s), *map(float, b)] for c, s, b in zip(classes[kept], scores[kept], found)]


def labels(image):
    """Rows of class, x0, y0, width, height in pixels."""
    file = pathlib.Path(image["file"].replace("/images/", "/labels/")).with_suffix(".txt")
    for line in file.read_text().splitlines() if file.exists() else []:
        class_, x, y, width, height = map(float, line.split())
        width, height = width * image["width"], height * image["height"]
        yield int(class_), x * image["width"] - width / 2, y * image["height"] - height / 2, width, height


def score(images, detections, classes):
    """mAP50 and mAP (0.50:0.95) by pycocotools."""
    truth, found = [], []
    for number, image in enumerate(images, 1):
        for class_, *box in labels(image):
            truth.append(dict(id=len(truth) + 1, image_id=number, category_id=class_ + 1, bbox=box,
                              area=box[2] * box[3], iscrowd=0))
        for class_, confidence, x0, y0, x1, y1 in detections[image["stem"]]:
            found.append(dict(image_id=number, category_id=class_ + 1, bbox=[x0, y0, x1 - x0, y1 - y0],
                              score=confidence))
    coco = COCO()
    coco.dataset = dict(
        info={},
        images=[dict(id=n, width=i["width"], height=i["height"]) for n, i in enumerate(images, 1)],
        annotations=truth,
        categories=[dict(id=c + 1, name=str(c)) for c in range(classes)],
    )
    coco.createIndex()
    judge = COCOeval(coco, coco.loadRes(found), "bbox")
    judge.params.maxDets = [1, 10, MAX_DETECTIONS]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]
    mean = lambda values: float(values[values > -1].mean())
    return dict(map50=mean(precision[0]), map=mean(precision))


def main(weights, exchange):
    folder = pathlib.Path(exchange)
    images = json.loads((folder / "images.json").read_text())
    detector = Detector(weights)
    given, opencv = {}, {}
    letterbox_levels, decoder_levels, decoder_sum, decoder_count = 0, 0, 0.0, 0
    for index, image in enumerate(images):
        stem, size = image["stem"], (image["width"], image["height"])
        decoded = np.fromfile(folder / f"{stem}.rgb", np.uint8).reshape(size[1], size[0], 3)
        pixels = np.fromfile(folder / f"{stem}.input", np.uint8).reshape(SIDE, SIDE, 3)
        expected, geometry = letterbox(decoded)
        letterbox_levels = max(letterbox_levels, int(np.abs(expected.astype(int) - pixels).max()))
        raw = detector.raw(pixels)
        if index < RAW_IMAGES:
            for level, output in enumerate(raw):
                output.astype("<f4").tofile(folder / f"{stem}.{level}.f32")
        given[stem] = detector.detect(raw, geometry, size)

        theirs = cv2.imread(image["file"])[:, :, ::-1]
        difference = np.abs(theirs.astype(int) - decoded)
        decoder_levels = max(decoder_levels, int(difference.max()))
        decoder_sum, decoder_count = decoder_sum + difference.sum(), decoder_count + difference.size
        opencv[stem] = detector.detect(detector.raw(letterbox(theirs)[0]), geometry, size)
    (folder / "detections.json").write_text(json.dumps({stem: given[stem] for stem in list(given)[:RAW_IMAGES]}))
    report = dict(
        raw_images=RAW_IMAGES,
        given_pixels=score(images, given, detector.classes),
        opencv_pixels=score(images, opencv, detector.classes),
        letterbox_max_levels=letterbox_levels,
        decoder_max_levels=decoder_levels,
        decoder_mean_levels=float(decoder_sum) / decoder_count,
    )
    (folder / "reference.json").write_text(json.dumps(report))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
