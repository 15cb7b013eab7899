"""Writes the ONNX models that are timed: YOLOv5 v6 in floats and in int8 (QDQ), with weights that look random.

Usage: models.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

WIDTHS = {"yolov5n": 0.25, "yolov5s": 0.5}
DEPTH = 1 / 3
OUTPUTS = 255
PIXEL = 1 / 255
STEP = 1 / 32  # Of every stored activation, so that moves keep it.
TAILS = 4  # Largest weight, in standard deviations.


class Writer:
    """Nodes and weights of one model."""

    def __init__(self, activation, width):
        self.activation, self.width = activation, width
        self.nodes, self.weights, self.random, self.channels = [], [], np.random.default_rng(1), {"images": 3}

    def add(self, op, inputs, channels, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.channels[name] = channels
        return name

    def constant(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def sums(self, source, channels, kernel, stride, pad):
        inputs = self.channels[source]
        spread = (2 / (inputs * kernel * kernel)) ** 0.5
        weights = self.random.normal(0, spread, (channels, inputs, kernel, kernel)).astype(np.float32)
        bias = self.random.normal(0, 0.1, channels).astype(np.float32)
        return self.add("Conv", [source, self.constant(weights), self.constant(bias)], channels,
                        kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def conv(self, source, channels, kernel=1, stride=1, pad=None):
        channels = int(channels * self.width)
        sums = self.sums(source, channels, kernel, stride, kernel // 2 if pad is None else pad)
        if self.activation == "relu":
            return self.add("Relu", [sums], channels)
        gate = self.add("Sigmoid", [sums], channels)
        return self.add("Mul", [sums, gate], channels)

    def concat(self, sources):
        return self.add("Concat", sources, sum(self.channels[source] for source in sources), axis=1)

    def c3(self, source, channels, repeats, shortcut=True):
        main, side = self.conv(source, channels // 2), self.conv(source, channels // 2)
        for _ in range(max(1, round(repeats * DEPTH))):
            inner = self.conv(self.conv(main, channels // 2), channels // 2, 3)
            main = self.sum([main, inner]) if shortcut else inner
        return self.conv(self.concat([main, side]), channels)

    def enlarge(self, source):
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.add("Resize", [source, "", scales], self.channels[source], mode="nearest",
                        coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def pool(self, source):
        return self.add("MaxPool", [source], self.channels[source], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)

    def sum(self, sources):
        return self.add("Add", sources, self.channels[sources[0]])

    def yolo(self):
        return self.layers("images")

    def layers(self, image):
        stem = self.conv(image, 64, 6, 2, 2)
        p2 = self.c3(self.conv(stem, 128, 3, 2), 128, 3)
        p3 = self.c3(self.conv(p2, 256, 3, 2), 256, 6)
        p4 = self.c3(self.conv(p3, 512, 3, 2), 512, 9)
        p5 = self.c3(self.conv(p4, 1024, 3, 2), 1024, 3)
        pools = [self.conv(p5, 512)]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        top = self.conv(self.conv(self.concat(pools), 1024), 512)
        middle = self.c3(self.concat([self.enlarge(top), p4]), 512, 3, False)
        middle = self.conv(middle, 256)
        fine = self.c3(self.concat([self.enlarge(middle), p3]), 256, 3, False)
        middle = self.c3(self.concat([self.conv(fine, 256, 3, 2), middle]), 512, 3, False)
        coarse = self.c3(self.concat([self.conv(middle, 512, 3, 2), top]), 1024, 3, False)
        return [self.sums(level, OUTPUTS, 1, 1, 0) for level in (fine, middle, coarse)]


class Int8Writer(Writer):
    """As `train-host convert` writes it: int8 weights with a scale a channel, values stored behind each activation."""

    def __init__(self, activation, width):
        super().__init__(activation, width)
        self.zero_point = -128 if activation == "relu" else -118

    def quant(self, source):
        step, zero_point = (PIXEL, -128) if source == "images" else (STEP, self.zero_point)
        return self.constant(np.float32(step)), self.constant(np.int8(zero_point))

    def store(self, real):
        quant, channels = self.quant(real), self.channels[real]
        stored = super().add("QuantizeLinear", [real, *quant], channels)
        return super().add("DequantizeLinear", [stored, *quant], channels)

    def real(self, stored, scales):
        zeros = self.constant(np.zeros(len(scales), stored.dtype))
        return super().add("DequantizeLinear", [self.constant(stored), self.constant(scales), zeros], 0, axis=0)

    def sums(self, source, channels, kernel, stride, pad):
        inputs = self.channels[source]
        taps = inputs * kernel * kernel
        scales = np.full(channels, (2 / taps) ** 0.5 * TAILS / 127, np.float32)
        weights = self.random.normal(0, 127 / TAILS, (channels, inputs, kernel, kernel))
        weights = np.clip(weights.round(), -127, 127).astype(np.int8)
        products = scales * np.float32(PIXEL if source == self.entry else STEP)
        bias = self.random.normal(0, 0.1 / products).round().astype(np.int32)
        return super().add("Conv", [source, self.real(weights, scales), self.real(bias, products)], channels,
                           kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def conv(self, source, *shape):
        return self.store(super().conv(source, *shape))

    def concat(self, sources):
        return self.store(super().concat(sources))

    def enlarge(self, source):
        return self.store(super().enlarge(source))

    def pool(self, source):
        return self.store(super().pool(source))

    def sum(self, sources):
        return self.store(super().sum(sources))

    def yolo(self):
        self.entry = self.store("images")
        return self.layers(self.entry)


WRITERS = {"": Writer, "-int8": Int8Writer}


def write(path, writer, name, size):
    outputs = writer.yolo()
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])
    sides = zip(outputs, (size // 8, size // 16, size // 32))
    results = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, OUTPUTS, side, side])
               for output, side in sides]
    graph = helper.make_graph(writer.nodes, name, [image], results, writer.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    save(model, path)


def main(folder):
    for name in WIDTHS:
        for activation in ("relu", "silu"):
            for size in (320, 640):
                for precision, writer in WRITERS.items():
                    path = Path(folder) / f"{name}-{activation}-{size}{precision}.onnx"
                    write(path, writer(activation, WIDTHS[name]), name, size)


main(sys.argv[1])
