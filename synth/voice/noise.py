"""Noise that an ONNX graph draws inside, as inputs that a seed fills.

ONNX gives a random node a seed only as an attribute, fixed when the session is built, and onnxruntime then goes on
drawing from a state that lives with the session: what a text sounds like would hang on what was said before it, in
this process, and a resumed or distributed build would write other bytes. So the graph is changed in memory before it
is loaded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


@dataclass(frozen=True)
class Noise:
    """An input that stands for a random node.

    Attributes:
        name: of the input, float32 of shape (values,).
        uniform: drawn from [0, 1), else standard normal.
        scale: what a draw is multiplied with.
        shift: what is added then.
    """

    name: str
    uniform: bool = False
    scale: float = 1.0
    shift: float = 0.0

    def draw(self, rng: np.random.Generator, values: int) -> NDArray[np.float32]:
        """Fill the input.

        Args:
            rng: where the noise comes from.
            values: how many; where the node takes more, they start again from the first.
        """
        drawn = rng.random(values, np.float32) if self.uniform else rng.standard_normal(values, np.float32)
        if (self.scale, self.shift) == (1.0, 0.0):
            return drawn
        return drawn * np.float32(self.scale) + np.float32(self.shift)


def random_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of a graph that draw noise."""
    return [node for node in model.graph.node if node.op_type in RANDOM_OPS]


def take_noise_from_inputs(model: onnx.ModelProto) -> list[Noise]:
    """Feed every random node of a graph from a new input instead.

    An input is given more values than the node needs, or fewer: how many that is, the graph often knows only once it
    has predicted the durations. Its first values are taken and shaped like the node's output.

    Args:
        model: changed in place.

    Returns:
        The new inputs, in the order of the nodes.

    Raises:
        ValueError: a node draws something else than float32, normal or uniform.
    """
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    noises: list[Noise] = []
    for node in graph.node:
        if node.op_type not in RANDOM_OPS:
            nodes.append(node)
            continue
        noise = _noise(node, f"noise_{len(noises)}")
        noises.append(noise)
        if node.op_type.endswith("Like"):
            nodes.append(helper.make_node("Shape", [node.input[0]], [f"{noise.name}_shape"]))
        else:
            shape = [int(size) for size in _attributes(node)["shape"]]
            graph.initializer.append(helper.make_tensor(f"{noise.name}_shape", TensorProto.INT64, [len(shape)], shape))
        nodes += _read_noise(noise.name, node.output[0])
    constants = {"noise_zero": 0, "noise_one": 1}
    graph.initializer.extend(
        helper.make_tensor(key, TensorProto.INT64, [], [value]) for key, value in constants.items()
    )
    graph.input.extend(helper.make_tensor_value_info(n.name, TensorProto.FLOAT, ["values"]) for n in noises)
    del graph.node[:]
    graph.node.extend(nodes)
    return noises


def _noise(node: onnx.NodeProto, name: str) -> Noise:
    values = _attributes(node)
    if values.get("dtype", TensorProto.FLOAT) != TensorProto.FLOAT:
        raise ValueError(f"{node.op_type} draws another type than float32")
    if node.op_type in ("RandomNormal", "RandomNormalLike"):
        return Noise(name, False, values.get("scale", 1.0), values.get("mean", 0.0))
    if node.op_type in ("RandomUniform", "RandomUniformLike"):
        low, high = values.get("low", 0.0), values.get("high", 1.0)
        return Noise(name, True, high - low, low)
    raise ValueError(f"{node.op_type} cannot be seeded")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _read_noise(noise: str, output: str) -> list[onnx.NodeProto]:
    """Nodes that compute output = noise[arange(product of shape) % noise.size].reshape(shape)."""
    return [
        helper.make_node("ReduceProd", [f"{noise}_shape"], [f"{noise}_needed"], keepdims=0),
        helper.make_node("Range", ["noise_zero", f"{noise}_needed", "noise_one"], [f"{noise}_positions"]),
        helper.make_node("Size", [noise], [f"{noise}_size"]),
        helper.make_node("Mod", [f"{noise}_positions", f"{noise}_size"], [f"{noise}_indices"]),
        helper.make_node("Gather", [noise, f"{noise}_indices"], [f"{noise}_values"], axis=0),
        helper.make_node("Reshape", [f"{noise}_values", f"{noise}_shape"], [output]),
    ]
