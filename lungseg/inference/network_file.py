"""The ends of an ONNX file, which ONNX Runtime computes slowly, and NumPy fast.

Of the shipped network's time, ONNX Runtime 1.32 takes two thirds for scaling the grey values, for
enlarging the class scores and for their softmax, and one third for its convolutions. So a copy of
the file without these ends is loaded, and `Ends` computes the same.

Only the few fields of the file that are needed are read here: the package `onnx` is not installed
for inference, and would take longer to import than a slice takes to predict. The numbers of the
fields are those of onnx.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.imaging.pixels import resize_image

# In a larger file the convolutions take nearly all of the time, and a copy takes much memory.
MAX_BYTES = 100 << 20
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # how the value of a field is written
FLOAT32 = 1
# Bytes of a constant with its name and shape. A larger one has more than a few numbers.
SMALL_TENSOR = 200

# Views, because copies of the weights would take longer than the rest.
Value = int | memoryview


@dataclass(frozen=True)
class Ends:
    """What a network computes at its ends, on arrays.

    Attributes:
        scale: factor of the grey values.
        offset: added to them afterwards.
        channels_first: whether the scores are `(B, C, h, w)`, not `(B, h, w, C)`.
        enlargement: factors of height and width by which the scores are enlarged.
        softmax: whether the network returns scores, not probabilities.
    """

    scale: float = 1.0
    offset: float = 0.0
    channels_first: bool = False
    enlargement: tuple[int, int] = (1, 1)
    softmax: bool = False

    def begin(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale grey values."""
        if (self.scale, self.offset) == (1, 0):
            return batch
        scaled = batch * np.float32(self.scale)
        scaled += np.float32(self.offset)
        return scaled

    def finish(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn what the network returns into probabilities `(B, H, W, C)`."""
        if not self.softmax:
            return scores
        first = scores if self.channels_first else np.moveaxis(scores, -1, 1)
        if first.shape[1] == 2:  # the softmax depends on the difference alone
            lung = self._enlarged(first[:, 1:] - first[:, :1])
            np.negative(lung, out=lung)
            with np.errstate(over="ignore"):  # 1 / infinity is the right probability, 0
                np.exp(lung, out=lung)
            lung += 1
            np.reciprocal(lung, out=lung)
            probabilities = np.concatenate([1 - lung, lung], axis=1)
        else:
            probabilities = self._enlarged(first)
            probabilities -= probabilities.max(axis=1, keepdims=True)
            np.exp(probabilities, out=probabilities)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        # A view: each class stays in one piece of memory, which is faster for all that follows.
        return np.moveaxis(probabilities, 1, -1)

    def _enlarged(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate `(B, C, h, w)` to `(B, C, H, W)`; the result is a new array."""
        if self.enlargement == (1, 1):
            return scores.copy()
        size = scores.shape[2] * self.enlargement[0], scores.shape[3] * self.enlargement[1]
        return np.stack([[resize_image(layer, size) for layer in each] for each in scores])


@dataclass(frozen=True)
class _Node:
    op: str
    inputs: list[str]
    outputs: list[str]
    raw_attributes: list[Value]

    @property
    def attributes(self) -> dict[str, list[int | bytes]]:
        """The numbers and texts by name; read only from the few nodes where they count."""
        found = {}
        for each in self.raw_attributes:
            given = _by_number(each)
            # 3 is one whole number, 4 a text, 8 a list of whole numbers.
            values = [value for number in (3, 4, 8) for value in given.get(number, [])]
            found[_texts(given[1])[0]] = [
                value - (value >> 63 << 64) if isinstance(value, int) else bytes(value)
                for value in values
            ]
        return found


def cut_ends(path: Path) -> tuple[bytes, Ends] | None:
    """Return a network without what `Ends` computes; None if it has other ends than these.

    The beginning is a product and a sum with a constant. The end is a softmax, before or after the
    channels are brought to the last axis, and may be an enlargement by whole factors before it.

    Args:
        path: an ONNX file, which need not be a usable one.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
        # Weights may lie in another file, given by its location beside this one. Of a network
        # given as bytes, ONNX Runtime would take that file from the current folder.
        return None if b"location" in content else _cut(memoryview(content))
    except (OSError, IndexError, ValueError, KeyError):  # ONNX Runtime says what is wrong
        return None


def _cut(model: memoryview) -> tuple[bytes, Ends] | None:
    (graph,) = [value for number, value, _ in _fields(model) if number == 7]
    if not _is_recent(model):
        return None
    parts = list(_fields(graph))
    nodes = {k: _node(value) for k, (number, value, _) in enumerate(parts) if number == 1}
    tensors = dict(
        _tensor(value) for number, value, raw in parts if number == 5 and len(raw) <= SMALL_TENSOR
    )
    (given,) = [_name(value) for number, value, _ in parts if number == 11]
    (returned,) = [_name(value) for number, value, _ in parts if number == 12]

    begins, first, scale, offset = _find_beginning(nodes, tensors, given)
    ends, last, at_end = _find_end(nodes, tensors, returned)
    if not (begins or ends):
        return None
    new: list[bytes | memoryview] = []
    for k, (number, value, raw) in enumerate(parts):
        if number == 11:
            kept = b"".join(part for inner, _, part in _fields(value) if inner != 1)
            new.append(_field(11, _field(1, first.encode()) + kept))
        elif number == 12 and ends:
            new.append(_field(12, _field(1, last.encode())))
        elif k not in begins and k not in ends:
            new.append(raw)
    pieces: list[bytes | memoryview] = []
    for number, _, raw in _fields(model):
        pieces += [_start(7, sum(map(len, new))), *new] if number == 7 else [raw]
    whole = b"".join(pieces)
    return whole, replace(at_end, scale=scale, offset=offset)


def _is_recent(model: memoryview) -> bool:
    """Whether the operators are those since ONNX 13, in which a softmax is over one axis alone."""
    sets = [_by_number(value) for number, value, _ in _fields(model) if number == 8]
    versions = [each.get(2, [0])[0] for each in sets if each.get(1, [b""])[0] in (b"", b"ai.onnx")]
    return all(isinstance(version, int) and version >= 13 for version in versions)


def _find_beginning(
    nodes: dict[int, _Node], tensors: dict[str, NDArray[np.float32]], name: str
) -> tuple[list[int], str, float, float]:
    """Return the nodes that scale the input, the name of their result, factor and summand."""
    found, values, result = [], [], name
    for op in ("Mul", "Add"):
        users = [k for k, node in nodes.items() if result in node.inputs]
        if [nodes[k].op for k in users] != [op]:
            return [], name, 1.0, 0.0
        node = nodes[users[0]]
        constants = [tensors[each] for each in node.inputs if each in tensors]
        if [each.size for each in constants] != [1]:
            return [], name, 1.0, 0.0
        found.append(users[0])
        values.append(float(constants[0].item()))
        (result,) = node.outputs
    return found, result, values[0], values[1]


def _find_end(
    nodes: dict[int, _Node], tensors: dict[str, NDArray[np.float32]], name: str
) -> tuple[list[int], str, Ends]:
    """Return the nodes after the scores, the name of the scores, and what the nodes compute."""
    users = Counter(each for node in nodes.values() for each in node.inputs)
    makers = {output: k for k, node in nodes.items() for output in node.outputs}
    found: list[int] = []
    result, ends = name, Ends()
    # Each of the three nodes is there once at most.
    while (result == name or users[result] == 1) and result in makers:
        node = nodes[makers[result]]
        if node.op == "Transpose" and not ends.channels_first:
            if node.attributes["perm"] != [0, 2, 3, 1]:
                break
            ends = replace(ends, channels_first=True)
        elif node.op == "Softmax" and not ends.softmax:
            if node.attributes["axis"] not in ([[1]] if ends.channels_first else [[3], [-1]]):
                break
            ends = replace(ends, softmax=True)
        elif ends.softmax and (factors := _enlargement(node, tensors, ends.channels_first)):
            ends = replace(ends, enlargement=factors)
        else:
            break
        found.append(makers[result])
        result = node.inputs[0]
        if node.op == "Resize":
            break
    return (found, result, ends) if ends.softmax else ([], name, Ends())


def _enlargement(
    node: _Node, tensors: dict[str, NDArray[np.float32]], channels_first: bool
) -> tuple[int, int] | None:
    """Return the factors of a node that interpolates as `resize_image` does, None of another."""
    wanted: dict[str, list[int | bytes]]
    wanted = {"mode": [b"linear"], "coordinate_transformation_mode": [b"half_pixel"]}
    if node.op != "Resize" or len(node.inputs) != 3 or node.inputs[2] not in tensors:
        return None
    given = node.attributes
    if any(given.get(key) != value for key, value in wanted.items()) or "axes" in given:
        return None
    if any(given.get(key, [0]) != [0] for key in ("exclude_outside", "antialias")):
        return None
    scales = tensors[node.inputs[2]].ravel().tolist()
    kept, sides = (scales[:2], scales[2:]) if channels_first else (scales[::3], scales[1:3])
    if len(scales) != 4 or kept != [1, 1] or not all(s >= 1 and s.is_integer() for s in sides):
        return None
    return int(sides[0]), int(sides[1])


def _fields(message: Value) -> Iterator[tuple[int, Value, memoryview]]:
    """Yield number, value and all bytes of each field of a message of Protocol Buffers."""
    if isinstance(message, int):
        raise ValueError("a number in place of a message")
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind = key & 7
        value: Value
        if kind == VARINT:
            value, at = _varint(message, at)
        else:
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind, 0)
            if kind == BYTES:
                size, at = _varint(message, at)
            elif not size:
                raise ValueError(f"a field of kind {kind}")
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("a field that is cut short")
        yield key >> 3, value, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    if (value := message[at]) < 128:
        return value, at + 1
    value = shift = 0
    while True:
        byte = message[at]
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at


def _field(number: int, content: bytes) -> bytes:
    """Return a field that holds bytes."""
    return _start(number, len(content)) + content


def _start(number: int, length: int) -> bytes:
    """Return what stands before the content of a field."""
    return _as_varint(number << 3 | BYTES) + _as_varint(length)


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _by_number(message: Value) -> dict[int, list[Value]]:
    values: dict[int, list[Value]] = {}
    for number, value, _ in _fields(message):
        values.setdefault(number, []).append(value)
    return values


def _texts(values: Sequence[Value]) -> list[str]:
    return [bytes(value).decode() for value in values if not isinstance(value, int)]


def _name(message: Value) -> str:
    (name,) = _texts(_by_number(message)[1])
    return name


def _node(message: Value) -> _Node:
    """Read a NodeProto."""
    values = _by_number(message)
    (op,) = _texts(values[4])
    if domain := "".join(_texts(values.get(7, []))):
        op = f"{domain}.{op}"  # another operator, even if it has the name of one of ONNX
    return _Node(op, _texts(values.get(1, [])), _texts(values.get(2, [])), values.get(5, []))


def _tensor(message: Value) -> tuple[str, NDArray[np.float32]]:
    """Read the name of a TensorProto, and its values if they are few numbers of float32."""
    values = _by_number(message)
    (name,) = _texts(values[8])
    # As bytes, or as numbers, each a field or all in one.
    raw = [
        each for number in (9, 4) for each in values.get(number, []) if not isinstance(each, int)
    ]
    few = values.get(2) == [FLOAT32] and sum(map(len, raw)) <= 16
    return name, np.frombuffer(b"".join(raw) if few else b"", "<f4")
