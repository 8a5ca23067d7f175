"""The block `static`: fields that are the same for all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import Block, Cost, Refusal, SideInput, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Static(Block):
    """w = (f_1, f_2, ...): fields that all samples share, such as a land mask.

    The result is w : domain -> R^(number of fields); its channels have the names of the fields.
    Each call of the module gives the fields by name, at the resolution of the call: `model(x,
    orography = h)` with h of the shape of the grid. A domain with points of its own in each sample
    is refused.

    ```op
    edition 2026

    model Forecast {
      domain S = sphere(lat, lon, min = (32, 64))
      input x : S -> R^4
      output w : S -> R^6

      w = concat(x, static(S, fields = [orography, land_mask]))
    }
    ```

    Attributes:
        domain: the domain of the fields; given without a name.
        fields: their names, one channel each.

    Source: nothing to cite.
    """

    positional = ("domain",)
    samples = ({"inputs": (), "domain": "D", "fields": ("mask", "height")},)

    domain: Domain = Field(description="where the fields live")
    fields: tuple[str, ...] = Field(min_length=1, description="their names")

    def infer(self) -> Space:
        """Return the domain with a channel for each field, with its name."""
        if self.domain.geometry == "per_sample":
            raise Refusal(
                "OP0311",
                "`static` needs the same points in every sample",
                f"`{self.domain}` has points of its own in each",
                at="domain",
                helps=("make them an input of the model",),
            )
        twice = next((y for y in self.fields if self.fields.count(y) > 1), None)
        if twice:
            raise Refusal("OP0203", f"field `{twice}` is named twice", "again here", at="fields")
        return Space(domain=self.domain, channels=len(self.fields), components=self.fields)

    def side_inputs(self) -> tuple[SideInput, ...]:
        """Return each field by its name."""
        return tuple(SideInput(y, "field", self.domain) for y in self.fields)

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...]) -> Behaviour:
        """Return that nothing is known about a field but that it is smooth."""
        return ends.free(self.domain)

    def convergence_order(self, _inputs: tuple[Behaviour, ...]) -> Order:
        """Return that it is exact."""
        return EXACT

    def cost(self) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer().numbers())

    def lower(self) -> nn.Module:
        """See `opdsl.nn.points.inputs.StaticFields`."""
        from opdsl.nn.points import inputs

        return inputs.StaticFields()
