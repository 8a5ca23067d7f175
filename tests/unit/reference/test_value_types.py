"""Types in words."""

import pytest
from pydantic import BaseModel, Field, PositiveInt

from opdsl.reference.value_types import default_text, type_text


class Example(BaseModel):
    count: PositiveInt
    modes: int | tuple[int, ...] | None = None
    share: float = Field(default=0.5, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    shape: tuple[int, float] = (1, 2.0)
    betas: list[float] = Field(default=[0.9, 0.99], min_length=2, max_length=2)
    on: bool = True


SCHEMA = Example.model_json_schema()["properties"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "integer ≥ 1"),
        ("modes", "integer or list of integer"),
        ("share", "number > 0 and ≤ 1"),
        ("seed", "integer ≥ 0 and < 2^63"),
        ("shape", "(integer, number)"),
        ("betas", "2 × number"),
        ("on", "`true` or `false`"),
    ],
)
def test_a_schema_is_said_in_words(name, text):
    assert type_text(SCHEMA[name]) == text


def test_words_are_listed():
    assert type_text({"enum": ["a", "b", "c"]}) == "`a`, `b` or `c`"


def test_a_reference_is_looked_up():
    assert type_text({"$ref": "#/$defs/Domain"}) == "domain"
    assert type_text({"$ref": "#/$defs/X"}, {"X": {"enum": ["a"]}}) == "`a`"


def test_defaults_are_as_a_program_writes_them():
    assert default_text(SCHEMA["count"], required=True) == "required"
    assert default_text(SCHEMA["modes"], required=False) == "none"
    assert default_text(SCHEMA["betas"], required=False) == "`[0.9, 0.99]`"
    assert default_text(SCHEMA["on"], required=False) == "`true`"
