"""The section `node_precision` of the settings: nodes with a precision of their own."""

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BeforeValidator

from opdsl.train.config.paths import matches
from opdsl.train.config.section import FREE, Section, texts

PathList = Annotated[list[str], BeforeValidator(texts), FREE]
MIXABLE = ("fp32", "mixed", "bf16", "bf16_spectral", "fp16", "fp16_spectral")  # weights in float32


class NodePrecision(Section):
    """`node_precision { fp32 = ["project"] bf16 = ["lift"] }`: nodes that differ from `precision`.

    A path is that of a node or of a part of the model, or the end or the middle of one, with `*`
    for any letters. Of several precisions that a node fits, the first of this list counts.

    Attributes:
        fp32: paths of nodes without autocast.
        bf16: paths of nodes whose products are in bfloat16.
        bf16_spectral: the same, and transforms of Fourier layers too.
        fp16: paths of nodes whose products are in float16; the loss is scaled.
        fp16_spectral: the same, and transforms of Fourier layers too.
    """

    fp32: PathList = []  # noqa: RUF012  pydantic copies it
    bf16: PathList = []  # noqa: RUF012  pydantic copies it
    bf16_spectral: PathList = []  # noqa: RUF012  pydantic copies it
    fp16: PathList = []  # noqa: RUF012  pydantic copies it
    fp16_spectral: PathList = []  # noqa: RUF012  pydantic copies it

    def used(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the precisions that have paths, with these."""
        for name in type(self).model_fields:
            if paths := getattr(self, name):
                yield name, paths

    def of(self, nodes: Iterable[str]) -> dict[str, str]:
        """Return the precision of each node that has one of its own, by the path of the node."""
        result: dict[str, str] = {}
        for node in nodes:
            for name, paths in self.used():
                if any(matches(x, node) for x in paths):
                    result.setdefault(node, name)
        return result
