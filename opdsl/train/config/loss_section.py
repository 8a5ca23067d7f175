"""What the settings `loss` and `eval.metrics` take: a name, or an expression of errors.

The expression itself is checked against the model by `opdsl.workflow.losses`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from opdsl.train.config.section import MemberOf
from opdsl.train.losses import LOSSES

EXAMPLE = "rel_l2(u) + 0.1 * rel_h1(u)"
FUNCTION = re.compile(r"function\((\w+)\)")  # of a loss that is a function of Python


class LossName(MemberOf):
    """Annotation of a text that is the name of a loss, of an error, or an expression."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the setting as a choice among names, or an expression."""
        names = super().__get_pydantic_json_schema__(schema, handler)
        words = f"an expression such as `{EXAMPLE}`"
        return {"anyOf": [names, {"type": "string", "pattern": r"\(", "words": words}]}

    def _refuse_unknown(self, name: str) -> str:
        if "(" in name or _is_error(name):
            return str(name)
        return super()._refuse_unknown(name)


def function_name(loss: str) -> str | None:
    """Return the name of the function of Python that is the loss; None for all other losses."""
    match = FUNCTION.fullmatch(loss)
    return match[1] if match else None


def is_registered(loss: str) -> bool:
    """Return whether a loss is a name that is no expression: `l2`, or one of another package."""
    return loss.isidentifier() and (loss in LOSSES.names() or not _is_error(loss))


def _is_error(name: str) -> bool:
    """Return whether a name is that of an error of expressions and of no loss."""
    if name in LOSSES.names():
        return False
    from opdsl.train.losses.expressions.catalogue import ERRORS  # on the way of `check`

    return name in ERRORS


def _texts(value: Any) -> Any:
    """Convert one expression to a list of it, and calls to plain texts."""
    if value is None or value == "none":
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        return value
    return [str(x) if isinstance(x, str) else x for x in values]


MetricTexts = Annotated[
    list[str],
    BeforeValidator(_texts),
    Field(json_schema_extra={"resume": "free", "words": f"a list of expressions: [{EXAMPLE}]"}),
]
LossText = Annotated[str, LossName(LOSSES)]
