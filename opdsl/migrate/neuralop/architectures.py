"""The models of neuraloperator that can be imported: how to read their arguments and draft them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opdsl.migrate.neuralop.draft import ConstructorOptions, Draft, Shapes
from opdsl.migrate.neuralop.models.codano import codano
from opdsl.migrate.neuralop.models.codano_options import CODANOOptions, codano_arguments
from opdsl.migrate.neuralop.models.fno import fno
from opdsl.migrate.neuralop.models.fno_options import FNOOptions, SFNOOptions, TFNOOptions
from opdsl.migrate.neuralop.models.fnogno import FNOGNOOptions, fnogno
from opdsl.migrate.neuralop.models.gino import GINOOptions, gino
from opdsl.migrate.neuralop.models.gno_block import GNOBlockOptions, gno_block, gno_block_arguments
from opdsl.migrate.neuralop.models.integral_transform import (
    IntegralTransformOptions,
    integral_transform,
    integral_transform_arguments,
)
from opdsl.migrate.neuralop.models.local_no import LocalNOOptions, local_no
from opdsl.migrate.neuralop.models.otno import OTNOOptions, otno
from opdsl.migrate.neuralop.models.rno import RNOOptions, rno
from opdsl.migrate.neuralop.models.uno import UNOOptions, uno, uno_arguments
from opdsl.migrate.neuralop.models.uqno import UQNOOptions, uqno, uqno_arguments


class Drafter(Protocol):
    """Writes the program of checked options."""

    def __call__(self, name: str, o: Any, shapes: Shapes, *, corrected: bool) -> Draft:
        """Return the draft; `shapes` are those of neuraloperator's weights, empty without any."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A class of neuraloperator.

    Attributes:
        options: the arguments of its constructor.
        draft: writes the program.
        arguments: recovers the constructor's arguments from a module that does not keep all of
            them; None for a class that does.
    """

    options: type[ConstructorOptions]
    draft: Drafter
    arguments: Callable[[Any], Mapping[str, Any]] | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "CODANO": Architecture(CODANOOptions, codano, codano_arguments),
    "FNO": Architecture(FNOOptions, fno),
    "FNOGNO": Architecture(FNOGNOOptions, fnogno),
    "GINO": Architecture(GINOOptions, gino),
    "GNOBlock": Architecture(GNOBlockOptions, gno_block, gno_block_arguments),
    "IntegralTransform": Architecture(
        IntegralTransformOptions, integral_transform, integral_transform_arguments
    ),
    "LocalNO": Architecture(LocalNOOptions, local_no),
    "OTNO": Architecture(OTNOOptions, otno),
    "RNO": Architecture(RNOOptions, rno),
    "SFNO": Architecture(SFNOOptions, fno),
    "TFNO": Architecture(TFNOOptions, fno),
    "UNO": Architecture(UNOOptions, uno, uno_arguments),
    "UQNO": Architecture(UQNOOptions, uqno, uqno_arguments),
}
