#!/usr/bin/env python3
"""Converts the weights of Resemblyzer 0.1.4 (GE2E voice encoder) to ONNX, without torch.

    convert_ge2e.py PRETRAINED_PT OUT_ONNX

The input is a torch file of the format before zip archives: five pickles (magic, protocol, system, object, storage
keys), then for each storage an int64 count and its raw float32 data. The pickle is read with a whitelist, so that a
file that is not what its sha256 says runs no code.

The output is the same bytes on every machine: models/ge2e.toml names its sha256.
Network: 3-layer LSTM of 256, the last hidden state through Linear 256 -> 256 and ReLU, L2-normalised.
Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018.
"""

import hashlib
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

PRETRAINED_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
LAYERS, HIDDEN, MELS, FRAMES = 3, 256, 40, 160
# Opset 13 and IR 7 are read by every onnxruntime since 1.8.
OPSET, IR_VERSION = 13, 7


class Storage:
    """float32 values that are read after the pickle that refers to them."""

    def __init__(self, key, count):
        self.key, self.count, self.values = key, count, None


class Tensor:
    """A view of a storage, as torch writes it."""

    def __init__(self, storage, offset, size, stride, *_):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self):
        values = self.storage.values[self.offset :]
        strides = [step * values.itemsize for step in self.stride]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, self.size, strides))


class Unpickler(pickle.Unpickler):
    """Knows tensors, float storages and ordered dictionaries, and nothing else."""

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): Tensor,
        ("torch", "FloatStorage"): "float32",
    }

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed") from None

    def persistent_load(self, saved):
        kind, dtype, key, _device, count, _view = saved
        if (kind, dtype) != ("storage", "float32"):
            raise pickle.UnpicklingError(f"storage of {dtype} is not allowed")
        return self.storages.setdefault(key, Storage(key, count))


def load(path):
    """The state of the model: name -> float32 array."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != PRETRAINED_SHA256:
        sys.exit(f"{path.name}: sha256 is {found}, but {PRETRAINED_SHA256} is expected")
    with path.open("rb") as file:
        for _ in ("magic", "protocol", "system"):
            Unpickler(file).load()
        reader = Unpickler(file)
        checkpoint = reader.load()
        for key in Unpickler(file).load():
            storage = reader.storages[key]
            count = int(np.fromfile(file, "<i8", 1)[0])
            if count != storage.count:
                sys.exit(f"{path.name}: storage {key} has {count} values, but {storage.count} are declared")
            storage.values = np.fromfile(file, "<f4", count)
    return {name: tensor.array() for name, tensor in checkpoint["model_state"].items() if isinstance(tensor, Tensor)}


def onnx_gates(weights):
    """torch orders an LSTM's gates i, f, g, o; ONNX i, o, f, c."""
    i, f, g, o = np.split(weights, 4)
    return np.concatenate([i, o, f, g])


def build(state):
    """The graph: mel [batch, 160, 40] -> embedding [batch, 256]."""
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(values, name))
        return name

    # ONNX's LSTM wants time first and answers [time, direction, batch, hidden].
    nodes.append(helper.make_node("Transpose", ["mel"], ["frames_0"], perm=[1, 0, 2]))
    direction = constant("direction", np.array([1], np.int64))
    for layer in range(LAYERS):
        weights = [onnx_gates(state[f"lstm.weight_{side}_l{layer}"])[None] for side in ("ih", "hh")]
        bias = np.concatenate([onnx_gates(state[f"lstm.bias_{side}_l{layer}"]) for side in ("ih", "hh")])[None]
        inputs = [f"frames_{layer}"] + [
            constant(f"{name}_{layer}", values) for name, values in zip(("W", "R", "B"), (*weights, bias))
        ]
        last = layer == LAYERS - 1
        outputs = ["", f"hidden_{layer}"] if last else [f"directed_{layer}"]
        nodes.append(helper.make_node("LSTM", inputs, outputs, hidden_size=HIDDEN))
        if not last:
            nodes.append(helper.make_node("Squeeze", [f"directed_{layer}", direction], [f"frames_{layer + 1}"]))
    zero = constant("first", np.array([0], np.int64))
    nodes += [
        helper.make_node("Squeeze", [f"hidden_{LAYERS - 1}", zero], ["hidden"]),
        helper.make_node(
            "Gemm",
            ["hidden", constant("linear.weight", state["linear.weight"]), constant("linear.bias", state["linear.bias"])],
            ["linear"],
            transB=1,
        ),
        helper.make_node("Relu", ["linear"], ["positive"]),
        helper.make_node("ReduceL2", ["positive"], ["norm"], axes=[1], keepdims=1),
        # A window of silence may give no direction at all; it must not give NaN.
        helper.make_node("Max", ["norm", constant("least_norm", np.array([1e-12], np.float32))], ["divisor"]),
        helper.make_node("Div", ["positive", "divisor"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ge2e",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["batch", FRAMES, MELS])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "pg_speaker"
    checker.check_model(model)
    return model


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[2].strip())
    model = build(load(Path(sys.argv[1])))
    Path(sys.argv[2]).write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
