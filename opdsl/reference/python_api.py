"""Reference of the Python API: signatures and docstrings of the public names of opdsl."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any

import opdsl
from opdsl.reference.docstrings import Docstring, parse_docstring
from opdsl.reference.layout import fence, markdown_table, page

SECTIONS = ("Args", "Attributes", "Raises")
STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def python_page() -> str:
    """Build the Markdown page of every name in `opdsl.__all__`."""
    names = [x for x in opdsl.__all__ if not x.startswith("_")]
    objects = {name: getattr(opdsl, name) for name in names}
    functions = {k: x for k, x in objects.items() if not inspect.isclass(x)}
    classes = {k: x for k, x in objects.items() if inspect.isclass(x)}
    return page(
        "# Python API",
        "The public names of `import opdsl`. Nothing here prints; mistakes raise `opdsl.OpError` "
        "with their diagnostics. A name is imported when it is first used: torch is loaded only by "
        "the names that need it.",
        "\n".join(f"- [`opdsl.{x}`](#{_anchor(f'opdsl.{x}')})" for x in objects),
        "## Functions",
        *(_function(f"opdsl.{k}", x) for k, x in functions.items()),
        "## Classes",
        *(_class(f"opdsl.{k}", x) for k, x in classes.items()),
    )


def signature_text(name: str, thing: Callable[..., Any], *, bound: bool = False) -> str:
    """Format a signature: `opdsl.load(path_or_text: str | Path, ...) -> Graph`.

    Args:
        name: the name to print.
        thing: a function, or a class whose constructor is meant.
        bound: whether the first parameter, `self`, is left out.
    """
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):  # a class that is written in C has no signature
        return name
    parameters = list(signature.parameters.values())[int(bound) :]
    texts = list(_parameters(parameters))
    result = "" if inspect.isclass(thing) else _annotation(signature.return_annotation, " -> ")
    flat = f"{name}({', '.join(texts)}){result}"
    if len(flat) <= 96:
        return flat
    lines = "".join(f"\n    {x}," for x in texts)
    return f"{name}({lines}\n){result}"


def _function(name: str, thing: Callable[..., Any], *, bound: bool = False, level: int = 3) -> str:
    return page(
        f"{'#' * level} {name}",
        fence("python", signature_text(name, thing, bound=bound)),
        *_described(parse_docstring(inspect.getdoc(thing))),
    )


def _class(name: str, cls: type[Any]) -> str:
    doc = parse_docstring(inspect.getdoc(cls))
    methods, properties = _members(cls)
    rows = [(f"`{k}`", parse_docstring(x.__doc__).summary) for k, x in properties]
    short = name.rpartition(".")[2]
    return page(
        f"### {name}",
        fence("python", f"class {signature_text(name, cls)}"),
        *_described(doc),
        markdown_table(("property", "meaning"), rows) if rows else "",
        *(_function(f"{short}.{k}", x, bound=_is_bound(cls, k), level=4) for k, x in methods),
    )


def _members(cls: type[Any]) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Yield the public methods and properties that opdsl defines for a class."""
    methods, properties = [], []
    owners = [x for x in cls.__mro__ if x.__module__.startswith("opdsl.")]
    members = {k: v for x in reversed(owners) for k, v in vars(x).items() if not k.startswith("_")}
    for name, value in members.items():
        if isinstance(value, property) or type(value).__name__ == "cached_property":
            properties.append((name, value))
        elif isinstance(value, classmethod | staticmethod):
            methods.append((name, value.__func__))
        elif inspect.isfunction(value):
            methods.append((name, value))
    return methods, properties


def _is_bound(cls: type[Any], name: str) -> bool:
    return not isinstance(inspect.getattr_static(cls, name), staticmethod)


def _described(doc: Docstring) -> Iterator[str]:
    """Convert a docstring to paragraphs and sections of Markdown."""
    yield doc.summary
    yield _with_fenced_examples(doc.prose)
    for section in SECTIONS:
        rows = [(f"`{k}`", x) for k, x in doc.items.get(section, {}).items()]
        if rows:
            word = {"Args": "argument", "Attributes": "attribute", "Raises": "raises"}[section]
            yield markdown_table((word, "meaning"), rows)
    if "Returns" in doc.texts:
        yield f"Returns: {' '.join(doc.texts['Returns'].split())}"
    if "Example" in doc.texts:
        text = doc.texts["Example"]
        yield text if "```" in text else fence("python", text)
    if doc.source:
        yield f"Source: {doc.source}"


def _with_fenced_examples(prose: str) -> str:
    """Fence the paragraphs that are interactive sessions (`>>> ...`)."""
    paragraphs = prose.split("\n\n")
    return "\n\n".join(fence("pycon", x) if x.startswith(">>> ") else x for x in paragraphs)


def _parameters(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    """Yield each parameter with type and default, and `*` and `/` at their places."""
    starred = False
    for x in parameters:
        if x.kind is x.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred |= x.kind is x.VAR_POSITIONAL
        stars = STARS.get(x.kind, "")
        default = "" if x.default is x.empty else f" = {_value(x.default)}"
        yield f"{stars}{x.name}{_annotation(x.annotation, ': ')}{default}"


def _annotation(annotation: Any, prefix: str) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return prefix + re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", text.strip("'\""))


def _value(value: Any) -> str:
    """Format a default as source, without addresses, which change from run to run."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    text = repr(value)
    return "..." if " at 0x" in text or text.startswith("<") or len(text) > 40 else text


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
