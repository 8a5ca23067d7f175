"""The block `apply`: an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


# the words that every parameter of the type `activation` takes; the functions are in
# opdsl.nn.layers.pointwise.ACTIVATIONS, which the checker must not import
ActivationName = Literal[
    "elu",
    "gelu",
    "identity",
    "leaky_relu",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "sin",
    "softplus",
    "softsign",
    "tanh",
]
CHEAP = {"identity": 0, "leaky_relu": 1, "relu": 1, "softsign": 3}
ODD = ("identity", "sin", "softsign", "tanh")
NOT_ZERO = ("sigmoid", "softplus")  # where the argument is zero
# whose derivatives torch computes from the result
BY_RESULT = ("relu", "sigmoid", "tanh")
# see `opdsl.ir.ends.Behaviour`: a jump of the first derivative gives 2, of the second 3
SMOOTHNESS = {"elu": 3, "leaky_relu": 2, "relu": 2, "selu": 2, "softsign": 3}
TRANSCENDENTAL = 10  # operations for a function with an exponential inside, a round number


class Apply(Block):
    """w = sigma(v) for each number; `gelu()` is short for `apply(gelu)`.

    v : D -> R^n gives w : D -> R^n on any domain D. It acts at each point alone and converges under
    refinement. An activation creates frequencies that v does not have: the product of two waves has
    the sum of their frequencies. The identity adds no node.

    ```op
    edition 2026

    model Bend {
      domain D = grid(x: 0..1, min = 16)
      input v : D -> R^3
      output w : D -> R^3

      w = v |> apply(tanh) |> gelu()
    }
    ```

    Attributes:
        kind: the function: elu, gelu (exact, with erf), identity, leaky_relu (slope 0.01), mish,
            relu, selu, sigmoid, silu, sin, softplus, softsign or tanh.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415 (gelu).
    """

    positional = ("kind",)
    shorthand = "kind"
    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "kind": "gelu"},
        {"inputs": (1,), "kind": "identity"},
        {"inputs": (2,), "kind": "sin"},
    )

    kind: ActivationName = Field(description="the function")

    def infer(self, x: Space) -> Space:
        """Return the domain with as many channels; only the identity keeps their names."""
        return x if self.kind == "identity" else x.with_channels(x.channels)

    def is_identity(self, _x: Space) -> bool:
        """Return whether the function is the identity."""
        return self.kind == "identity"

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Keep zeros if sigma(0) = 0, and the parity if sigma is odd; even functions stay even."""
        odd, zero = self.kind in ODD, self.kind not in NOT_ZERO
        smoothness = SMOOTHNESS.get(self.kind, ends.SMOOTH)
        return ends.activation(inputs[0], zero=zero, odd=odd, smoothness=smoothness)

    def cost(self, x: Space) -> Cost:
        """Count the operations of the function for each number."""
        flops = CHEAP.get(self.kind, TRANSCENDENTAL)
        return Cost(0, x.numbers() * flops, x.numbers() * BYTES)

    def saves_inputs(self, _x: Space) -> bool:
        """Return whether the derivative is computed from v."""
        return self.kind not in (*BY_RESULT, "identity")

    def saves_result(self, _x: Space) -> bool:
        """Return whether the derivative is computed from the result."""
        return self.kind in BY_RESULT

    def label(self) -> str:
        """Return the name of the function."""
        return self.kind

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.pointwise.Activation`."""
        from opdsl.nn.layers import pointwise

        return pointwise.Activation(self.kind)
