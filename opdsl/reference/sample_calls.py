"""The `samples` of a block as calls on example domains: input spaces, result, promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opdsl.ir.axes import Axis, Boundary
from opdsl.ir.block import Block
from opdsl.ir.display import value_text
from opdsl.ir.spaces import VECTOR, Domain, Space
from opdsl.ir.steps import Extend


def _extension(name: str, kind: Any = "zero") -> Extend:
    return Extend(name=name, numerator=1, denominator=4, kind=kind)


def _points(name: str) -> Domain:
    return Domain(kind="points", name=name, ambient=2, axes=(Axis(name="points"),))


def _domains() -> dict[str, Domain]:
    """Build the domains that the samples of blocks use, by name."""
    axes = tuple(Axis(name=x, boundary="periodic", min=64) for x in "xy")
    square = Domain(name="D", axes=axes)
    ends: tuple[Boundary, ...] = (("dirichlet", "neumann"), "dirichlet")
    walls = tuple(Axis(name=x, boundary=b, min=64) for x, b in zip("xy", ends, strict=True))
    box = Domain(name="I", axes=walls)
    latitudes, longitudes = Axis(name="lat", min=32), Axis(name="lon", min=64, boundary="periodic")
    sphere = Domain(
        kind="sphere", name="S", sampling="gauss_legendre", axes=(latitudes, longitudes)
    )
    extensions = {"E": "zero", "L": "legendre", "G": "gram"}
    return {
        "": VECTOR,
        "D": square,
        "D/2": square.coarsened(2),
        "I": box,
        "I/2": box.coarsened(2),
        **{name: square.extended(_extension(name, kind)) for name, kind in extensions.items()},
        "K": square.spectrum((2, 2)),
        "P": _points("P"),
        "Q": _points("Q"),
        "S": sphere,
        "S/2": sphere.coarsened(2),
    }


DOMAINS = _domains()


@dataclass(frozen=True, slots=True)
class SampleCall:
    """A block with parameters, applied to functions on the example domains."""

    block: Block
    inputs: tuple[Space, ...]
    parameters: Mapping[str, str]

    @property
    def result(self) -> Space:
        """The space of the result."""
        return self.block.infer(*self.inputs)

    @property
    def weights(self) -> int:
        """The count of real numbers that are trained."""
        return self.block.cost(*self.inputs).params

    @property
    def limit(self) -> str:
        """The verdict on convergence under refinement: `yes`, or `no:` with the reason."""
        block, x = self.block, self.inputs
        reason = block.fixed_resolution(*x) or block.diverges(*x)
        return f"no: {reason}" if reason else "yes"


def sample_calls(cls: type[Block]) -> tuple[SampleCall, ...]:
    """Return every sample of a block as a call."""
    return tuple(_call(cls, sample) for sample in cls.samples)


def _call(cls: type[Block], sample: Mapping[str, Any]) -> SampleCall:
    values = {k: v for k, v in sample.items() if k != "inputs"}
    arguments = {k: DOMAINS[v] if _is_domain(cls, k) else v for k, v in values.items()}
    inputs = tuple(_space(x) for x in sample["inputs"])
    block = cls(**arguments)
    texts = {k: value_text(getattr(block, k)) for k in values}
    return SampleCall(block, inputs, texts)


def _is_domain(cls: type[Block], parameter: str) -> bool:
    return "Domain" in str(cls.model_fields[parameter].annotation)


def _space(text: int | str) -> Space:
    """Make the space of a sample: `3` channels on the grid D, or a text such as `D/2 -> R^3`."""
    if isinstance(text, int):
        return Space(domain=DOMAINS["D"], channels=text)
    domain, _, power = text.rpartition(" -> ")
    field, _, channels = power.partition("^")
    return Space.model_validate(
        {"domain": DOMAINS[domain], "channels": int(channels), "field": field}
    )
