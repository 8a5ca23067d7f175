"""Everything that can be said of a file of programs before it runs.

`opdsl check` is called at every save of an editor, so this module imports little, and settings only
for a program that has some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opdsl.compiler import CheckResult, check_each, read, train_settings
from opdsl.diagnostics import Diagnostic, OpError, Source
from opdsl.elaborate import models

if TYPE_CHECKING:
    from opdsl.diagnostics.codes import Level
    from opdsl.train.config.symmetries import Symmetry

NO_MODEL = "OP0210"  # a file without a model: a file of blocks to be imported is valid


def read_source(path: str) -> tuple[Source, Path]:
    """Read a program or a graph, and return its folder with it.

    Raises:
        OpError: OP0202, the file cannot be read.
    """
    source, folder = read(Path(path))
    return source, folder or Path()


def check_file(
    source: Source, folder: Path, levels: Mapping[str, Level] | None = None
) -> list[Diagnostic]:
    """Return the diagnostics of each model of a file, of its blocks and of its settings.

    Args:
        source: the text of the file.
        folder: where its imports are.
        levels: `allow`, `warn` or `deny` for warnings, by code.
    """
    diagnostics: dict[Diagnostic, None] = {}
    has_model = False
    for check_result in check_each(source, folder=folder, levels=levels):
        has_model = bool(models(check_result.file))
        diagnostics |= dict.fromkeys(check_result.diagnostics)
        if check_result.graph:
            diagnostics |= dict.fromkeys(_errors_of_settings(check_result, folder))
            diagnostics |= dict.fromkeys(_errors_of_equations(check_result, folder))
    return [x for x in diagnostics if has_model or x.code != NO_MODEL]


def _errors_of_equations(checked: CheckResult, folder: Path) -> Iterator[Diagnostic]:
    from opdsl.syntax.tree import Equation

    if any(isinstance(x, Equation) for x in checked.file.items):
        from opdsl.workflow.losses.terms import check_equations

        for error in check_equations(checked.file, checked.sound(), folder):
            yield from error.diagnostics


def _errors_of_settings(checked: CheckResult, folder: Path) -> Iterator[Diagnostic]:
    settings = train_settings(checked)
    if not settings:
        return  # the models of the settings take a while to import
    from opdsl.train.config.loss_section import is_registered
    from opdsl.train.config.settings import resolve

    try:
        resolved = resolve(settings)
        graph, given = checked.sound(), resolved.settings
        symmetries: tuple[Symmetry, ...] = ()
        if given.symmetries:
            from opdsl.workflow.programs.symmetries import declared_symmetries

            symmetries = declared_symmetries(graph, resolved)
        if given.transforms or given.normalise != type(given.normalise)():
            from opdsl.workflow.programs.transforms import refuse_bad_transforms

            refuse_bad_transforms(graph, given, symmetries)
        if any(x.path[0] == "node_precision" for x in settings):
            from opdsl.workflow.programs.node_precision import refuse_bad_node_precision

            refuse_bad_node_precision(graph, given)
        if given.patches.used:
            from opdsl.workflow.programs.patches import refuse_bad_patches

            refuse_bad_patches(graph, given)
        elif isinstance(given.parallel.space, dict):
            from opdsl.ir.sharding.choice import resolve_space

            resolve_space(graph, given.parallel.space, 1, given.batch)
        if given.eval.metrics or not is_registered(given.loss):
            from opdsl.workflow.losses.terms import typed_losses

            typed_losses(graph, given, checked.file, folder)
    except OpError as error:
        yield from error.diagnostics


def lint_levels(allow: Sequence[str], warn: Sequence[str], deny: Sequence[str]) -> dict[str, Level]:
    """Return the level of each warning by its code.

    Args:
        allow, warn, deny: names of warnings.

    Raises:
        KeyError: a warning that does not exist; its name is the argument.
    """
    from opdsl.checks.levels import chosen

    return dict(chosen(allow, warn, deny))


def lint_names() -> list[str]:
    """Return the names of all warnings."""
    from opdsl.checks.instructions import LINTS

    return list(LINTS)
