"""A settings file (`--config run.yaml`), read with the places of its keys and values.

The file is data: plain YAML without tags of its own. Aliases and repeated keys are refused, since
both hide what is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import Label, OpError, Source, Span, did_you_mean, fault
from opdsl.files import read_text
from opdsl.plain_yaml import LARGEST, TrapError, refuse_traps
from opdsl.setting import Setting

if TYPE_CHECKING:
    import yaml


def read_config(path: str) -> list[Setting]:
    """Read every value of the file, in its order.

    Raises:
        OpError: OP0605, the file is no YAML of plain settings.
    """
    source = Source(path, _text(path))
    import yaml

    try:
        _refuse_traps(source)
        loader = yaml.SafeLoader(source.text)
        root = loader.get_single_node()
        return [] if root is None else list(_flat(loader, source, root, ()))
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(source, error) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = (str(error).splitlines() or ["it cannot be read"])[0]
        raise fault("OP0605", f"this is no YAML: {reason}", file=path) from error


def _text(path: str) -> str:
    """Read the text of the file."""
    try:
        text = read_text(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    if len(text) > LARGEST:
        message = f"a settings file has at most {LARGEST:,} characters, this one has {len(text):,}"
        raise fault("OP0605", message, file=path)
    return text


def _unreadable(path: str, error: Exception) -> OpError:
    reason = (error.strerror or "") if isinstance(error, OSError) else "it is not a UTF-8 text"
    folder = Path(path).parent
    near = [x.name for x in folder.iterdir()] if folder.is_dir() else []
    helps = did_you_mean(Path(path).name, near)
    message = f"cannot read the settings: {reason.lower()}"
    return fault("OP0605", message, helps=helps, file=path)


def _refuse_traps(source: Source) -> None:
    """Refuse aliases, which make a small file large, and deep nesting, which makes one slow."""
    import yaml

    try:
        refuse_traps(source.text)
    except TrapError as error:
        place = _span(source, error.event)
        if isinstance(error.event, yaml.AliasEvent):
            label = Label(place, "write the value out")
            raise fault("OP0605", "a settings file has no aliases", label) from error
        message = "this is too deeply nested for settings"
        raise fault("OP0605", message, Label(place, "here")) from error


def _flat(
    loader: yaml.SafeLoader, source: Source, node: yaml.Node, above: tuple[tuple[str, Span], ...]
) -> Iterator[Setting]:
    """Yield every value below a node."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        label = Label(_span(source, node), "expected `key: value`")
        raise fault("OP0605", "this is not a tree of settings", label)
    spans: dict[str, Span] = {}
    for key_node, node_below in node.value:
        key, place = _key(source, key_node), _span(source, key_node)
        if key in spans:
            labels = Label(place, "again here"), Label(spans[key], "first here")
            raise fault("OP0605", f"`{key}` is given twice", *labels)
        spans[key] = place
        path = (*above, (key, place))
        if isinstance(node_below, yaml.MappingNode) and node_below.value:
            yield from _flat(loader, source, node_below, path)
            continue
        value: Any = loader.construct_object(node_below, deep=True)
        origin = f"{source.name}:{place.line}"
        names, places = zip(*path, strict=True)
        yield Setting(names, value, origin, _span(source, node_below), places)


def _key(source: Source, node: yaml.Node) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        label = Label(_span(source, node), "expected a word")
        raise fault("OP0605", "a key is a word", label)
    return str(node.value)


def _span(source: Source, place: Any) -> Span:
    """Return the characters of a node or an event, without the white space that YAML includes."""
    start, end = place.start_mark.index, place.end_mark.index
    return source.span(start, start + len(source.text[start:end].rstrip()))


def _no_yaml(source: Source, error: yaml.MarkedYAMLError) -> OpError:
    mark = error.problem_mark or error.context_mark
    reason = error.problem or error.context or "it cannot be read"
    label = (Label(source.span(mark.index, mark.index + 1), "here"),) if mark else ()
    return fault("OP0605", f"this is no YAML of plain settings: {reason}", *label, file=source.name)
