"""Signatures as the page of the Python API prints them."""

import opdsl
from opdsl.reference.python_api import python_page, signature_text


def example(a: int, /, b: "str | None" = None, *rest: float, c: bool = True, **more: object) -> int:
    return len([a, b, rest, c, more])


def only_by_name(a: int, *, b: "opdsl.diagnostics.OpError" = 1) -> None:
    pass


def test_a_signature_has_types_defaults_and_stars():
    assert signature_text("f", example) == (
        "f(a: int, b: str | None = None, *rest: float, c: bool = True, **more: object) -> int"
    )


def test_a_star_stands_before_parameters_by_name_and_modules_are_left_out():
    assert signature_text("f", only_by_name) == "f(a: int, *, b: OpError = 1) -> None"


def test_every_public_name_is_on_the_page():
    page = python_page()
    assert [f"### opdsl.{x}\n" in page for x in opdsl.__all__ if not x.startswith("_")] == [
        True
    ] * (len(opdsl.__all__) - 1)
    assert " at 0x" not in page
