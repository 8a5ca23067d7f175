"""Settings that change while a run goes on: which may, which did, and from which step on.

A setting says itself whether it may change (`schema.FREE`, `FIXED`, `MOVED`). What changed is
kept in every checkpoint, so that the record and the weights are always of one moment, and for
readers in `changes.jsonl`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opdsl.diagnostics import Diagnostic, Help, OpError, fault
from opdsl.files import read_text, write_whole
from opdsl.train.config.data_section import NO_PATHS
from opdsl.train.config.schema import Settings
from opdsl.train.config.section import Section
from opdsl.train.config.settings import KEYED

CHANGES = "changes.jsonl"

FlatSettings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one setting while the run went on.

    Attributes:
        step, epoch: finished steps and epochs at the time of the change.
        setting: its dotted name.
        before, after: its values.
        rates: of the next step with the settings before and after, where they differ.
    """

    step: int
    epoch: int
    setting: str
    before: Any
    after: Any
    rates: tuple[float, float] | None = None

    def __str__(self) -> str:
        """Format the change: `schedule.epochs` 12 -> 30 from step 120 on."""
        text = f"`{self.setting}` {self.before} -> {self.after} from step {self.step} on"
        if self.rates:
            text += f" (learning rate {self.rates[1]:.3g} instead of {self.rates[0]:.3g})"
        return text

    def data(self) -> dict[str, Any]:
        """Convert the change to a dictionary of JSON values, for checkpoints."""
        return asdict(self) | {"rates": list(self.rates) if self.rates else None}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Change":
        """Rebuild a change from its `data`."""
        return cls(**{**data, "rates": tuple(data["rates"]) if data["rates"] else None})


def on_resume(key: str) -> str:
    """Return whether a setting may change: `free`, `fixed` or `moved`, as it is declared."""
    fields = Settings.model_fields
    section, _, name = key.rpartition(".")
    if section:
        kind = fields[section].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        fields = kind.model_fields
    extra = fields[name].json_schema_extra
    return str(extra["resume"]) if isinstance(extra, dict) else ""


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten `{"optimizer": {"lr": 1}}` to `{"optimizer.lr": 1}`; all values are those of JSON."""
    sections = {s: v for s, v in settings.items() if isinstance(v, dict) and s not in KEYED}
    flattened = {f"{s}.{k}": v for s, section in sections.items() for k, v in section.items()}
    return {k: v for k, v in settings.items() if k not in sections} | flattened


def as_flat(settings: Settings) -> dict[str, Any]:
    """Return the value of every setting, as in JSON, by its dotted name."""
    return flat(settings.model_dump(mode="json"))


def differences(before: FlatSettings, after: FlatSettings) -> dict[str, tuple[Any, Any]]:
    """Return both values of each setting that changed; settings missing in `before` are ignored."""
    pairs = {k: (before[k], v) for k, v in after.items() if k in before}
    return {k: pair for k, pair in pairs.items() if pair[0] != pair[1]}


def refuse_fixed(before: FlatSettings, after: FlatSettings, run: Path) -> None:
    """Refuse changes of settings that a resumed run has to keep.

    Raises:
        OpError: OP0629 for each setting that must not change.
    """
    changes = differences(before, after)
    diagnostics = [
        _refused(key, *pair, run) for key, pair in changes.items() if not _may(key, *pair)
    ]
    if diagnostics:
        raise OpError(*diagnostics)


def _may(key: str, before: Any, after: Any) -> bool:
    rule = on_resume(key)
    return rule == "free" or (rule == "moved" and _is_path(before) and _is_path(after))


def _is_path(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value not in NO_PATHS)


def _refused(key: str, before: Any, after: Any, run: Path) -> Diagnostic:
    return not_changed(key, before, after, run, f"{key}={setting_text(after)}")


def not_changed(key: str, before: Any, after: Any, run: Path, text: str) -> Diagnostic:
    """Make the OP0629 for one setting or parameter that must not change.

    Args:
        text: what `--set` takes in another run.
    """
    was, now = setting_text(before), setting_text(after)
    message = f"`{key}` is {was} in this run and cannot become {now} while the run goes on"
    helps = (
        f"leave it out: the run goes on with {was}",
        f"or begin another run with its weights: `--from {run} --set {text}`",
    )
    return Diagnostic("OP0629", message, (), (), tuple(Help(x) for x in helps), file=str(run))


def setting_text(value: Any) -> str:
    """Format a value as `--set` reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {setting_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(setting_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def refuse_fewer_epochs(epochs: int, finished: int, position: int, run: Path) -> None:
    """Refuse a number of epochs below that of the epoch which has begun.

    Raises:
        OpError: OP0629.
    """
    least = finished + (position > 0)
    if epochs >= least:
        return
    message = f"`schedule.epochs` cannot become {epochs}: the run has begun epoch {least}"
    helps = (f"at least {least}", f"or begin another run: `--from {run}`")
    raise fault("OP0629", message, helps=helps, file=str(run))


def write_changes(run: Path, changes: Sequence[Change]) -> None:
    """Write all changes up to now as lines of JSON; without changes no file is written.

    Raises:
        OSError: it could not be written.
    """
    if changes or (run / CHANGES).exists():
        lines = (json.dumps(x.data()) + "\n" for x in changes)
        write_whole(run / CHANGES, "".join(lines).encode())


def read_changes(run: Path) -> list[Change]:
    """Read the changes of a run, oldest first; the result is empty if the file cannot be read."""
    try:
        lines = read_text(run / CHANGES).splitlines()
        return [Change.of(json.loads(x)) for x in lines]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def between(
    before: FlatSettings,
    after: FlatSettings,
    step: int,
    epoch: int,
    rates: Mapping[str, tuple[float, float]],
) -> Iterator[Change]:
    """List the changes from one set of settings to another.

    Args:
        rates: by setting, where it changes the learning rate.
    """
    for key, pair in differences(before, after).items():
        yield Change(step, epoch, key, *pair, rates.get(key))
