"""A trained module as a function of physical values: normalised inside, one step in time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from opdsl.train.normalise import Normaliser, Scale


class Physical(nn.Module):
    """Physical inputs -> physical outputs.

    Attributes:
        module: takes normalised inputs by name.
        normaliser: of the run that trained it.
        inputs: their names, in the order in which they are given.
    """

    def __init__(self, module: nn.Module, normaliser: Normaliser, inputs: Sequence[str]) -> None:
        super().__init__()
        self.module, self.normaliser = module, normaliser
        self.inputs = tuple(inputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """(batch, channels, *grid) each -> the outputs in their order, likewise."""
        given = self.normaliser.encode(dict(zip(self.inputs, inputs, strict=True)))
        found = self.normaliser.decode(self.module(**given))
        return tuple(x for x in found.values() if isinstance(x, Tensor))

    def draw(self, name: str, x: Tensor) -> Tensor:
        """Physical values of an input that are normal numbers when normalised."""
        key = f"in_{name}"
        if key not in self.normaliser.scales:
            return x
        scale = self.normaliser.scales[key]
        assert isinstance(scale, Scale)
        return scale.back(x)
