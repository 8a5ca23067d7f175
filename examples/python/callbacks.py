"""Train with callbacks: one logs the norm of the weights, one ends the run that is good enough."""

import tempfile
from pathlib import Path

from waves import PROGRAM, waves

import opdsl


class WeightNorm(opdsl.Callback):
    """Adds the norm of the weights to each row of metrics.jsonl."""

    def on_epoch(self, run, _row):
        squares = sum(float(p.detach().abs().square().sum()) for p in run.module.parameters())
        run.log("weight_norm", squares**0.5)


class GoodEnough(opdsl.Callback):
    """Ends the run when the validation error is below a bound."""

    def __init__(self, bound):
        self.bound = bound

    def on_validation(self, run, metrics):
        if metrics.rel_l2 < self.bound:
            run.stop(f"the error is below {self.bound:g}")


with tempfile.TemporaryDirectory() as folder:
    run = opdsl.train(
        PROGRAM,
        data=waves(200, seed=0),
        out=Path(folder) / "run",
        epochs=60,
        callbacks=[WeightNorm(), GoodEnough(0.1)],
        **{"optimizer.lr": 5e-3},
    )
    last = run.metrics.history[-1]
    print(f"{last['epoch']} epochs, weight norm {last['callbacks']['weight_norm']:.3g}")
    error = run.evaluate(waves(50, seed=1))["32"].rel_l2
    print(f"error {error:.3f}")
