"""One layer of neuraloperator's `FNOBlocks` as a block definition, with the sources of its weights.

FNO, SFNO, UNO and others consist of these layers.

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
HIDDEN = 512  # width of the network of an adaptive norm
PARTS = ("fr", "fi")  # neuraloperator's names of the two parts of a layer of complex functions


@dataclass(frozen=True, slots=True)
class Local:
    """Terms that a layer of LocalNO adds to the spectral convolution, as lines of a program.

    Attributes:
        terms: (name, call) of each term, with `#` for the input.
        takes: sources of the weights; the names of those of a term begin with its name.
        least: number of points on each axis that the terms need.
    """

    terms: tuple[tuple[str, str], ...]
    takes: tuple[WeightSource, ...]
    least: int = 1


@dataclass(frozen=True, slots=True)
class Layer:
    """The options of one layer.

    Attributes:
        modes: numbers of modes as neuraloperator counts them, on both sides.
        inward, out: input and output channels of each copy.
        act: the activation, a word of ours.
        closing: whether the activation follows; the last layer of a stack has none.
        changes: whether the result is on another grid.
        wrong: whether faults of neuraloperator are kept.
        spherical: whether the convolution is that of `sphere`.
        complex: whether functions are complex, stored as real parts before imaginary ones.
        local: the terms of LocalNO, whose layers without an MLP have one activation and norm less.
        copies: number of groups of channels on which the layer acts separately.
        condition: components of the vector from which `norm = ada_in` computes scale and shift; 0
            without that norm.
        waves: whether these are sines, then cosines, which alternate in neuraloperator.
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
    condition: int = 0
    waves: bool = False

    def definition(self, name: str) -> str:
        """Write the definition of the layer as the block `name`."""
        kind = "sphere" if self.spherical else "grid"
        to = [f"domain to : {kind} = D"] if self.changes else []
        where = "to" if self.changes else "D"
        ports = [
            f"domain D : {kind}",
            *to,
            *([] if self.preactivation else [f"param act : activation = {self.act}"]),
            f"input v : D -> R^{self.inward * self.wide}",
            *([f"input z : R^{self.condition}"] if self.condition else []),
            f"output w : {where} -> R^{self.out * self.wide}",
        ]
        return block(name, "one layer of neuraloperator's FNO", ports, self._lines().text("w"))

    @property
    def wide(self) -> int:
        """Number of groups of `inward` (`out`) channels: the two complex parts, or the copies."""
        return 2 if self.complex else self.copies

    @property
    def kind(self) -> Layer:
        """Key of the definition: equal for layers that can share one."""
        return self if self.preactivation else replace(self, closing=True)

    @property
    def closed(self) -> str | None:
        """The setting `act` of a call of this layer; None where the default is right."""
        return None if self.preactivation or self.closing else "identity"

    def takes(self, path: str, theirs: str, index: int = 0) -> Iterator[WeightSource]:
        """Yield the sources of its weights: at `path` here, layer `index` at `theirs` there."""
        for x in self._lines().taken("w", path, theirs):
            yield WeightSource(x.ours, tuple(_numbered(y, index) for y in x.theirs), x.change)

    def _lines(self) -> Lines:
        lines = Lines()
        source = "v"
        if self.preactivation:
            source = lines.add("a", call("apply", source, self.act))
            source = self._normed(lines, "an", source, 0)
        skips = "local_no_skips.#." if self.local else "fno_skips.#."
        skip_source = (
            lines.add(f"{source}_to", self._moved(source)) if self._moves_first else source
        )
        skip = self._skipped(lines, "s", skip_source, self.fno_skip, skips)
        gate = None
        if self.mlp is not None:
            gate = self._skipped(lines, "g", skip_source, self.mlp_skip, "channel_mlp_skips.#.")
        if self.stabilizer:
            source = lines.add("u", call("apply", source, "tanh"))
        result = self._convolved(lines, source)
        result = self._with_local(lines, result, source)
        if not self.preactivation:
            result = self._normed(lines, "kn", result, 0)
        if skip:
            result = lines.add("h", f"{result} + {skip}")
        if self.local:
            return self._ended(lines, result, gate)
        result = self._activated(lines, "ha", result)
        if self.preactivation:
            result = self._normed(lines, "hn", result, 1)
        if self.mlp is not None:
            result = network(
                lines, "m", result, (self.mlp, self.out), "gelu", "channel_mlp.#.",
                dropout=self.dropout, copies=self.copies, parts=self.complex,
            )  # fmt: skip
            result = lines.add("mg", f"{result} + {gate}") if gate else result
        if not self.preactivation:
            result = self._normed(lines, "mn", result, 1)
            self._activated(lines, "wa", result)
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
        """Add the end of a layer of LocalNO, with an activation before the MLP in any case."""
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
        """Add norm number `which` (0 or 1) of the layer, if it has norms."""
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
        # a layer of LocalNO without an MLP has one norm
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
        """Add a norm of complex functions, which has one norm for each of the two parts."""
        inner = "norm." if kind == "batch" else ""
        expression = call("norm", source, kind=kind, groups=groups, copies=2)
        parts = []
        for part in PARTS:
            takes = [weight(f"norm.#{which}.{part}.{inner}{x}", ours=x) for x in keys]
            parts.append(lines.add(f"{name}_{part}", expression, *shared(2, *takes)))
        return both_parts(lines, name, parts[0], parts[1], self.out)

    def _adapted(self, lines: Lines, name: str, source: str, theirs: str) -> str:
        """Add a norm whose scale and shift are computed from a vector by a network."""
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
        """Add a skip connection and move it to the grid of the result; None if there is none."""
        if kind is None:
            return None
        if kind == "linear" and self.stencil > 1 and name == "s":
            expression = call(
                "conv", source, out=self.out, kernel=self.stencil, bias=False, edges="zeros"
            )
            result = lines.add(name, expression, weight(theirs + "weight", "stencil"))
        elif kind == "identity":
            # neuraloperator's wrapper for complex functions maps v to (1 + i) v
            same = both_parts(lines, name, source, source, self.out) if self.complex else source
            result = same
        else:
            out = self.out if kind == "linear" else None
            inner, change = ("conv.", "matrix") if kind == "linear" else ("", "flat")
            expression = call("skip", source, kind=SKIPS[kind], out=out, copies=several(self.wide))
            if self.complex:
                parts = [
                    lines.add(
                        f"{name}_{part}",
                        expression,
                        *shared(2, weight(f"{theirs}{part}.{inner}weight", change)),
                    )
                    for part in PARTS
                ]
                result = both_parts(lines, name, parts[0], parts[1], self.out)
            else:
                take = weight(theirs + inner + "weight", change)
                result = lines.add(name, expression, *shared(self.copies, take))
        if not self.changes or self._moves_first:
            return result
        return lines.add(f"{name}_to", self._moved(result))

    @property
    def _moves_first(self) -> bool:
        """Whether the input of skips is resampled, and not their results.

        neuraloperator resamples the results. Pointwise maps commute with it, and resampling once
        for both skips, with fewer channels, is less work.
        """
        both = self.fno_skip is not None and self.mlp is not None and self.mlp_skip is not None
        return self.changes and both and self.stencil == 1 and self.inward <= self.out

    def _moved(self, source: str) -> str:
        """Write the call that resamples to the grid of the result."""
        return call("resample", source, to="to", kind=self._way())

    def _way(self) -> str | None:
        """Kind of resampling of a skip: neuraloperator's faulty one, or None for the exact one."""
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
        # neuraloperator's bias is real
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
        """Whether the convolution reproduces a fault of neuraloperator."""
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
    """Add a pointwise MLP of real functions, or one for each of the parts of complex ones."""
    if not parts:
        return mlp(lines, name, source, sizes, act, theirs, dropout=dropout, copies=copies)
    halves = [
        mlp(
            lines, f"{name}_{part}", source, sizes, act, f"{theirs}{part}.",
            dropout=dropout, copies=2,
        )
        for part in PARTS
    ]  # fmt: skip
    return both_parts(lines, name, halves[0], halves[1], sizes[-1])


def _numbered(key: str, index: int) -> str:
    """Insert the layer index i: `#` -> i, `norm.#0` -> `norm.{2 i}`, `norm.#1` -> the next."""
    prefix, separator, suffix = key.partition("norm.#")
    if not separator or not suffix[:1].isdigit():
        return key.replace("#", str(index))
    return f"{prefix}norm.{2 * index + int(suffix[0])}{suffix[1:]}"
