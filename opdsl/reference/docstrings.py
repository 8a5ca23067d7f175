"""Google-style docstrings as data: summary, prose, example programs, sections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from textwrap import dedent

SECTION = re.compile(
    r"(Attributes|Args|Returns|Yields|Raises|Sources?|Examples?|Notes?):(?:[ \t]+(.*))?$"
)
ITEM = re.compile(r"(\*{0,2}[A-Za-z_]\w*(?:, \*{0,2}[A-Za-z_]\w*)*)(?: \(.*?\))?:(?:\s+(.*))?$")
FENCE = "```"


@dataclass(frozen=True, slots=True)
class Docstring:
    """The parts of a docstring.

    Attributes:
        summary: the first paragraph, on one line.
        prose: the other paragraphs, Markdown, without example programs and sections.
        programs: the text of each ```op fence.
        items: for each section the described names with their texts, such as
            `items["Attributes"]["modes"]`.
        texts: each section as plain text, indentation removed.
    """

    summary: str
    prose: str
    programs: tuple[str, ...] = ()
    items: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The cited source on one line, or an empty text."""
        return _one_line(self.texts.get("Source", ""))


def parse_docstring(text: str | None) -> Docstring:
    """Split a docstring into its parts; any text is accepted."""
    prose, sections = _split(cleandoc(text or "").splitlines())
    programs, paragraphs = _take_programs(prose)
    summary, _, body = "\n".join(paragraphs).strip().partition("\n\n")
    return Docstring(
        summary=_one_line(summary),
        prose=re.sub(r"\n{3,}", "\n\n", body).strip(),
        programs=tuple(programs),
        items={name: _items(lines) for name, lines in sections.items()},
        texts={name: dedent("\n".join(lines)).strip() for name, lines in sections.items()},
    )


def _split(lines: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the lines of the prose, and the lines of each section."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    fenced = inline = False
    for line in lines:
        fenced ^= line.lstrip().startswith(FENCE)
        header = None if fenced else SECTION.match(line)
        if header:
            current = sections.setdefault(
                header[1].removesuffix("s") if header[1] in PLURAL else header[1], []
            )
            inline = bool(header[2])
            if header[2]:
                current.append(header[2])
        elif current is not None and _continues(line, inline=inline):
            current.append(line.strip() if inline else line)
        else:
            current = None
            prose.append(line)
    return prose, sections


PLURAL = frozenset({"Sources", "Examples", "Notes"})


def _continues(line: str, *, inline: bool) -> bool:
    """Return whether a line belongs to the section above it.

    Text that starts on the line of the header ends with an empty line, an indented section with
    the next line that is not indented.
    """
    return bool(line.strip()) if inline else not line.strip() or line[0] in " \t"


def _take_programs(lines: list[str]) -> tuple[list[str], list[str]]:
    """Separate the ```op programs from the other lines."""
    programs: list[str] = []
    prose: list[str] = []
    program: list[str] | None = None
    for line in lines:
        if program is None and line.strip() == f"{FENCE}op":
            program = []
        elif program is not None and line.strip() == FENCE:
            programs.append(dedent("\n".join(program)).strip() + "\n")
            program = None
        else:
            (prose if program is None else program).append(line)
    return programs, prose


def _items(lines: list[str]) -> dict[str, str]:
    """Collect the texts of a section by name; `a, b: text` describes both names."""
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    for line in dedent("\n".join(lines)).splitlines():
        item = ITEM.match(line)
        if item:
            names = [x.strip() for x in item[1].split(",")]
            texts |= {name: [item[2] or ""] for name in names}
        else:
            for name in names:
                texts[name].append(line.strip())
    return {name: _one_line(" ".join(parts)) for name, parts in texts.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())
