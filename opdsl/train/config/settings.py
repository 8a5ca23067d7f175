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
from opdsl.setting import CallText, Setting
from opdsl.train.config.combinations import conflicts
from opdsl.train.config.kinds import WITH_KINDS, kinds_that_use, uses
from opdsl.train.config.optimization import ParameterGroup
from opdsl.train.config.schema import Settings
from opdsl.train.config.section import MemberOf, Section

SettingPath = tuple[str, ...]

DEFAULT = "default"
RATES_IN_TEXT = ("optimizer.lr", "optimizer.weight_decay", "schedule.max_lr", "clip")
KEYED = ("transforms", "groups")  # settings whose keys are names of the user's own


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
    settings_in_order = [_with_kind(x) for x in assignments]
    faults = [x for setting in settings_in_order for x in _faults_of(setting)]
    faults += _idle_keys(settings_in_order)
    if faults:
        raise OpError(*faults)
    last = _last(settings_in_order)
    settings = Settings.model_validate(_tree(last))
    late = [_warmup_fault(settings, last), *_combination_faults(settings, last)]
    if any(late):
        raise OpError(*filter(None, late))
    return ResolvedSettings(settings, {key: _origin(last, key) for key, _ in settings.rows()})


def _with_kind(given: Setting) -> Setting:
    """Read `optimizer = adam` as the setting `optimizer.kind`."""
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
    """Return the key that an error about the path points to; the first one in unknown sections."""
    if not given.keys:
        return None
    return given.keys[-1 if given.path[0] in Settings.model_fields else 0]


def _fields(path: SettingPath) -> Mapping[str, FieldInfo]:
    """The settings inside a section; empty for a path that names no section."""
    if not path:
        return Settings.model_fields
    field = Settings.model_fields.get(path[0]) if len(path) == 1 else None
    kind = field.annotation if field else None
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, Section) else {}


def _takes_keys(path: SettingPath) -> bool:
    """Return whether a setting has keys of its own, as in `data { fields { a = "nu" } }`."""
    if path[:2] == ("parallel", "space"):
        return True
    return path[0] == "data" and path[1] in {"fields", "axes", "windows", "masks"}


def _takes_calls(path: SettingPath) -> bool:
    """Return whether the texts of a setting are calls: `reflect(x)`, `clip(0, 1)`, `sample(a)`."""
    known = {("normalise", "outputs"), ("loss",), ("eval", "metrics")}
    return path[0] in {"symmetries", "transforms"} or path in known


def _unknown(given: Setting) -> Diagnostic | None:
    """Return OP0603 if the path names no setting."""
    if given.path[0] in KEYED:
        return _unknown_below_name(given)
    for depth, key in enumerate(given.path[:2]):
        fields = _fields(given.path[:depth])
        if key not in fields:
            return _no_such_key(given, depth, fields)
    if len(given.path) > 2 and not _takes_keys(given.path):
        return _no_such_key(given, 2, {})
    return None


def _unknown_below_name(given: Setting) -> Diagnostic | None:
    """Return OP0603 if the path behind a name of the user's own names no setting."""
    known = ParameterGroup.model_fields if given.path[0] == "groups" else {}
    if len(given.path) < 3 or (len(given.path) == 3 and given.path[2] in known):
        return None
    if len(given.path) > 3 and given.path[2] in known:
        return _no_such_key(given, 3, {})
    return _no_such_key(given, 2, known)


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
    """Yield a help with the full names of the settings that have this key in other sections."""
    names = [f"{s}.{key}" for s in Settings.model_fields if key in _fields((s,))]
    if key in Settings.model_fields:
        names.append(key)
    if names and key != "kind":
        yield "it stands elsewhere: " + ", ".join(f"`{x}`" for x in names)


def _bad(given: Setting) -> Diagnostic | None:
    """Return OP0604 if the value does not fit its setting."""
    if _fits(given):
        return None
    message = f"`{'.'.join(given.path)}` cannot be {_shown(given.value)}"
    values = _allowed(given.path)
    words = did_you_mean(given.value, _words(given.path)) if isinstance(given.value, str) else ()
    return _diagnostic("OP0604", message, given, given.span, [*words, f"it takes {values}"])


def _fits(given: Setting) -> bool:
    """Return whether the schema accepts a value; a call is no text of another setting."""
    if not _takes_calls(given.path) and _has_call(given.value):
        return False
    try:
        Settings.model_validate(_tree({given.path: given}))
    except ValidationError:
        return False
    return True


def _has_call(value: object) -> bool:
    """Return whether a value is a call, or a list with one in it."""
    if isinstance(value, list | tuple):
        return any(map(_has_call, value))
    return isinstance(value, CallText)


def _shown(value: object) -> str:
    """Format a value as the user would write it."""
    if isinstance(value, CallText):
        return str(value)
    if isinstance(value, list) and _has_call(value):
        return f"[{', '.join(map(_shown, value))}]"
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
    """Describe the values that a setting takes: `a number above 0`, `one of h1, l2`."""
    schema = Settings.model_json_schema()
    for key in path[: 1 if path[0] in KEYED else 2]:
        schema = _schema_of(schema["properties"][key], Settings.model_json_schema()["$defs"])
    return " or ".join(_in_words(schema))


def _schema_of(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    target: dict[str, Any] = defs[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    return target


def _in_words(schema: dict[str, Any]) -> Iterator[str]:
    if "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _in_words(option)
    elif "enum" in schema:
        yield "one of " + ", ".join(schema["enum"])
    elif "properties" in schema:
        yield "settings in braces: " + ", ".join(schema["properties"])
    elif schema.get("type") == "array":
        least = schema.get("minItems", 0)
        size = f" of {least}" if least else ""
        size += " or more" if least and least != schema.get("maxItems") else ""
        yield f"a list{size}, each " + " or ".join(_in_words(schema["items"]))
    elif "words" in schema:
        yield schema["words"]
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
    """Return the words that a setting chooses from, for suggestions of a spelling."""
    field = _fields(path[:-1]).get(path[-1])
    if field is None:
        return ()
    members = [y for x in field.metadata if isinstance(x, MemberOf) for y in x.registry.known()]
    return (*members, *(x for x in get_args(field.annotation) if isinstance(x, str)))


# ------------------------------------------------------------------------------- all assignments


def _idle_keys(given: Sequence[Setting]) -> Iterator[Diagnostic]:
    """Yield OP0603 for each key that the kind of its block does not use.

    A kind given later than the key starts the section anew: the key is dropped (see `_last`).
    """
    last = _last(given)
    for path, setting in last.items():
        if len(path) != 2 or path[0] not in WITH_KINDS:
            continue
        section, key = path
        kind = _kind(last, section)
        if not uses(section, kind, key):
            message = f"`{key}` has no effect in `{section} {kind}`"
            helps = [f"it belongs to {' and '.join(kinds_that_use(section, key))}"]
            yield _diagnostic("OP0603", message, setting, _key_span(setting), helps)


def _kind(last: Mapping[SettingPath, Setting], section: str) -> str:
    default: str = getattr(Settings(), section).kind
    return str(last[section, "kind"].value) if (section, "kind") in last else default


def _last(given: Sequence[Setting]) -> dict[SettingPath, Setting]:
    """Return the last setting of each path; a new kind drops keys that only the old one used."""
    last: dict[SettingPath, Setting] = {}
    for setting in given:
        if setting.path[-1] == "kind":
            section, kind = setting.path[0], str(setting.value)
            last = {p: x for p, x in last.items() if p[0] != section or uses(section, kind, p[-1])}
        last[setting.path] = setting
    return last


def _tree(last: Mapping[SettingPath, Setting]) -> dict[str, Any]:
    """Nest the settings in dictionaries, as the pydantic models read them."""
    tree: dict[str, Any] = {}
    for path, setting in last.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        rate = ".".join(path) in RATES_IN_TEXT and isinstance(setting.value, str)
        node[path[-1]] = _number(str(setting.value)) if rate else setting.value
    return tree


def _number(text: str) -> object:
    """Parse a number; YAML 1.1 reads `1e-3` as a text, since it has no dot."""
    try:
        return float(text)
    except ValueError:
        return text


def _origin(last: Mapping[SettingPath, Setting], key: str) -> str:
    """Return the origin of a setting; for a setting of many keys, that of the last key."""
    path = tuple(key.split("."))
    origins = [x.origin for p, x in last.items() if p[: len(path)] == path]
    return origins[-1] if origins else DEFAULT


def _warmup_fault(settings: Settings, last: Mapping[SettingPath, Setting]) -> Diagnostic | None:
    """Return OP0604 if the warmup is longer than the run, so that the rate never stops rising."""
    warmup, epochs = settings.schedule.warmup, settings.schedule.epochs
    if warmup is None or warmup <= epochs:
        return None
    setting = last["schedule", "warmup"]
    message = f"`schedule.warmup` is {warmup:g} epochs, but the run has only {epochs}"
    return _diagnostic("OP0604", message, setting, setting.span, [f"at most {epochs}"])


def _combination_faults(
    settings: Settings, last: Mapping[SettingPath, Setting]
) -> Iterator[Diagnostic]:
    """Yield OP0731 for each pair of settings that exclude each other."""
    for key, message, help_text in conflicts(settings):
        path = tuple(key.split("."))
        given = [x for p, x in last.items() if p[: len(path)] == path]
        if given:
            yield _diagnostic("OP0731", message, given[-1], given[-1].span, [help_text])
        else:
            yield Diagnostic("OP0731", message, (), (), (Help(help_text),))
