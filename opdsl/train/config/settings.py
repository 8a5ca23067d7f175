"""Resolve the settings of a run from every place that gives some: train block, files, options.

Later settings win, and the origin of each value is recorded. All mistakes are collected and raised
together. No torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Span, did_you_mean
from opdsl.setting import Setting
from opdsl.train.config.schema import MemberOf, Section, Settings, kinds_that_use, uses

SettingPath = tuple[str, ...]

DEFAULT = "default"
WITH_KINDS = ("optimizer", "schedule")  # sections of which some settings suit some kinds only
RATES_IN_TEXT = ("optimizer.lr", "optimizer.weight_decay", "schedule.max_lr", "clip")


@dataclass(frozen=True)
class ResolvedSettings:
    """Settings and their origins: `origins["optimizer.lr"]`, `default` where nobody set it."""

    settings: Settings
    origins: dict[str, str]

    def explain(self) -> list[tuple[str, Any, str]]:
        """Rows (key, value, origin) of every setting, for `--print-config` and the report."""
        return [(key, value, self.origins[key]) for key, value in self.settings.rows()]


def resolve(assignments: Sequence[Setting]) -> ResolvedSettings:
    """Validate and merge settings; later ones win.

    Raises:
        OpError: OP0603 for each unknown key, OP0604 for each value that does not fit.
    """
    given = [_with_kind(x) for x in assignments]
    faults = [x for each in given for x in _faults_of(each)]
    faults += _idle_keys(given)
    if faults:
        raise OpError(*faults)
    last = _last(given)
    settings = Settings.model_validate(_tree(last))
    if late := _warmup_fault(settings, last):
        raise OpError(late)
    return ResolvedSettings(settings, {key: _origin(last, key) for key, _ in settings.rows()})


def _with_kind(given: Setting) -> Setting:
    """`optimizer = adam` says the kind of the section."""
    if len(given.path) == 1 and "kind" in _fields(given.path) and isinstance(given.value, str):
        path = (*given.path, "kind")
        return replace(given, path=path)
    return given


# ------------------------------------------------------------------------------ one assignment


def _faults_of(given: Setting) -> Iterator[Diagnostic]:
    if unknown := _unknown(given):
        yield unknown
    elif bad := _bad(given):
        yield bad


def _key_span(given: Setting) -> Span | None:
    """The key that an error about the path points to: the section, if there is none such."""
    if not given.keys:
        return None
    return given.keys[-1 if given.path[0] in Settings.model_fields else 0]


def _fields(path: SettingPath) -> Mapping[str, FieldInfo]:
    """The settings inside a section; empty for a path that is none."""
    if not path:
        return Settings.model_fields
    field = Settings.model_fields.get(path[0]) if len(path) == 1 else None
    kind = field.annotation if field else None
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, Section) else {}


def _takes_keys(path: SettingPath) -> bool:
    """Whether the user names the keys below: `data { fields { a = "nu" } }`."""
    return path[:2] == ("data", "fields")


def _unknown(given: Setting) -> Diagnostic | None:
    """OP0603 if the path leads nowhere."""
    for depth, key in enumerate(given.path[:2]):
        known = _fields(given.path[:depth])
        if key not in known:
            return _no_such_key(given, depth, known)
    if len(given.path) > 2 and not _takes_keys(given.path):
        return _no_such_key(given, 2, {})
    return None


def _no_such_key(given: Setting, depth: int, known: Mapping[str, FieldInfo]) -> Diagnostic:
    key, section = given.path[depth], ".".join(given.path[:depth])
    if key == "kind" and known:
        message = f"`{section}` takes no word behind its name"
    elif not known:
        message = f"`{section}` is one value and has no setting `{key}`"
    else:
        message = f"there is no setting `{key}`" + (f" in `{section}`" if section else "")
    helps = [*_elsewhere(key), *did_you_mean(key, known)][:1]
    if known:
        owner = f" of `{section}`" if section else ""
        helps.append(f"the settings{owner} are: {', '.join(known)}")
    return _diagnostic("OP0603", message, given, _key_span(given), helps)


def _elsewhere(key: str) -> Iterator[str]:
    """The full name of a key that stands in another section."""
    found = [f"{s}.{key}" for s in Settings.model_fields if key in _fields((s,))]
    if key in Settings.model_fields:
        found.append(key)
    if found and key != "kind":
        yield "it stands elsewhere: " + ", ".join(f"`{x}`" for x in found)


def _bad(given: Setting) -> Diagnostic | None:
    """OP0604 if the value does not fit its setting."""
    try:
        Settings.model_validate(_tree({given.path: given}))
    except ValidationError:
        message = f"`{'.'.join(given.path)}` cannot be {_shown(given.value)}"
        allowed = _allowed(given.path)
        words = (
            did_you_mean(given.value, _words(given.path)) if isinstance(given.value, str) else ()
        )
        return _diagnostic("OP0604", message, given, given.span, [*words, f"it takes {allowed}"])
    return None


def _shown(value: object) -> str:
    """The value as the user would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _diagnostic(
    code: str, message: str, given: Setting, span: Span | None, helps: Sequence[str]
) -> Diagnostic:
    labels = (Label(span),) if span else ()
    file = None if span else given.origin
    return Diagnostic(code, message, labels, (), tuple(Help(x) for x in helps), file=file)


# ------------------------------------------------------------------------- what a setting takes


def _allowed(path: SettingPath) -> str:
    """The values of a setting in words: `a number above 0`, `one of h1, l2`."""
    schema = Settings.model_json_schema()
    for key in path[:2]:
        schema = _schema_of(schema["properties"][key], Settings.model_json_schema()["$defs"])
    return " or ".join(_in_words(schema))


def _schema_of(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = defs[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    return found


def _in_words(schema: dict[str, Any]) -> Iterator[str]:
    if "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _in_words(each)
    elif "enum" in schema:
        yield "one of " + ", ".join(schema["enum"])
    elif "properties" in schema:
        yield "settings in braces: " + ", ".join(schema["properties"])
    elif schema.get("type") == "array":
        size = f" of {schema['minItems']}" if "minItems" in schema else ""
        yield f"a list{size}, each " + " or ".join(_in_words(schema["items"]))
    elif "pattern" in schema:
        yield "auto, cpu, mps, cuda or cuda:0, cuda:1 ..."
    else:
        nouns = {"integer": "a whole number", "number": "a number", "string": "a text"}
        nouns |= {"null": "none", "object": "settings in braces"}
        yield nouns[schema["type"]] + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    signs = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "up to"}
    signs |= {"exclusiveMaximum": "below"}
    parts = [f"{word} {schema[key]:g}" for key, word in signs.items() if key in schema]
    return "".join(f" {x}" for x in parts)


def _words(path: SettingPath) -> tuple[str, ...]:
    """The words a setting chooses from, for did-you-mean."""
    field = _fields(path[:-1]).get(path[-1])
    if field is None:
        return ()
    members = [y for x in field.metadata if isinstance(x, MemberOf) for y in x.registry.known()]
    return (*members, *(x for x in get_args(field.annotation) if isinstance(x, str)))


# ------------------------------------------------------------------------------- all assignments


def _idle_keys(given: Sequence[Setting]) -> Iterator[Diagnostic]:
    """OP0603 for a key that the kind of its block does not use.

    A kind given later than the key starts the section anew: the key is dropped (see `_last`).
    """
    last = _last(given)
    for path, each in last.items():
        if len(path) != 2 or path[0] not in WITH_KINDS:
            continue
        section, key = path
        kind = _kind(last, section)
        if not uses(section, kind, key):
            message = f"`{key}` has no effect in `{section} {kind}`"
            helps = [f"it belongs to {' and '.join(kinds_that_use(section, key))}"]
            yield _diagnostic("OP0603", message, each, _key_span(each), helps)


def _kind(last: Mapping[SettingPath, Setting], section: str) -> str:
    default: str = getattr(Settings(), section).kind
    return str(last[section, "kind"].value) if (section, "kind") in last else default


def _last(given: Sequence[Setting]) -> dict[SettingPath, Setting]:
    """The last word on each path; a new kind forgets what only the old kind used."""
    last: dict[SettingPath, Setting] = {}
    for each in given:
        if each.path[-1] == "kind":
            section, kind = each.path[0], str(each.value)
            last = {p: x for p, x in last.items() if p[0] != section or uses(section, kind, p[-1])}
        last[each.path] = each
    return last


def _tree(last: Mapping[SettingPath, Setting]) -> dict[str, Any]:
    """Nested dictionaries, as the models read them."""
    tree: dict[str, Any] = {}
    for path, each in last.items():
        at = tree
        for key in path[:-1]:
            at = at.setdefault(key, {})
        rate = ".".join(path) in RATES_IN_TEXT and isinstance(each.value, str)
        at[path[-1]] = _number(str(each.value)) if rate else each.value
    return tree


def _number(text: str) -> object:
    """`1e-3` in YAML is a text (YAML 1.1 asks for a dot); where a number belongs it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _origin(last: Mapping[SettingPath, Setting], key: str) -> str:
    """Where a setting comes from; for a setting of many keys, the last one given."""
    path = tuple(key.split("."))
    found = [x.origin for p, x in last.items() if p[: len(path)] == path]
    return found[-1] if found else DEFAULT


def _warmup_fault(settings: Settings, last: Mapping[SettingPath, Setting]) -> Diagnostic | None:
    """OP0604 if the rate would never stop rising."""
    warmup, epochs = settings.schedule.warmup, settings.schedule.epochs
    if warmup is None or warmup <= epochs:
        return None
    given = last["schedule", "warmup"]
    message = f"`schedule.warmup` is {warmup:g} epochs, but the run has only {epochs}"
    return _diagnostic("OP0604", message, given, given.span, [f"at most {epochs}"])
