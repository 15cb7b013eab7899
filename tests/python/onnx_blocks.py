"""Building blocks of detectors as ONNX nodes with random weights, for make_detectors.py: the published architecture of
YOLOv8 and YOLO11, and RepVGG's block before it is folded."""

import numpy as np
from onnx import helper, numpy_helper

# Bins of a distance in YOLOv8 and YOLO11.
BINS = 16


class Builder:
    """A graph under construction: every method adds nodes and returns the name of their result."""

    def __init__(self, seed):
        self.nodes, self.constants, self.random = [], [], np.random.default_rng(seed)

    def constant(self, values, name=None):
        name = name or f"const{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def add(self, op, *inputs, outputs=1, name=None, **attributes):
        name = name or f"/{op}_{len(self.nodes)}"
        results = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), results, name, **attributes))
        return results[0] if outputs == 1 else results

    def weight(self, *shape):
        fan_in = int(np.prod(shape[1:]))
        return self.random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


class Net(Builder):
    """Building blocks of YOLOv8 and YOLO11."""

    def __init__(self, seed, norms=False, act="silu"):
        super().__init__(seed)
        self.norms, self.act_kind, self.channels = norms, act, {"images": 3}

    def raw_conv(self, x, out, name, kernel=1, stride=1, groups=1, bias=True, pad=None):
        kernel_values = self.weight(out, self.channels[x] // groups, kernel, kernel)
        inputs = [x, self.constant(kernel_values, f"{name}.weight")]
        if bias:
            values = self.random.normal(0, 0.3, out).astype(np.float32)
            inputs.append(self.constant(values, f"{name}.bias"))
        y = self.add(
            "Conv",
            *inputs,
            name=f"/{name.replace('.', '/')}/Conv",
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2 if pad is None else pad] * 4,
            group=groups,
            dilations=[1, 1],
        )
        self.channels[y] = out
        return y

    def norm(self, x, name):
        count = self.channels[x]
        draw = self.random.uniform
        fields = {
            "weight": draw(0.5, 1.5, count) * self.random.choice([-1, 1], count),
            "bias": draw(-0.5, 0.5, count),
            "running_mean": draw(-0.5, 0.5, count),
            "running_var": draw(0.3, 3, count),
        }
        inputs = [self.constant(values.astype(np.float32), f"{name}.{key}") for key, values in fields.items()]
        y = self.add("BatchNormalization", x, *inputs, name=f"/{name}/BatchNormalization", epsilon=1e-3, momentum=0.97)
        self.channels[y] = count
        return y

    def act(self, x):
        if self.act_kind == "silu":
            y = self.add("Mul", x, self.add("Sigmoid", x))
        elif self.act_kind == "relu":
            y = self.add("Relu", x)
        else:
            y = self.add("LeakyRelu", x, alpha=0.1)
        self.channels[y] = self.channels[x]
        return y

    def conv(self, x, out, name, kernel=1, stride=1, groups=1, act=True):
        y = self.raw_conv(x, out, f"{name}.conv", kernel, stride, groups, bias=not self.norms)
        if self.norms:
            y = self.norm(y, f"{name}.bn")
        return self.act(y) if act else y

    def rep(self, x, out, name, stride=1):
        """RepVGG: 3x3 and 1x1, each with a bias and a batch norm, and a batch norm of the input where it fits."""
        branches = []
        for kernel in (3, 1):
            y = self.raw_conv(x, out, f"{name}.rbr{kernel}.conv", kernel, stride)
            branches.append(self.norm(y, f"{name}.rbr{kernel}.bn"))
        total = self.add("Add", *branches)
        if stride == 1 and self.channels[x] == out:
            total = self.add("Add", total, self.norm(x, f"{name}.rbr_identity"))
        self.channels[total] = out
        return self.act(total)

    def concat(self, *parts):
        y = self.add("Concat", *parts, axis=1)
        self.channels[y] = sum(self.channels[part] for part in parts)
        return y

    def sum(self, a, b):
        y = self.add("Add", a, b)
        self.channels[y] = self.channels[a]
        return y

    def halves(self, x):
        half = self.channels[x] // 2
        parts = self.add("Split", x, self.ints(half, half), outputs=2, axis=1)
        for part in parts:
            self.channels[part] = half
        return parts

    def pool(self, x):
        y = self.add("MaxPool", x, kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4, ceil_mode=0)
        self.channels[y] = self.channels[x]
        return y

    def upsample(self, x):
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        y = self.add(
            "Resize", x, "", scales, coordinate_transformation_mode="asymmetric", mode="nearest", nearest_mode="floor"
        )
        self.channels[y] = self.channels[x]
        return y

    def bottleneck(self, x, name, shortcut, inner=None, kernels=(3, 3)):
        count = self.channels[x]
        y = self.conv(x, inner or count, f"{name}.cv1", kernels[0])
        y = self.conv(y, count, f"{name}.cv2", kernels[1])
        return self.sum(x, y) if shortcut else y

    def c3k(self, x, name, shortcut):
        inner = self.channels[x] // 2
        y = self.conv(x, inner, f"{name}.cv1")
        for i in range(2):
            y = self.bottleneck(y, f"{name}.m.{i}", shortcut)
        return self.conv(self.concat(y, self.conv(x, inner, f"{name}.cv2")), self.channels[x], f"{name}.cv3")

    def c2f(self, x, out, name, shortcut=True, inner="bottleneck", half=None):
        hidden = half or out // 2
        parts = self.halves(self.conv(x, 2 * hidden, f"{name}.cv1"))
        if inner == "bottleneck":
            parts.append(self.bottleneck(parts[-1], f"{name}.m.0", shortcut))
        elif inner == "narrow":
            parts.append(self.bottleneck(parts[-1], f"{name}.m.0", shortcut, inner=hidden // 2))
        else:
            parts.append(self.c3k(parts[-1], f"{name}.m.0", shortcut))
        return self.conv(self.concat(*parts), out, f"{name}.cv2")

    def sppf(self, x, name):
        out = self.channels[x]
        parts = [self.conv(x, out // 2, f"{name}.cv1")]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.conv(self.concat(*parts), out, f"{name}.cv2")

    def attention(self, x, name, heads, cells):
        count = self.channels[x]
        head_dim = count // heads
        key_dim = head_dim // 2
        qkv = self.conv(x, heads * (2 * key_dim + head_dim), f"{name}.qkv", act=False)
        split = self.add("Reshape", qkv, self.ints(1, heads, 2 * key_dim + head_dim, cells * cells))
        q, k, v = self.add("Split", split, self.ints(key_dim, key_dim, head_dim), outputs=3, axis=2)
        scores = self.add("MatMul", self.add("Transpose", q, perm=[0, 1, 3, 2]), k)
        scores = self.add("Mul", scores, self.constant(np.float32(key_dim**-0.5)))
        weights = self.add("Transpose", self.add("Softmax", scores, axis=-1), perm=[0, 1, 3, 2])
        y = self.add("Reshape", self.add("MatMul", v, weights), self.ints(1, count, cells, cells))
        values = self.add("Reshape", v, self.ints(1, count, cells, cells))
        self.channels[y] = self.channels[values] = count
        position = self.conv(values, count, f"{name}.pe", 3, groups=count, act=False)
        return self.conv(self.sum(y, position), count, f"{name}.proj", act=False)

    def c2psa(self, x, name, heads, cells):
        out = self.channels[x]
        a, b = self.halves(self.conv(x, out, f"{name}.cv1"))
        b = self.sum(b, self.attention(b, f"{name}.m.0.attn", heads, cells))
        wide = self.conv(b, 2 * self.channels[b], f"{name}.m.0.ffn.0")
        b = self.sum(b, self.conv(wide, self.channels[b], f"{name}.m.0.ffn.1", act=False))
        return self.conv(self.concat(a, b), out, f"{name}.cv2")

    def head(self, maps, classes, depthwise, prefix):
        """Distances and class logits of every level, without decoding."""
        pairs = []
        for i, x in enumerate(maps):
            y = self.conv(x, 16, f"{prefix}.cv2.{i}.0", 3)
            y = self.conv(y, 16, f"{prefix}.cv2.{i}.1", 3)
            box = self.raw_conv(y, 4 * BINS, f"{prefix}.cv2.{i}.2")
            y = x
            for j in range(2):
                name = f"{prefix}.cv3.{i}.{j}"
                if depthwise:
                    y = self.conv(y, self.channels[y], f"{name}.0", 3, groups=self.channels[y])
                    y = self.conv(y, 16, f"{name}.1")
                else:
                    y = self.conv(y, 16, name, 3)
            pairs.append((box, self.raw_conv(y, classes, f"{prefix}.cv3.{i}.2")))
        return pairs
