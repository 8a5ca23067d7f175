"""UNO: layers on grids of different resolution, with skips between those of one level.

Source: neuralop/models/uno.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    WeightSource,
    not_importable,
)
from opdsl.migrate.neuralop.layer import SKIPS, Layer
from opdsl.migrate.neuralop.layer_weights import stored_weights
from opdsl.migrate.neuralop.levels import Levels, levels_of
from opdsl.migrate.neuralop.models.fno_options import activation, change_note, grid, padding
from opdsl.migrate.neuralop.writing import AXES, Lines, call, mlp, weight

Numbers = tuple[int, ...]
LINEAR = "a UNO that was trained has `channel_mlp_skip = linear`"


class UNOOptions(ConstructorOptions):
    """Arguments of the constructor of `UNO`."""

    in_channels: int
    out_channels: int
    hidden_channels: int
    lifting_channels: int = 256
    projection_channels: int = 256
    positional_embedding: Any = "grid"
    n_layers: int = 4
    uno_out_channels: Numbers
    uno_n_modes: tuple[Numbers, ...]
    uno_scalings: tuple[tuple[float, ...], ...]
    horizontal_skips_map: dict[int, int] | None = None
    channel_mlp_dropout: float = 0
    channel_mlp_expansion: float = 0.5
    non_linearity: Any = "gelu"
    norm: str | None = None
    norm_groups: int = 1
    preactivation: bool = False
    fno_skip: str | None = "linear"
    horizontal_skip: str = "linear"
    channel_mlp_skip: str | None = "soft-gating"
    separable: bool = False
    factorization: str | None = None
    rank: float | int | tuple[int, ...] = 1.0
    fixed_rank_modes: Any = False
    integral_operator: Any = None
    operator_block: Any = None
    implementation: str = "factorized"
    decomposition_kwargs: dict[str, Any] | None = None
    domain_padding: Any = None
    verbose: bool = False
    enforce_hermitian_symmetry: bool = True

    @property
    def skips(self) -> dict[int, int]:
        """Map each layer at which a skip ends to the layer at which it starts."""
        if self.horizontal_skips_map is not None:
            return self.horizontal_skips_map
        return {self.n_layers - 1 - i: i for i in range(self.n_layers // 2)}


@dataclass(frozen=True, slots=True)
class UNOSpec:
    """The options of a UNO and the grids of its layers."""

    name: str
    o: UNOOptions
    levels: Levels
    corrected: bool

    @property
    def axes(self) -> int:
        """Number of axes of the grid."""
        return self.levels.axes

    def inward(self, i: int) -> int:
        """Number of input channels of layer i, with those of its skip."""
        before = self.o.uno_out_channels[i - 1] if i else self.o.hidden_channels
        source = self.o.skips.get(i)
        return before + (self.o.uno_out_channels[source] if source is not None else 0)

    def layer(self, i: int, shapes: Shapes) -> Layer:
        """Return layer i; in neuraloperator each is a stack that ends without activation."""
        o = self.o
        out = o.uno_out_channels[i]
        self.check_skips(self.inward(i), out)
        return Layer(
            modes=o.uno_n_modes[i],
            inward=self.inward(i),
            out=out,
            act=activation(self.name, o.non_linearity),
            closing=self.corrected and i < o.n_layers - 1,
            weights=stored_weights(self.name, o, shapes, f"fno_blocks.{i}.convs.0.weight."),
            fno_skip=o.fno_skip,
            mlp=round(out * o.channel_mlp_expansion),
            mlp_skip=o.channel_mlp_skip,
            dropout=o.channel_mlp_dropout,
            norm=o.norm,
            groups=o.norm_groups,
            preactivation=o.preactivation,
            changes=self.levels.changes(i),
            wrong=not self.corrected,
        )

    def check_skips(self, inward: int, out: int) -> None:
        """Refuse skips without a matrix that would have to change the number of channels."""
        for key in ("fno_skip", "channel_mlp_skip"):
            kind = getattr(self.o, key)
            if kind in ("soft-gating", "identity") and inward != out:
                what = f"`{key} = {kind}` from {inward} to {out} channels"
                raise not_importable(self.name, f"{what}, as neuraloperator itself refuses", LINEAR)

    def joined(self, lines: Lines, x: str, i: int) -> str:
        """Concatenate x and the skip that ends at layer i, if there is one."""
        source = self.o.skips.get(i)
        if source is None:
            return x
        t = f"skip_{source}"
        if self.levels.coarser[source + 1] != self.levels.coarser[i]:
            kind = None if self.corrected else {1: "linear", 2: "cubic"}.get(self.axes)
            to = self.levels.domain(i)
            t = lines.add(f"{t}_to_{i}", call("resample", t, to=to, kind=kind))
        return lines.add(f"joined_{i}", call("concat", x, t))

    def skipped(self, lines: Lines, x: str, i: int) -> None:
        """Add the skip that starts after layer i, if there is one."""
        if i not in self.o.skips.values():
            return
        kind = SKIPS[self.o.horizontal_skip]
        inner, change = ("conv.", "matrix") if kind == "linear" else ("", "flat")
        takes = (
            [weight(f"horizontal_skips.{i}.{inner}weight", change)] if kind != "identity" else []
        )
        lines.add(f"skip_{i}", call("skip", x, kind=kind), *takes)


def uno(name: str, o: UNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of a UNO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    axes = len(o.uno_n_modes[0])
    refuse(name, o, axes)
    levels = levels_of(name, o.uno_scalings, axes=axes)
    built = UNOSpec(name, o, levels, corrected)
    layers = [built.layer(i, shapes) for i in range(o.n_layers)]
    ends = grid(name, o)
    lines = Lines()
    x = "x"
    if ends is not None:
        x = lines.add("placed", call("concat", x, call("coords", levels.domain(0))))
    x = mlp(lines, "lift", x, (o.lifting_channels, o.hidden_channels), "gelu", "lifting.")
    fractions = padding(name, o, axes)
    if any(fractions) and levels.any:
        raise not_importable(name, f"`domain_padding = {o.domain_padding}` on changing grids")
    x = lines.add("padded", call("pad", x, to="E")) if any(fractions) else x
    takes: list[WeightSource] = []
    for i, layer in enumerate(layers):
        x = built.joined(lines, x, i)
        to = levels.domain(i + 1) if layer.changes else None
        x = lines.add(f"layer_{i}", call(f"Layer{i + 1}", x, to=to, act=layer.closed))
        takes += layer.takes(f"layer_{i}.", f"fno_blocks.{i}.")
        built.skipped(lines, x, i)
    x = lines.add("cropped", call("crop", x, to="D")) if any(fractions) else x
    act = activation(name, o.non_linearity)
    mlp(lines, "project", x, (o.projection_channels, o.out_channels), act, "projection.")
    blocks = [x.definition(f"Layer{i + 1}") for i, x in enumerate(layers)]
    ports = [
        *levels.declaration(layers, ends, fractions),
        f"input x : {levels.domain(0)} -> R^{o.in_channels}",
        f"output y : {levels.domain(o.n_layers)} -> R^{o.out_channels}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    model = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    text = "\n\n".join([*blocks, model])
    return Draft(text, (*lines.taken("y", "", ""), *takes), tuple(notes(built)))


def refuse(name: str, o: UNOOptions, axes: int) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    if not 1 <= axes <= len(AXES):
        raise not_importable(name, f"{axes} axes")
    for key in ("uno_out_channels", "uno_n_modes", "uno_scalings"):
        if len(getattr(o, key)) != o.n_layers:
            raise not_importable(name, f"`{key}` for other than `n_layers = {o.n_layers}` layers")
    products = list(
        accumulate(o.uno_scalings, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True)))
    )
    if axes > 2 and len(set(products)) > 1:
        raise not_importable(
            name, f"a change of resolution in {axes} axes", "`--corrected` imports it exactly"
        )


def notes(built: UNOSpec) -> Iterator[str]:
    """Yield notes on faults of neuraloperator and whether they are kept or corrected."""
    if built.corrected:
        yield "corrected: the activation stands between the levels, where neuraloperator has none"
    else:
        yield "kept: there is no activation between the levels, only within the small networks"
    if built.levels.any:
        yield change_note(built.corrected)
    if built.levels.any:
        yield (
            "neuraloperator rounds the points of a level, here they divide: sizes are multiples of "
            "the coarsest level's"
        )


def uno_arguments(module: Any) -> dict[str, Any]:
    """Recover the constructor's arguments of a UNO, which stores only some of them."""
    first = module.fno_blocks[0]
    norm = None if first.norm is None else type(first.norm[0]).__name__
    names = {"InstanceNorm": "instance_norm", "GroupNorm": "group_norm", "BatchNorm": "batch_norm"}
    skips = list(module.horizontal_skips.values())
    kinds = {"SoftGating": "soft-gating", "Flattened1dConv": "linear", "Identity": "identity"}
    attributes = (
        "in_channels", "out_channels", "hidden_channels", "lifting_channels", "n_layers",
        "projection_channels", "uno_out_channels", "uno_n_modes", "uno_scalings", "rank",
        "horizontal_skips_map", "non_linearity", "separable", "factorization", "preactivation",
        "implementation",
    )  # fmt: skip
    arguments = {x: getattr(module, x) for x in attributes}
    return arguments | {
        "positional_embedding": module.positional_embedding,
        "fno_skip": first.fno_skip,
        "channel_mlp_skip": first.channel_mlp_skip,
        "channel_mlp_expansion": first.channel_mlp_expansion,
        "channel_mlp_dropout": first.channel_mlp_dropout,
        "norm": names.get(norm, norm) if norm else None,
        "norm_groups": getattr(first.norm[0], "num_groups", 1) if norm else 1,
        "horizontal_skip": kinds[type(skips[0]).__name__] if skips else "linear",
        "domain_padding": getattr(module.domain_padding, "domain_padding", None),
    }
