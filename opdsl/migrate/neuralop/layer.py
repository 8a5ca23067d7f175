"""One layer of neuraloperator's `FNOBlocks` as a block definition, with the sources of its weights.

FNO, SFNO, UNO and others are made of these layers.

Source: neuralop/layers/fno_block.py and spectral_convolution.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from opdsl.migrate.neuralop.draft import WeightSource
from opdsl.migrate.neuralop.layer_weights import NEWEST, Weights, one_sided, spectral_takes
from opdsl.migrate.neuralop.writing import (
    Lines,
    block,
    both_parts,
    call,
    mlp,
    several,
    shared,
    weight,
)

NORMS = {"instance_norm": "instance", "group_norm": "group", "batch_norm": "batch"}
SKIPS = {"linear": "linear", "soft-gating": "soft", "identity": "identity"}
ADAPTIVE = "ada_in"
HIDDEN = 512  # of the network of such a norm
PARTS = ("fr", "fi")  # of a layer of complex functions, as they name them


@dataclass(frozen=True, slots=True)
class Local:
    """What a layer of LocalNO adds to the spectral convolution, as lines of ours.

    Attributes:
        terms: name and call, with `#` for what comes in.
        takes: of each, whose names begin with that name.
        least: points on each axis that they need.
    """

    terms: tuple[tuple[str, str], ...]
    takes: tuple[WeightSource, ...]
    least: int = 1


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer does.

    Attributes:
        modes: as they count, on both sides.
        inward, out: channels, of each copy.
        act: the activation, a word of ours.
        closing: whether the activation follows; the last layer of a stack has none.
        changes: whether the grid of the result is another.
        wrong: whether a change of grid is as wrong as theirs.
        spherical: the lines of the convolution come from `sphere` instead.
        complex: whether functions are complex, real parts before imaginary ones.
        local: of LocalNO, whose layers also bend and normalise once less.
        copies: how many groups of channels it acts on, each by itself.
        told: numbers of the vector that `norm = ada_in` scales and shifts by.
        waves: whether these are sines, then cosines, which stand in turns there.
    """

    modes: tuple[int, ...]
    inward: int
    out: int
    act: str = "gelu"
    closing: bool = True
    weights: Weights = field(default_factory=Weights)
    fno_skip: str | None = "linear"
    stencil: int = 1
    mlp: int | None = None
    mlp_skip: str | None = None
    dropout: float = 0.0
    norm: str | None = None
    groups: int = 1
    stabilizer: bool = False
    preactivation: bool = False
    changes: bool = False
    wrong: bool = False
    spherical: bool = False
    local: Local | None = None
    complex: bool = False
    bias: bool = True
    copies: int = 1
    told: int = 0
    waves: bool = False

    def definition(self, name: str) -> str:
        """The text of the block `name`."""
        kind = "sphere" if self.spherical else "grid"
        to = [f"domain to : {kind} = D"] if self.changes else []
        where = "to" if self.changes else "D"
        ports = [
            f"domain D : {kind}",
            *to,
            *([] if self.preactivation else [f"param act : activation = {self.act}"]),
            f"input v : D -> R^{self.inward * self.wide}",
            *([f"input z : R^{self.told}"] if self.told else []),
            f"output w : {where} -> R^{self.out * self.wide}",
        ]
        return block(name, "one layer of neuraloperator's FNO", ports, self._lines().text("w"))

    @property
    def wide(self) -> int:
        """How often its channels stand side by side."""
        return 2 if self.complex else self.copies

    @property
    def kind(self) -> Layer:
        """What it has in common with the layers that its definition serves too."""
        return self if self.preactivation else replace(self, closing=True)

    @property
    def closed(self) -> str | None:
        """What a call says of the activation that follows."""
        return None if self.preactivation or self.closing else "identity"

    def takes(self, path: str, theirs: str, index: int = 0) -> Iterator[WeightSource]:
        """Its weights, where it stands at `path` here and at `theirs` there, the `index`th."""
        for x in self._lines().taken("w", path, theirs):
            yield WeightSource(x.ours, tuple(_numbered(y, index) for y in x.theirs), x.change)

    def _lines(self) -> Lines:
        lines = Lines()
        source = "v"
        if self.preactivation:
            source = lines.add("a", call("apply", source, self.act))
            source = self._normed(lines, "an", source, 0)
        skips = "local_no_skips.#." if self.local else "fno_skips.#."
        beside = lines.add(f"{source}_to", self._moved(source)) if self._moves_first else source
        skip = self._skipped(lines, "s", beside, self.fno_skip, skips)
        gate = None
        if self.mlp is not None:
            gate = self._skipped(lines, "g", beside, self.mlp_skip, "channel_mlp_skips.#.")
        if self.stabilizer:
            source = lines.add("u", call("apply", source, "tanh"))
        found = self._convolved(lines, source)
        found = self._with_local(lines, found, source)
        if not self.preactivation:
            found = self._normed(lines, "kn", found, 0)
        if skip:
            found = lines.add("h", f"{found} + {skip}")
        if self.local:
            return self._ended(lines, found, gate)
        found = self._activated(lines, "ha", found)
        if self.preactivation:
            found = self._normed(lines, "hn", found, 1)
        if self.mlp is not None:
            found = network(
                lines, "m", found, (self.mlp, self.out), "gelu", "channel_mlp.#.",
                dropout=self.dropout, copies=self.copies, parts=self.complex,
            )  # fmt: skip
            found = lines.add("mg", f"{found} + {gate}") if gate else found
        if not self.preactivation:
            found = self._normed(lines, "mn", found, 1)
            self._activated(lines, "wa", found)
        return lines

    def _with_local(self, lines: Lines, found: str, source: str) -> str:
        if not self.local or not self.local.terms:
            return found
        for name, expression in self.local.terms:
            own = [x for x in self.local.takes if x.ours.startswith(f"{name}.")]
            inner = [WeightSource(x.ours.partition(".")[2], x.theirs, x.change) for x in own]
            lines.add(name, expression.replace("#", source), *inner)
        return lines.add("kl", " + ".join([found, *(name for name, _ in self.local.terms)]))

    def _ended(self, lines: Lines, found: str, gate: str | None) -> Lines:
        """The rest of a layer of LocalNO: with a small network it bends before it in any case."""
        if self.mlp is None:
            self._activated(lines, "wa", found)
            return lines
        found = lines.add("ha", call("apply", found, self.act))
        found = mlp(lines, "m", found, (self.mlp, self.out), "gelu", "mlp.#.", dropout=self.dropout)
        found = lines.add("mg", f"{found} + {gate}") if gate else found
        found = self._normed(lines, "mn", found, 1)
        self._activated(lines, "wa", found)
        return lines

    def _activated(self, lines: Lines, name: str, source: str) -> str:
        if not self.preactivation:
            return lines.add(name, call("apply", source, "act"))
        return lines.add(name, call("apply", source, self.act)) if self.closing else source

    def _normed(self, lines: Lines, name: str, source: str, which: int) -> str:
        """The norm number `which` of the two."""
        if self.norm is None:
            return source
        if self.norm == ADAPTIVE:
            return self._adapted(lines, name, source, f"norm.#{which}.mlp.")
        kind = NORMS[self.norm]
        groups = self.groups if kind == "group" and self.groups > 1 else None
        inner = "norm." if kind == "batch" else ""
        keys = {"instance": (), "group": ("weight", "bias")}.get(
            kind, ("weight", "bias", "running_mean", "running_var")
        )
        if self.complex:
            return self._normed_parts(lines, name, source, which, kind, keys, groups)
        # a layer of LocalNO without a small network has one norm
        place = "#" if self.local and self.mlp is None else f"#{which}"
        takes = [weight(f"norm.{place}.{inner}{x}", ours=x) for x in keys]
        return lines.add(name, call("norm", source, kind=kind, groups=groups), *takes)

    def _normed_parts(
        self,
        lines: Lines,
        name: str,
        source: str,
        which: int,
        kind: str,
        keys: Sequence[str],
        groups: int | None,
    ) -> str:
        """A norm of complex functions: one for each part, as of their other layers."""
        inner = "norm." if kind == "batch" else ""
        expression = call("norm", source, kind=kind, groups=groups, copies=2)
        made = []
        for part in PARTS:
            takes = [weight(f"norm.#{which}.{part}.{inner}{x}", ours=x) for x in keys]
            made.append(lines.add(f"{name}_{part}", expression, *shared(2, *takes)))
        return both_parts(lines, name, made[0], made[1], self.out)

    def _adapted(self, lines: Lines, name: str, source: str, theirs: str) -> str:
        """A norm whose scale and shift are what a network makes of the vector."""
        change = "apart" if self.waves else "same"
        first = (weight(f"{theirs}0.weight", change), weight(f"{theirs}0.bias", ours="bias"))
        h = lines.add(f"{name}_z", call("linear", "z", out=HIDDEN), *first)
        h = lines.add(f"{name}_za", call("apply", h, "gelu"))
        even = lines.add(f"{name}_even", call("norm", source, kind="instance"))
        takes = (
            weight(f"{theirs}2.weight", "upper", "scale.weight"),
            weight(f"{theirs}2.bias", "upper_less_one", "scale.bias"),
            weight(f"{theirs}2.weight", "lower", "shift.weight"),
            weight(f"{theirs}2.bias", "lower", "shift.bias"),
        )
        return lines.add(name, call("modulate", even, h), *takes)

    def _skipped(
        self, lines: Lines, name: str, source: str, kind: str | None, theirs: str
    ) -> str | None:
        """What passes by, on the grid of the result."""
        if kind is None:
            return None
        if kind == "linear" and self.stencil > 1 and name == "s":
            expression = call(
                "conv", source, out=self.out, kernel=self.stencil, bias=False, edges="zeros"
            )
            found = lines.add(name, expression, weight(theirs + "weight", "stencil"))
        elif kind == "identity":
            # their wrapper of complex functions makes (1 + i) v of v
            same = both_parts(lines, name, source, source, self.out) if self.complex else source
            found = same
        else:
            out = self.out if kind == "linear" else None
            inner, change = ("conv.", "matrix") if kind == "linear" else ("", "flat")
            expression = call("skip", source, kind=SKIPS[kind], out=out, copies=several(self.wide))
            if self.complex:
                made = [
                    lines.add(
                        f"{name}_{part}",
                        expression,
                        *shared(2, weight(f"{theirs}{part}.{inner}weight", change)),
                    )
                    for part in PARTS
                ]
                found = both_parts(lines, name, made[0], made[1], self.out)
            else:
                take = weight(theirs + inner + "weight", change)
                found = lines.add(name, expression, *shared(self.copies, take))
        if not self.changes or self._moves_first:
            return found
        return lines.add(f"{name}_to", self._moved(found))

    @property
    def _moves_first(self) -> bool:
        """Whether skips begin on the grid of the result.

        They change the grid last there. What acts at each point may do so before or after; once
        for both skips, with fewer channels, is less work.
        """
        both = self.fno_skip is not None and self.mlp is not None and self.mlp_skip is not None
        return self.changes and both and self.stencil == 1 and self.inward <= self.out

    def _moved(self, source: str) -> str:
        """On the grid of the result."""
        return call("resample", source, to="to", kind=self._way())

    def _way(self) -> str | None:
        """How a skip changes its grid there: as bad as theirs, or exactly."""
        if not self.wrong or self.spherical:
            return None
        return {1: "linear", 2: "cubic"}.get(len(self.modes))

    def _convolved(self, lines: Lines, source: str) -> str:
        if not self.complex:
            takes = shared(self.copies, *self._spectral())
            return lines.add("k", self._convolution(source), *takes)
        c = self.inward
        z = lines.add("z", call("complex", f"{source}[0..{c}]", f"{source}[{c}..{2 * c}]"))
        kz = lines.add("kz", self._convolution(z), *self._spectral())
        # their constant is real
        k = lines.add("kr", call("bias", call("real", kz)), weight("convs.#.bias", "flat", "bias"))
        return lines.add("k", call("concat", k, call("imag", kz)))

    def _convolution(self, source: str) -> str:
        if self.spherical:
            from opdsl.migrate.neuralop.sphere import convolution

            return convolution(source, self)
        modes, layout = one_sided(self.modes)
        w = self.weights
        return call(
            "spectral_conv",
            source,
            modes=modes,
            layout=layout,
            out=self.out if self.out != self.inward else None,
            to="to" if self.changes else None,
            bias=None if self.bias and not self.complex else False,
            factor=None if w.factor == "dense" else w.factor,
            rank=None if w.factor == "dense" else w.rank,
            separable=w.separable or None,
            copies=several(self.copies),
            faults=NEWEST if self._faulty else None,
        )

    @property
    def _faulty(self) -> bool:
        """Whether its convolution is wrong there."""
        return self.wrong and (self.complex or self.changes)

    def _spectral(self) -> Iterator[WeightSource]:
        axes = 1 if self.spherical else len(self.modes)  # a sphere has degrees
        yield from spectral_takes(self.weights, "convs.#.weight.", axes=axes)
        if self.bias and not self.complex:
            yield weight("convs.#.bias", "flat", "bias")


def network(  # noqa: PLR0913  what a small network has
    lines: Lines, name: str, source: str, sizes: Sequence[int], act: str, theirs: str,
    *, dropout: float = 0.0, copies: int = 1, parts: bool = False,
) -> str:  # fmt: skip
    """Layers at each point, of real functions or of the parts of complex ones."""
    if not parts:
        return mlp(lines, name, source, sizes, act, theirs, dropout=dropout, copies=copies)
    made = [
        mlp(
            lines, f"{name}_{part}", source, sizes, act, f"{theirs}{part}.",
            dropout=dropout, copies=2,
        )
        for part in PARTS
    ]  # fmt: skip
    return both_parts(lines, name, made[0], made[1], sizes[-1])


def _numbered(key: str, index: int) -> str:
    """`#` is the layer; `norm.#0` and `norm.#1` are its two norms, counted through."""
    before, found, rest = key.partition("norm.#")
    if not found or not rest[:1].isdigit():
        return key.replace("#", str(index))
    return f"{before}norm.{2 * index + int(rest[0])}{rest[1:]}"
