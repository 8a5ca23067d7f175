"""Reference of the settings of a run, from the models that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from opdsl.reference.docstrings import parse_docstring
from opdsl.reference.layout import described, markdown_table, page, wrapped
from opdsl.reference.value_types import default_text, type_text
from opdsl.train.config.schema import Settings

RESUME = {
    "free": "may change when a run is resumed",
    "fixed": "cannot change when a run is resumed",
    "moved": "another path is accepted when a run is resumed, if the content is equal",
}


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """What the reference says about one setting.

    Attributes:
        name: with its section: `optimizer.lr`.
        resume: `free`, `fixed` or `moved`, a key of `RESUME`.
        section: the first line about the section.
    """

    name: str
    type: str
    default: str
    resume: str
    meaning: str
    section: str


def setting_entries() -> tuple[SettingEntry, ...]:
    """Return every setting, in the order of `opdsl train --print-config`."""
    return tuple(_entries(Settings, ""))


def settings_page() -> str:
    """Build the Markdown page of all settings."""
    entries = setting_entries()
    sections = dict.fromkeys(x.name.rpartition(".")[0] for x in entries)
    parts = []
    for section in sections:
        inside = [x for x in entries if x.name.rpartition(".")[0] == section]
        rows = [(f"`{x.name}`", x.type, x.default, x.resume, x.meaning) for x in inside]
        table = markdown_table(("setting", "type", "default", "resume", "meaning"), rows)
        parts += [f"## {section or 'The run'}", inside[0].section if section else "", table]
    return page(
        "# Settings of a run",
        "A setting stands in the `train` block of a program, in a YAML file (`--config`), or after "
        "`--set`: `opdsl train model.op --set optimizer.lr=3e-4`. Of a setting that is given twice "
        "the later value is used. `opdsl train --print-config` shows every value and where it "
        "comes from; `opdsl schema train` prints the JSON schema.",
        "The column `resume` says whether the setting may change when a run is continued with "
        "`opdsl train --resume`:\n" + "\n".join(f"- `{k}`: {v}." for k, v in RESUME.items()),
        *parts,
    )


def setting_text(entry: SettingEntry) -> str:
    """Describe one setting for a terminal."""
    section, _, key = entry.name.rpartition(".")
    value = entry.default.strip("`")
    inside = f"{key} = ..."
    if section:
        inside = f"{section} {value} {{ ... }}" if key == "kind" else f"{section} {{ {inside} }}"
    return page(
        f"{entry.name}: {entry.type.replace('`', '')}; default {value}",
        wrapped(entry.meaning),
        f"Section: {entry.section}" if section else "",
        f"In a program:         train {{ {inside} }}\n"
        f"On the command line:  opdsl train SPEC --set {entry.name}=...",
        f"It {RESUME[entry.resume]}.",
    )


def section_text(section: str, entries: Sequence[SettingEntry]) -> str:
    """Describe the settings of a section for a terminal."""
    rows = [(x.name, f"{x.type}; default {x.default}".replace("`", ""), x.meaning) for x in entries]
    return page(f"{section}: a section of settings", wrapped(entries[0].section), described(rows))


def _entries(model: type[BaseModel], prefix: str) -> Iterator[SettingEntry]:
    doc = parse_docstring(model.__doc__)
    descriptions = doc.items.get("Attributes", {})
    schema: dict[str, Any] = model.model_json_schema()
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _entries(info.annotation, f"{prefix}{name}.")
            continue
        field = schema["properties"][name]
        yield SettingEntry(
            f"{prefix}{name}",
            type_text(field, schema.get("$defs", {})),
            default_text(field, required=info.is_required()),
            str(field.get("resume", "fixed")),
            descriptions.get(name) or field.get("description", ""),
            doc.summary,
        )
