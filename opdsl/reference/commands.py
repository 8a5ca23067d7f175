"""Reference of the commands, from the objects that parse them.

The root command is an argument, so that this module does not import the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opdsl.reference.layout import described, fence, markdown_table, page

Command = Any  # a command of click, which some versions of typer contain
EXAMPLE = "Example: "


def leaf_commands(root: Command, name: str = "opdsl") -> Iterator[tuple[str, Command]]:
    """Yield every command that is no group, with its words: `opdsl data generate darcy`."""
    for word, command in getattr(root, "commands", {}).items():
        full = f"{name} {word}"
        if getattr(command, "commands", None) is None:
            yield full, command
        else:
            yield from leaf_commands(command, full)


def commands_page(root: Command) -> str:
    """Build the Markdown page of all commands."""
    commands = list(leaf_commands(root))
    links = [f"- [`{x}`](#{x.replace(' ', '-')})" for x, _ in commands]
    return page(
        "# Commands",
        "Every command prints results to stdout, progress and diagnostics to stderr. Exit codes: 0 "
        "success, 1 run failed, 2 usage, 3 program, 4 data, 5 too large, 6 diverged, 130 and 143 "
        "signals.",
        "\n".join(links),
        *(_section(name, command) for name, command in commands),
    )


def usage(name: str, command: Command) -> str:
    """Return the usage in one line: `opdsl check [OPTIONS] FILE...`."""
    arguments = [_metavar(x) for x in command.params if not _is_option(x)]
    options = ["[OPTIONS]"] if any(map(_is_option, command.params)) else []
    return " ".join([name, *options, *arguments])


def command_text(name: str, command: Command) -> str:
    """Describe one command for a terminal."""
    text, examples = _help(command)
    rows = [(_names(x), "", _meaning(x)) for x in command.params]
    return page(
        usage(name, command),
        text,
        "\n".join(f"    {x}" for x in examples),
        described(rows) if rows else "",
    )


def _section(name: str, command: Command) -> str:
    text, examples = _help(command)
    rows = [(f"`{_names(x)}`", _meaning(x)) for x in command.params]
    return page(
        f"## {name}",
        fence("text", usage(name, command)),
        text,
        fence("console", "\n".join(f"$ {x}" for x in examples)) if examples else "",
        markdown_table(("argument or option", "meaning"), rows) if rows else "",
    )


def _help(command: Command) -> tuple[str, tuple[str, ...]]:
    """Split the help of a command into its text and its example command lines."""
    paragraphs = (command.help or "").split("\n\n")
    examples = [x for x in paragraphs if x.startswith(EXAMPLE)]
    text = "\n\n".join(x for x in paragraphs if x not in examples)
    return text, tuple(" ".join(x.removeprefix(EXAMPLE).split()) for x in examples)


def _is_option(parameter: Command) -> bool:
    return any(x.startswith("-") for x in parameter.opts)


def _names(parameter: Command) -> str:
    """Format the names: `-o, --out FILE`, `--plan / --no-plan`, or the name of an argument."""
    if not _is_option(parameter):
        return _metavar(parameter)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        names += f" / {', '.join(parameter.secondary_opts)}"
    return names if getattr(parameter, "is_flag", False) else f"{names} {_metavar(parameter)}"


def _metavar(parameter: Command) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _meaning(parameter: Command) -> str:
    default = parameter.default
    has_default = (
        default is not None and default not in (False, (), [], "") and not callable(default)
    )
    value = getattr(default, "value", default)
    return f"{parameter.help or ''}{f' Default: {value}.' if has_default else ''}".strip()
