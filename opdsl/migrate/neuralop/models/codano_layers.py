"""The blocks of the layers of a CODANO, each kind defined once."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.migrate.neuralop.draft import WeightSource
from opdsl.migrate.neuralop.layer import Layer
from opdsl.migrate.neuralop.layer_weights import NEWEST
from opdsl.migrate.neuralop.models.codano_spec import CODANOSpec
from opdsl.migrate.neuralop.writing import (
    Lines,
    block,
    call,
    several,
    shared,
    weight,
)

PLACE = "CodaLayer"  # placeholder of a name that is not known yet


class Blocks:
    """The definitions of all layers, each kind once.

    Attributes:
        texts: texts of the definitions; those that others use come first.
    """

    def __init__(self, built: CODANOSpec) -> None:
        self.built = built
        self.texts: list[str] = []
        self.operators: dict[Layer, str] = {}
        self.bodies: dict[str, str] = {}

    def of(self, i: int) -> str:
        """Return the name of the block of layer i, and define it if it is new."""
        text = self._definition(i)
        if text not in self.bodies:
            self.bodies[text] = f"CodaLayer{len(self.bodies) + 1}"
            self.texts.append(text.replace(PLACE, self.bodies[text], 1))
        return self.bodies[text]

    def takes(self, i: int) -> Iterator[WeightSource]:
        """Yield the sources of the weights of layer i."""
        theirs = f"attention_layers.{i}."
        yield from self._lines(i).taken("w", f"layer_{i}.", theirs)
        for ours, part, layer, index in self._parts(i):
            yield from layer.takes(f"layer_{i}.{ours}.", f"{theirs}{part}.", index)

    def _definition(self, i: int) -> str:
        built = self.built
        channels = built.functions * built.hidden
        changes = built.levels.changes(i)
        ports = [
            "domain D : grid",
            *(["domain to : grid = D"] if changes else []),
            *(["domain coarse : grid = D"] if built.coarser(i) > 1 else []),
            f"input v : D -> R^{channels}",
            f"output w : {'to' if changes else 'D'} -> R^{channels}",
        ]
        text = self._lines(i).text("w")
        return block(PLACE, "one layer of neuraloperator's CODANO", ports, text)

    def _operator(self, layer: Layer) -> str:
        if layer.kind not in self.operators:
            name = f"Operator{len(self.operators) + 1}"
            self.operators[layer.kind] = name
            self.texts.append(layer.kind.definition(name))
        return self.operators[layer.kind]

    def _parts(self, i: int) -> Iterator[tuple[str, str, Layer, int]]:
        """Yield the Fourier layers: names here and there, the layer, and its index there."""
        built = self.built
        token, wide = built.token, built.heads(i) * built.head
        for ours, part in (("key", "Key"), ("query", "Query"), ("value", "Value")):
            yield ours, part, built.operator(i, part, token, wide), 0
        if wide != token:
            yield "one", "multi_head_proj", built.operator(i, "multi_head_proj", wide, token), 0
        for index in (0, 1):
            layer = built.operator(i, "mixer", token, token, index)
            yield f"mixed_{index}", "mixer", layer, index

    def _lines(self, i: int) -> Lines:
        built, lines = self.built, Lines()
        parts = {ours: layer for ours, _, layer, _ in self._parts(i)}

        def operate(ours: str, x: str) -> str:
            layer = parts[ours]
            to = "coarse" if layer.changes else None
            return lines.add(ours, call(self._operator(layer), x, to=to, act=layer.closed))

        n = self._normed(lines, "n", "v", "norm1")
        seen = call(
            "codomain_attention",
            *(operate(x, n) for x in ("query", "key", "value")),
            variables=built.tokens,
            heads=several(built.heads(i)),
            temperature=None if built.layer.temperature == 1 else float(built.layer.temperature),
            faults=None if built.corrected else NEWEST,
        )
        x = lines.add("seen", seen)
        x = operate("one", x) if "one" in parts else x
        a = self._normed(lines, "a", lines.add("sum", f"{x} + v"), "attention_normalizer")
        m = self._normed(lines, "m", a, "mixer_in_normalizer")
        m = operate("mixed_1", operate("mixed_0", m))
        m = self._normed(lines, "z", m, "mixer_out_normalizer")
        result = lines.add("both", f"{m} + {a}")
        if built.levels.changes(i):
            kind = None if built.corrected else "cubic"
            lines.add("moved", call("resample", result, to="to", kind=kind))
        return lines

    def _normed(self, lines: Lines, name: str, x: str, theirs: str) -> str:
        """Add a norm of each channel of a token, with a scale and shift that all tokens share."""
        built = self.built
        if built.layer.norm is None:
            return x
        expression = call(
            "norm", x, kind="group", groups=several(built.token), copies=several(built.tokens)
        )
        takes = (weight(f"{theirs}.{y}", ours=y) for y in ("weight", "bias"))
        return lines.add(name, expression, *shared(built.tokens, *takes))
