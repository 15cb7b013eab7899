"""Writes checkpoints as YOLOv5's train.py saves them, from the formats' descriptions: PyTorch's zip archive, Python's pickle
and the module tree of a detector. Needs the standard library only, so that tests have real pickles without torch.

    make_checkpoints.py golden FOLDER        writes the small files that are in tests/golden/pt
    make_checkpoints.py write FILE SETTINGS  writes one; SETTINGS is JSON with keys of `Settings`

The value of every weight follows from its name (see `value`), so that a reader can be checked without the file.
"""

import binascii
import collections
import dataclasses
import io
import json
import math
import pickle
import struct
import sys
import types

# The classes and functions that a pickle names, under the modules it names them in. Their names are all that matters.


def module(name):
    if "." in name:
        module(name.rsplit(".", 1)[0])
    return sys.modules.setdefault(name, types.ModuleType(name))


def stub(path, base=object):
    """The class at `path`, made on the first call."""
    place, name = path.rsplit(".", 1)
    if not hasattr(module(place), name):
        setattr(module(place), name, type(name, (base,), {"__module__": place}))
    return getattr(module(place), name)


def function(path):
    place, name = path.rsplit(".", 1)
    if not hasattr(module(place), name):
        made = types.FunctionType((lambda *_: None).__code__, {}, name)
        made.__module__, made.__qualname__ = place, name
        setattr(module(place), name, made)
    return getattr(module(place), name)


REBUILD_TENSOR = function("torch._utils._rebuild_tensor_v2")
REBUILD_PARAMETER = function("torch._utils._rebuild_parameter")

FORMATS = {"half": ("HalfStorage", "e"), "float": ("FloatStorage", "f"), "double": ("DoubleStorage", "d"),
           "long": ("LongStorage", "q")}


class Storage:
    def __init__(self, kind, values):
        self.kind, self.values = kind, values

    def bytes(self):
        return struct.pack(f"<{len(self.values)}{FORMATS[self.kind][1]}", *self.values)


class Tensor:
    def __init__(self, kind, shape, values):
        self.storage, self.shape = Storage(kind, values), tuple(shape)
        assert len(values) == math.prod(shape)

    def strides(self):
        return tuple(math.prod(self.shape[axis + 1:]) for axis in range(len(self.shape)))

    def __reduce_ex__(self, protocol):
        return REBUILD_TENSOR, (self.storage, 0, self.shape, self.strides(), False, collections.OrderedDict())


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return REBUILD_PARAMETER, (self.tensor, True, collections.OrderedDict())


def value(name, index):
    """Weight `index` of tensor `name`: exact in fp16, variances positive, gammas around 1, others small."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % 65521
    k = (seed + 37 * index) % 127 - 63
    if name.endswith(".running_var"):
        return (64 + abs(k)) / 64
    if name.endswith(".bn.weight"):
        return (96 + k) / 64
    return k / 512


# Module trees. `Net` stands for torch.nn.Module: its attributes are the instance's.

TABLES_1_10 = ["_parameters", "_buffers", "_non_persistent_buffers_set", "_backward_hooks", "_is_full_backward_hook",
               "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks", "_modules"]
TABLES_2_1 = ["_parameters", "_buffers", "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks",
              "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
              "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks",
              "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_modules"]


@dataclasses.dataclass
class Settings:
    layout: str = "v6"  # v5, v6 or v7
    size: str = "small"  # small: a net of eight layers; full: YOLOv5's own
    depth: float = 0.33
    width: float = 0.125
    classes: int = 2
    kind: str = "half"
    part: str = "model"  # ema: a checkpoint from the middle of a training
    act: str = "SiLU"
    slope: float = 0.1
    eps: float = 1e-3
    fused: bool = False
    anchors: float = 1.0  # factor on the anchors of the description, as autoanchor changes them
    model_class: str = ""


def small_net(focus, pool):
    backbone = [[-1, 1, *focus], [-1, 3, "C3", [64]], [-1, 1, "Conv", [128, 3, 2]], [-1, 1, *pool]]
    head = [[-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [[-1, 1], 1, "Concat", [1]], [-1, 1, "Conv", [64, 1, 1]],
            [[6, 3], 1, "Detect", ["nc", "anchors"]]]
    return [[10, 13, 16, 30], [30, 61, 62, 45]], backbone, head


def full_net(focus, pool, old):
    numbers = (3, 9, 9, 3) if old else (3, 6, 9, 3)
    c3 = [[-1, number, "C3", [channels]] for number, channels in zip(numbers, (128, 256, 512, 1024))]
    down = [[-1, 1, "Conv", [channels, 3, 2]] for channels in (128, 256, 512, 1024)]
    tail = [[-1, 1, *pool], [-1, 3, "C3", [1024, False]]] if old else [c3[3], [-1, 1, *pool]]
    backbone = [[-1, 1, *focus], down[0], c3[0], down[1], c3[1], down[2], c3[2], down[3], *tail]
    up = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]]
    head = [[-1, 1, "Conv", [512, 1, 1]], up, [[-1, 6], 1, "Concat", [1]], [-1, 3, "C3", [512, False]],
            [-1, 1, "Conv", [256, 1, 1]], list(up), [[-1, 4], 1, "Concat", [1]], [-1, 3, "C3", [256, False]],
            [-1, 1, "Conv", [256, 3, 2]], [[-1, 14], 1, "Concat", [1]], [-1, 3, "C3", [512, False]],
            [-1, 1, "Conv", [512, 3, 2]], [[-1, 10], 1, "Concat", [1]], [-1, 3, "C3", [1024, False]],
            [[17, 20, 23], 1, "Detect", ["nc", "anchors"]]]
    anchors = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
    return anchors, backbone, head


class Builder:
    """Builds the pickled form of one model."""

    def __init__(self, settings, kind):
        self.s, self.kind = settings, kind
        self.tables = TABLES_2_1 if settings.layout == "v7" else TABLES_1_10
        # From release 6.2 on all convolutions share one activation.
        self.shared_act = self.activation() if settings.layout == "v7" else None

    def net(self, path, children=(), parameters=(), buffers=(), **attributes):
        made = stub(path).__new__(stub(path))
        made.training = False
        for table in self.tables:
            fresh = set() if table == "_non_persistent_buffers_set" else collections.OrderedDict()
            setattr(made, table, None if table == "_is_full_backward_hook" else fresh)
        made._modules.update(children)
        made._parameters.update(parameters)
        made._buffers.update(buffers)
        made.__dict__.update(attributes)
        return made

    def sequence(self, children, path="torch.nn.modules.container.Sequential"):
        return self.net(path, {str(index): child for index, child in enumerate(children)})

    def tensor(self, name, shape):
        return Tensor(self.kind, shape, [value(name, index) for index in range(math.prod(shape))])

    def parameter(self, name, *shape):
        return Parameter(self.tensor(name, shape))

    def conv2d(self, name, cin, cout, k, s, p, bias):
        parameters = {"weight": self.parameter(f"{name}.weight", cout, cin, k, k),
                      "bias": self.parameter(f"{name}.bias", cout) if bias else None}
        return self.net("torch.nn.modules.conv.Conv2d", parameters=parameters, in_channels=cin, out_channels=cout,
                        kernel_size=(k, k), stride=(s, s), padding=(p, p), dilation=(1, 1), transposed=False,
                        output_padding=(0, 0), groups=1, padding_mode="zeros")

    def activation(self):
        path = f"torch.nn.modules.activation.{self.s.act}"
        slope = {"negative_slope": self.s.slope} if self.s.act == "LeakyReLU" else {}
        return self.net(path, inplace=True, **slope)

    def conv(self, name, cin, cout, k=1, s=1, p=None):
        p = k // 2 if p is None else p
        children = {"conv": self.conv2d(f"{name}.conv", cin, cout, k, s, p, self.s.fused)}
        if not self.s.fused:
            bn = f"{name}.bn"
            count = Tensor("long", (), [1000])
            children["bn"] = self.net(
                "torch.nn.modules.batchnorm.BatchNorm2d", num_features=cout, eps=self.s.eps, momentum=0.03, affine=True,
                track_running_stats=True,
                parameters={key: self.parameter(f"{bn}.{key}", cout) for key in ("weight", "bias")},
                buffers={key: self.tensor(f"{bn}.{key}", (cout,)) for key in ("running_mean", "running_var")}
                | {"num_batches_tracked": count})
        children["act"] = self.shared_act or self.activation()
        return self.net("models.common.Conv", children)

    def bottleneck(self, name, channels, shortcut):
        children = {"cv1": self.conv(f"{name}.cv1", channels, channels), "cv2": self.conv(f"{name}.cv2", channels, channels, 3)}
        return self.net("models.common.Bottleneck", children, add=shortcut)

    def c3(self, name, cin, cout, depth, shortcut=True):
        half = cout // 2
        inner = [self.bottleneck(f"{name}.m.{index}", half, shortcut) for index in range(depth)]
        return self.net("models.common.C3", {
            "cv1": self.conv(f"{name}.cv1", cin, half), "cv2": self.conv(f"{name}.cv2", cin, half),
            "cv3": self.conv(f"{name}.cv3", 2 * half, cout), "m": self.sequence(inner)})

    def pool(self, k):
        return self.net("torch.nn.modules.pooling.MaxPool2d", kernel_size=k, stride=1, padding=k // 2, dilation=1,
                        return_indices=False, ceil_mode=False)

    def spp(self, name, cin, cout, windows):
        half = cin // 2
        pools = self.sequence([self.pool(k) for k in windows], "torch.nn.modules.container.ModuleList")
        return self.net("models.common.SPP", {"cv1": self.conv(f"{name}.cv1", cin, half),
                                              "cv2": self.conv(f"{name}.cv2", half * (len(windows) + 1), cout), "m": pools})

    def sppf(self, name, cin, cout, k):
        half = cin // 2
        return self.net("models.common.SPPF", {"cv1": self.conv(f"{name}.cv1", cin, half),
                                               "cv2": self.conv(f"{name}.cv2", half * 4, cout), "m": self.pool(k)})

    def detect(self, name, inputs, anchors):
        levels, per_level = len(inputs), len(anchors[0]) // 2
        outputs = [self.conv2d(f"{name}.m.{level}", cin, per_level * (5 + self.s.classes), 1, 1, 0, True)
                   for level, cin in enumerate(inputs)]
        strides = [8.0, 16.0, 32.0] if levels == 3 else [2.0, 4.0]
        units = [side / stride for level, stride in zip(anchors, strides) for side in level]
        buffers = {"anchors": Tensor(self.kind, (levels, per_level, 2), units)}
        old, attributes = self.s.layout == "v5", {}
        if old:
            buffers["anchor_grid"] = Tensor(self.kind, (levels, 1, per_level, 1, 1, 2), sum(anchors, []))
        else:
            attributes["anchor_grid"] = [Tensor(self.kind, (1,), [0.0]) for _ in range(levels)]
        return self.net("models.yolo.Detect", {"m": self.sequence(outputs, "torch.nn.modules.container.ModuleList")},
                        buffers=buffers, nc=self.s.classes, no=5 + self.s.classes, nl=levels, na=per_level,
                        grid=[Tensor(self.kind, (1,), [0.0]) for _ in range(levels)],
                        stride=Tensor(self.kind, (levels,), strides), **attributes)

    def layer(self, index, row, channels):
        """The module of a row and its output channels."""
        name, (sources, number, kind, args) = f"model.{index}", row
        cins = [channels[source] for source in (sources if isinstance(sources, list) else [sources])]
        scaled = math.ceil(args[0] * self.s.width / 8) * 8 if kind in ("Conv", "C3", "Focus", "SPP", "SPPF") else 0
        depth = max(round(number * self.s.depth), 1) if number > 1 else 1
        if kind == "Conv":
            return self.conv(name, cins[0], scaled, *args[1:]), scaled
        if kind == "C3":
            return self.c3(name, cins[0], scaled, depth, *args[1:]), scaled
        if kind == "Focus":
            inner = self.conv(f"{name}.conv", 4 * cins[0], scaled, *args[1:])
            return self.net("models.common.Focus", {"conv": inner}), scaled
        if kind == "SPP":
            return self.spp(name, cins[0], scaled, args[1]), scaled
        if kind == "SPPF":
            return self.sppf(name, cins[0], scaled, args[1]), scaled
        if kind == "nn.Upsample":
            return self.net("torch.nn.modules.upsampling.Upsample", size=None, scale_factor=2.0, mode="nearest",
                            align_corners=None), cins[0]
        assert kind == "Concat", kind
        return self.net("models.common.Concat", d=1), sum(cins)

    def model(self):
        old = self.s.layout == "v5"
        focus = ("Focus", [64, 3]) if old else ("Conv", [64, 6, 2, 2])
        last = 128 if self.s.size == "small" else 1024
        pool = ("SPP", [last, [5, 9, 13]]) if old else ("SPPF", [last, 5])
        anchors, backbone, head = small_net(focus, pool) if self.s.size == "small" else full_net(focus, pool, old)
        yaml = {"nc": self.s.classes, "depth_multiple": self.s.depth, "width_multiple": self.s.width, "anchors": anchors,
                "backbone": backbone, "head": head, "ch": 3}
        used = [[side * self.s.anchors for side in level] for level in anchors]
        layers, channels = [], []
        for index, row in enumerate((backbone + head)[:-1]):
            layer, cout = self.layer(index, row, channels or [3])
            layer.__dict__.update(i=index, f=row[0], type=f"{type(layer).__module__}.{type(layer).__name__}", np=0)
            layers.append(layer)
            channels.append(cout)
        sources = head[-1][0]
        layers.append(self.detect(f"model.{len(layers)}", [channels[source] for source in sources], used))
        names = [f"class {index}" for index in range(self.s.classes)]
        hyp = {"lr0": 0.01, "momentum": 0.937, "fl_gamma": 0.0, "anchors": 3, "label_smoothing": 0.0}
        path = self.s.model_class or ("models.yolo.DetectionModel" if self.s.layout == "v7" else "models.yolo.Model")
        return self.net(path, {"model": self.sequence(layers)}, yaml_file="tiny.yaml", yaml=yaml, save=sources,
                        names=dict(enumerate(names)) if self.s.layout == "v7" else names, inplace=True,
                        stride=Tensor("float", (len(sources),), [8.0, 16.0, 32.0] if len(sources) == 3 else [2.0, 4.0]),
                        nc=self.s.classes, hyp=hyp, class_weights=Tensor("double", (self.s.classes,), [1.0] * self.s.classes))


def numpy_scalar(number):
    """A numpy.float64, which `best_fitness` is in a running training."""
    made = object.__new__(stub("numpy.float64_for_pickling"))

    def reduce(_, __):
        return function("numpy.core.multiarray.scalar"), (NumpyDtype(), struct.pack("<d", number))

    type(made).__reduce_ex__ = reduce
    return made


class NumpyDtype:
    def __reduce_ex__(self, protocol):
        return stub("numpy.dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0)

    def __setstate__(self, state):
        pass


def checkpoint(settings):
    if settings.part == "model":
        return {"epoch": -1, "best_fitness": None, "model": Builder(settings, settings.kind).model(), "ema": None,
                "updates": None, "optimizer": None, "wandb_id": None, "date": "2022-02-08T18:24:20.515893"}
    # The weights in training are others than their average: zero, so that taking the wrong part shows.
    training = Builder(settings, settings.kind)
    training.tensor = lambda name, shape: Tensor(settings.kind, shape, [0.0] * math.prod(shape))
    state = {0: {"momentum_buffer": Tensor("float", (2,), [0.5, 0.25])}}
    return {"epoch": 4, "best_fitness": numpy_scalar(0.25), "model": training.model(),
            "ema": Builder(settings, settings.kind).model(), "updates": 1234,
            "optimizer": {"state": state, "param_groups": [{"lr": 0.01, "nesterov": True, "params": [0]}]},
            "opt": {"imgsz": 320, "weights": "", "epochs": 300, "rect": False, "freeze": [0]},
            "git": {"remote": None, "branch": None, "commit": None}, "date": "2023-01-02T03:04:05.678901"}


class Pickler(pickle._Pickler):
    """Keeps storages outside of the pickle, numbered."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, found):
        if not isinstance(found, Storage):
            return None
        self.storages.append(found)
        return "storage", stub(f"torch.{FORMATS[found.kind][0]}"), str(len(self.storages) - 1), "cpu", len(found.values)


def archive(entries):
    """A zip archive as torch.save writes it: stored, data aligned to 64 bytes, sizes behind the data, zip64 records."""
    out, directory = b"", b""
    for name, data in entries:
        start, crc = len(out), binascii.crc32(data)
        encoded, padding = name.encode(), -(len(out) + 34 + len(name)) % 64
        out += struct.pack("<4s5H3I2H", b"PK\x03\x04", 0, 0x808, 0, 0, 0, 0, 0, 0, len(encoded), padding + 4)
        out += encoded + struct.pack("<2sH", b"FB", padding) + b"Z" * padding + data
        out += struct.pack("<4s3I", b"PK\x07\x08", crc, len(data), len(data))
        directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 0, 0, 0x808, 0, 0, 0, crc, len(data), len(data), len(encoded),
                                 0, 0, 0, 0, 0, start) + encoded
    count, size, start = len(entries), len(directory), len(out)
    out += directory
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 0, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(out), 1)
    return out + wide + locator + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, start, 0)


def save(checkpoint, root):
    file = io.BytesIO()
    pickler = Pickler(file)
    pickler.dump(checkpoint)
    entries = [(f"{root}/data.pkl", file.getvalue())]
    entries += [(f"{root}/data/{key}", storage.bytes()) for key, storage in enumerate(pickler.storages)]
    return archive([*entries, (f"{root}/version", b"3\n")])


GOLDEN = {
    "v5.pt": Settings(layout="v5", kind="float", act="LeakyReLU", width=0.0625),
    "v6.pt": Settings(layout="v6", anchors=1.5, width=0.0625),
    "v7.pt": Settings(layout="v7", part="ema", act="ReLU", width=0.0625),
}


def write(path, settings):
    with open(path, "wb") as file:
        file.write(save(checkpoint(settings), "best" if settings.part == "ema" else "archive"))


def main(words):
    if len(words) == 2 and words[0] == "golden":
        for name, settings in GOLDEN.items():
            write(f"{words[1]}/{name}", settings)
    elif len(words) == 3 and words[0] == "write":
        write(words[1], Settings(**json.loads(words[2])))
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
