"""Generated data sets, each checked by its generator before the file exists."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from opdsl.data.generate import GENERATORS, GeneratedFile, Generator, Option
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import did_you_mean, fault

__all__ = ["GENERATORS", "Generator", "Option", "generate_dataset"]


def generate_dataset(
    name: str,
    out: str | PathLike[str],
    *,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> GeneratedFile:
    """Compute a data set and write it to a file.

    Args:
        name: of the generator, see `opdsl data generate --help`.
        out: the file to make or to replace.
        seed: two files of one seed hold the same functions.
        progress: is called with the samples done and all samples.
        options: of the generator, `resolution` and `samples` among them; others have their
            default values.

    Raises:
        OpError: OP0604, no such generator, or an option does not fit; OP0617, a check failed;
            OP0625, the file cannot be written.
    """
    generator = GENERATORS.find(name.replace("-", "_"))
    if generator is None:
        names = GENERATORS.known()
        helps = (*did_you_mean(name, names), f"the generators are: {', '.join(names)}")
        raise fault("OP0604", f"there is no generator `{name}`", helps=helps)
    _refuse_bad_options(name, generator, options)
    defaults = {x.name: x.default for x in generator.options if x.default is not None}
    return generator.generate(out=Path(out), seed=seed, progress=progress, **defaults | options)


def _refuse_bad_options(name: str, generator: Generator, options: dict[str, Any]) -> None:
    options_by_name = {x.name: x for x in generator.options}
    unknown = [x for x in options if x not in options_by_name]
    missing = [k for k, x in options_by_name.items() if x.default is None and not x.optional]
    missing = [x for x in missing if x not in options]
    if unknown or missing:
        wrong = f"has no option `{unknown[0]}`" if unknown else f"needs the option `{missing[0]}`"
        helps = (f"its options are: {', '.join(options_by_name)}",)
        raise fault("OP0604", f"the generator `{name}` {wrong}", helps=helps)
