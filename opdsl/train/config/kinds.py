"""Which settings of a section have an effect for which kind of it."""

from opdsl.train.config.optimization import Optimizer
from opdsl.train.optimizers import OPTIMIZERS

# section -> setting -> the kinds that use it; every other setting suits every kind
_ONLY: dict[str, dict[str, tuple[str, ...]]] = {
    "schedule": {
        "final": (
            "linear",
            "cosine",
            "cosine_warm_restarts",
            "cyclic",
            "one_cycle",
            "plateau",
            "polynomial",
        ),
        "every": ("step", "exponential", "cosine_warm_restarts", "cyclic"),
        "gamma": ("step", "multistep", "exponential", "plateau"),
        "max_lr": ("one_cycle",),
        "milestones": ("multistep",),
        "power": ("polynomial",),
        "growth": ("cosine_warm_restarts",),
        "patience": ("plateau",),
        "min_change": ("plateau",),
        "cooldown": ("plateau",),
    },
    "average": {"decay": ("ema",), "start": ("swa",)},
    "balance": {
        "temperature": ("relobralo",),
        "smoothing": ("relobralo",),
        "lookback": ("relobralo",),
        "beta": ("softadapt",),
        "every": ("softadapt",),
    },
    "incremental": {
        "gap": ("loss_gap",),
        "explained": ("gradient",),
        "buffer": ("gradient",),
    },
}
_OF_OPTIMIZERS = Optimizer.model_fields.keys() - {"kind", "lr", "weight_decay"}

WITH_KINDS = ("optimizer", *_ONLY)  # sections with settings that only some kinds use


def uses(section: str, kind: str, key: str) -> bool:
    """Return whether a setting has an effect in a section of this kind; unknown kinds use all."""
    if section in _ONLY:
        return kind in _ONLY[section].get(key, (kind,))
    if section != "optimizer" or key not in _OF_OPTIMIZERS:
        return True
    entry = OPTIMIZERS.find(kind)
    return entry is None or key in entry.uses


def kinds_that_use(section: str, key: str) -> tuple[str, ...]:
    """Return the kinds of a section in which a setting has an effect."""
    kinds = OPTIMIZERS.known() if section == "optimizer" else _ONLY[section].get(key, ())
    return tuple(x for x in kinds if uses(section, x, key))
