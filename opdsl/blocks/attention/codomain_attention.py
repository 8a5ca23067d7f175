"""The block `codomain_attention`: attention between variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal
from opdsl.ir.channel_groups import one_copy
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import Dim, PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.sharding.rules import Rule, reduction
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn

SOFTMAX = 5  # operations for each score: a shift, an exponential, a sum, two for the scale


class CodomainAttention(Block):
    """w_i = sum_j softmax_j(<q_i, k_j> / (sqrt(d) T)) v_j: attention between variables.

    q, k : E -> R^m and v : D -> R^n give w : D -> R^n on any domains D and E; q and k may have a
    coarser grid than v. The channels of q, k and v are those of the variables one after the other,
    and within each variable those of its heads. <q, k> is the mean of q(x) . k(x) over the domain,
    by the trapezoidal rule on a grid and by quadrature on a sphere; d is the number of channels of
    a variable in one head. The mean converges under refinement, so the weights are one operator for
    every resolution. A permutation of the variables permutes the result. Nothing is trained here:
    q, k and v come from layers with `copies`.

    ```op
    edition 2026

    model Mix {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input v : D -> R^{ux, uy, p}
      output w : D -> R^3
      param d : int = 4  # channels of a variable

      h = linear(v, out = d, copies = 3)
      q = spectral_conv(h, modes = 8, copies = 3)
      k = spectral_conv(h, modes = 8, copies = 3)
      w = codomain_attention(q, k, h, variables = 3, heads = 2) |> linear(out = 1, copies = 3)
    }
    ```

    The program of neuraloperator sums over the N points of the grid and divides by sqrt(N), so that
    its attention becomes sharper as the grid becomes finer. `faults = neuralop_93d3f06` (its newest
    commit) reproduces this for weights that were trained with it; the result has no limit, and a
    warning says so. At one resolution it equals `temperature = 1 / sqrt(N)` times its own, where N
    counts the points of q and k, padding included: a model that continues with that temperature is
    an operator.

    Attributes:
        variables: number of variables.
        heads: number of heads, into which the channels of each variable are split evenly.
        temperature: T; the smaller, the more weight has the variable that fits best.
        faults: none, or the release of neuraloperator whose faults are reproduced.

    Source: Rahman et al. 2024, arXiv:2403.12553, eq. (4) and (5); neuralop/layers/coda_layer.py at
        93d3f06.
    """

    samples = (
        {"inputs": (4, 4, 4), "variables": 2},
        {"inputs": (8, 8, 4), "variables": 2, "heads": 2, "temperature": 0.5},
        {"inputs": ("D/2 -> R^3", "D/2 -> R^3", 6), "variables": 3},
        {"inputs": ("S -> R^2", "S -> R^2", "S -> R^2"), "variables": 2},
        {"inputs": ("P -> R^4", "P -> R^4", 2), "variables": 2},
        {"inputs": ("R^4", "R^4", 2), "variables": 2},
        {"inputs": (4, 4, 4), "variables": 2, "temperature": 8.0, "faults": "neuralop_93d3f06"},
    )

    variables: PositiveCount = Field(description="how many functions look at each other")
    heads: PositiveCount = Field(
        default=1, description="into how many parts the channels of a variable are split"
    )
    temperature: PositiveFloat = Field(
        default=1.0, description="by which the scores are divided; a small one sharpens"
    )
    faults: Literal["none", "neuralop_93d3f06"] = Field(
        default="none", description="of which release it has the faults"
    )

    def infer(self, q: Space, k: Space, v: Space) -> Space:
        """Return the domain of v with its number of channels."""
        self._check_one_space(q, k)
        for y in (q, v):
            self._check_heads(one_copy(y, self.variables, "variables").channels)
        return v.with_channels(v.channels)

    def _check_one_space(self, q: Space, k: Space) -> None:
        if (q.domain, q.channels) == (k.domain, k.channels):
            return
        same = q.domain == k.domain
        raise Refusal(
            "OP0303" if same else "OP0304",
            f"`{self.keyword()}` cannot compare q and k",
            "both must have as many channels" if same else "both must live on one domain",
            inputs={0: f"this is `{q}`", 1: f"this is `{k}`"},
        )

    def _check_heads(self, channels: Dim) -> None:
        heads = decided(self.heads)
        if channels % heads:
            raise Refusal(
                "OP0208",
                f"{count(channels)} of a variable do not split evenly over {heads} heads",
                f"{channels} = {channels // heads} * {heads} + {channels % heads}",
                at="heads",
                helps=(f"take a divisor of {channels}",),
            )

    def diverges(self, _q: Space, _k: Space, _v: Space) -> str | None:
        """Return the reason if a fault is chosen: a sum over the points has no limit."""
        if self.faults == "none":
            return None
        return "has scores that grow with the number of points, a fault of neuraloperator"

    def behaviour_at_ends(
        self, inputs: tuple[Behaviour, ...], _q: Space, _k: Space, _v: Space
    ) -> Behaviour:
        """Return the facts about v, whose variables are combined linearly."""
        return inputs[2]

    def convergence_order(
        self, inputs: tuple[Behaviour, ...], q: Space, _k: Space, _v: Space
    ) -> Order | None:
        """Return the order of the integral of q k."""
        return orders.integral(q.domain, ends.product(inputs[0], inputs[1]))

    def sharding(self, _axis: int, _sizes: GridSizes, _q: Space, _k: Space, _v: Space) -> Rule:
        """Sum the score of each head and pair of variables over the grid."""
        return reduction(decided(self.variables * self.variables * self.heads))

    def cost(self, q: Space, _k: Space, v: Space) -> Cost:
        """Count a score for each head and pair of variables, and a sum for each variable."""
        pairs = self.variables * self.variables * self.heads
        flops = (q.numbers() + v.numbers()) * (2 * self.variables) + q.numbers() + SOFTMAX * pairs
        return Cost(0, flops, v.numbers() * BYTES)

    def lower(self, q: Space, _k: Space, _v: Space) -> nn.Module:
        """See `opdsl.nn.layers.codomain_attention.CodomainAttention`."""
        from opdsl.nn.layers import codomain_attention

        variables, heads = decided(self.variables), decided(self.heads)
        domain, arguments = q.domain, (variables, heads, self.temperature)
        all_periodic = (True,) * domain.dims
        if self.faults != "none":
            return codomain_attention.CodomainAttention(*arguments, all_periodic, adds=True)
        periodic = domain.periodic if domain.regular else all_periodic
        if domain.regular and (placed := domain.declared_samplings):
            return codomain_attention.CodomainAttention(*arguments, periodic, samplings=placed)
        sampling = (domain.sampling or "gauss_legendre",) if domain.kind == "sphere" else ()
        return codomain_attention.CodomainAttention(*arguments, periodic, *sampling)
