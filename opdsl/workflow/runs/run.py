"""A trained run: predictions in physical units, errors, weights, settings and metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule
from opdsl.train.config.schema import Settings
from opdsl.train.metrics.calibrate import Calibration
from opdsl.train.run.metrics_log import read_metrics
from opdsl.workflow.datasets.reading.in_memory import TrainingData
from opdsl.workflow.errors import Warn, warn_in_python
from opdsl.workflow.runs.calibration import CalibrationReport
from opdsl.workflow.runs.evaluation import Report
from opdsl.workflow.runs.operator import Operator
from opdsl.workflow.runs.prediction import predict

if TYPE_CHECKING:
    from opdsl.workflow.adapt import Adaptation
    from opdsl.workflow.compression.compress import Compression
    from opdsl.workflow.training.progress import Progress

MOST = 100  # characters of a folder in the text of a run


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The errors of a run.

    Attributes:
        tests: a row for each test set, of the stored weights.
        valid: a row for each validation set.
        history: a row for each epoch, the oldest first.
        best_epoch: the epoch of the stored weights, None if they are the last.
    """

    tests: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    history: list[dict[str, Any]]
    best_epoch: int | None


@dataclass(eq=False, repr=False)
class Run:
    """A trained model with its weights; `opdsl.train` and `opdsl.open_run` return one.

    Attributes:
        folder: of the run.
        graph: of its program.
        settings: with which it was trained.
        operator: the trained model in physical units, a torch module.
        calibration: of the band around predictions; None if these weights have none.
        epoch: after which the weights were saved; None if no checkpoint says it.
        notes: what a user should know of the folder, a sentence each.
        about: the content of `opdsl.json`: versions, fingerprints, where the data are.
        device: where predictions are computed.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(16, 1, 16)).astype("float32")
    >>> run = opdsl.train(PROGRAM, data={"a": a, "u": a}, epochs=1, out=FOLDER / "identity")
    >>> run.predict(a).shape
    (16, 1, 16)
    >>> sorted(run.metrics.history[0])[:3]
    ['epoch', 'grad_norm', 'lr']
    """

    folder: Path
    graph: Graph
    settings: Settings
    operator: Operator
    calibration: Calibration | None = None
    epoch: int | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def module(self) -> OperatorModule:
        """The module alone, between normalised values."""
        return self.operator.module

    @property
    def metrics(self) -> RunMetrics:
        """The errors at the end of training, and of each epoch."""
        history = read_metrics(self.folder)
        end = self.about.get("finished")
        if isinstance(end, Mapping):
            return RunMetrics(end["tests"], end["valid"], history, end["best_epoch"])
        row = next((x for x in history if x["epoch"] == self.epoch), {})
        tests = [{"set": k, **x} for k, x in row.get("tests", {}).items()]
        return RunMetrics(tests, [], history, self.epoch)

    def predict(
        self,
        /,
        *inputs: Any,
        batch: int | None = None,
        steps: int | None = None,
        tile: Mapping[str, int] | int | None = None,
        **named: Any,
    ) -> Any:
        """Apply the trained model to physical values, without gradients.

        Args:
            inputs: tensors or arrays (batch, channels, *grid), in the order of the model's inputs,
                or one dictionary of all. On points that each sample has of its own, a list with
                (channels, points) of each sample, or `Packed`.
            batch: samples at a time; as in training if not given.
            steps: steps in time of a model with feedback; as in training if not given. An input
                that no training file had begins at zero.
            tile: points of a tile on each axis, or by the name of the axis, for local models on
                large grids.
            named: inputs by name, and coordinates of points by the name of their domain: (points,
                d), (batch, points, d), a `Geometry`, or a list with one of these for each sample.

        Returns:
            (batch, channels, *grid) in physical units, (batch, steps, channels, *grid) with steps;
            a dictionary by name where there are several outputs, or a band, whose edges are
            `u_lower` and `u_upper`. Arrays of NumPy if the inputs are, else tensors on the device
            of the first input; a list for a list.

        Raises:
            OpError: OP0901 to OP0907, the inputs do not fit the program; OP0652, it cannot be
                applied in tiles.

        >>> import numpy as np, opdsl
        >>> run = opdsl.open_run(RUN)
        >>> sizes = [(x.name, x.space.channels) for x in run.graph.inputs]
        >>> a = np.zeros((2, sizes[0][1], 16, 16), "float32")
        >>> run.predict(a).shape
        (2, 1, 16, 16)
        """
        return predict(self, inputs, named, batch=batch, steps=steps, tile=tile)

    def evaluate(
        self,
        data: TrainingData | Sequence[TrainingData] | None = None,
        *,
        resolutions: Sequence[int | tuple[int, ...]] = (),
        split: str | None = None,
        warn: Warn = warn_in_python,
    ) -> Report:
        """Measure the errors of the run on data, in physical units.

        Args:
            data: a file, functions by name, a `torch.utils.data.Dataset`, or a list of these; the
                test data of the run if not given, or its validation data if it has no others.
            resolutions: points on each axis at which to measure; as in the data if not given.
            split: the part of a folder, `train`, `valid` or `test`.
            warn: receives warnings about the data; they are issued as `OpWarning` if not given.

        Raises:
            OpError: OP0610 to OP0615, the data are not there or do not fit.

        >>> import numpy as np, opdsl
        >>> a = np.random.default_rng(0).normal(size=(16, 1, 16)).astype("float32")
        >>> run = opdsl.train(PROGRAM, data={"a": a, "u": a}, epochs=1, out=FOLDER / "evaluate")
        >>> report = run.evaluate({"a": a, "u": a})
        >>> 0 < report["16"].rel_l2 < 2
        True
        """
        from opdsl.workflow.runs.measurements import evaluate_run

        return evaluate_run(self, data, resolutions, split, warn)

    def adapt(
        self,
        data: TrainingData,
        *,
        loss: str | None = None,
        steps: int = 100,
        lr: float = 1e-3,
        warn: Warn = warn_in_python,
    ) -> Adaptation:
        """Fine-tune the model on each input by the equations of its loss, and predict it.

        No solution is needed: terms that compare with the truth are left out. Each sample begins
        with the weights of the run, which stay as they are.

        Args:
            data: a file, or functions by the names of the inputs, (samples, channels, *grid).
            loss: an expression; the loss of the run if not given.
            steps: of Adam, for each sample.
            lr: the learning rate at the start; it falls to 0 as a cosine.
            warn: receives warnings about the data; they are issued as `OpWarning` if not given.

        Raises:
            OpError: OP0610 to OP0615, the inputs do not fit; OP0620, the loss is not finite; OP0700
                to OP0708, the expression is wrong; OP0724, no term can do without the truth.

        >>> import numpy as np, opdsl
        >>> f = np.random.default_rng(0).normal(size=(9, 1, 16)).astype("float32")
        >>> run = opdsl.train(PROGRAM, data={"a": f, "u": f}, epochs=1, out=FOLDER / "adapted")
        >>> adapted = run.adapt({"a": f[:2]}, loss="mse(u - a)", steps=5)
        >>> adapted.after[0] < adapted.before[0]
        True
        """
        from opdsl.workflow.adapt import adapt

        return adapt(self, data, loss=loss, steps=steps, rate=lr, warn=warn)

    def calibrate(
        self,
        data: TrainingData,
        *,
        test: TrainingData | Sequence[TrainingData] | None = None,
        alpha: float | None = None,
        delta: float = 0.1,
        skip: int = 0,
        samples: int | None = None,
        split: str | None = None,
        warn: Warn = warn_in_python,
    ) -> CalibrationReport:
        """Calibrate the band around predictions, for a run that has learnt a width.

        Of new functions a part of 1 - delta has 1 - alpha of its points within the band. The band
        is stored in the folder of the run, and `predict` returns its edges from now on.

        Args:
            data: samples that no weights were learnt from or chosen by.
            test: where to measure the coverage; the test data of the run if not given.
            alpha: part of the points outside; as in training if not given.
            delta: part of the functions with more points outside.
            skip: samples of `data` to leave out at the beginning.
            samples: how many of the others to use, all if not given.
            split: the part of a folder, `train`, `valid` or `test`.
            warn: receives warnings about the data.

        Raises:
            OpError: OP0604, the run has no band; OP0613, the samples are too few.

        >>> import opdsl
        >>> opdsl.open_run(BAND).calibrate(BAND_DATA).calibration.of
        'y'
        """
        from opdsl.workflow.runs.measurements import calibrate_run

        report = calibrate_run(
            self,
            data,
            test=test,
            alpha=alpha,
            delta=delta,
            skip=skip,
            samples=samples,
            split=split,
            warn=warn,
        )
        self.calibration = report.calibration
        return report

    def report(
        self,
        data: TrainingData | Sequence[TrainingData] | None = None,
        *,
        out: str | os.PathLike[str] | None = None,
        warn: Warn = warn_in_python,
    ) -> Path:
        """Write the report page of the run: diagram, errors, curves, pictures and settings.

        Args:
            data: of which samples are shown; as for `evaluate`.
            out: the file to write, `report.html` in the folder of the run if not given.
            warn: receives warnings about the data.

        Returns:
            The file.

        Raises:
            OpError: OP0610 to OP0615, the data are not there or do not fit.

        >>> import numpy as np, opdsl
        >>> a = np.random.default_rng(0).normal(size=(16, 1, 16)).astype("float32")
        >>> run = opdsl.train(PROGRAM, data={"a": a, "u": a}, epochs=1, out=FOLDER / "report")
        >>> run.report({"a": a, "u": a}).name
        'report.html'
        """
        from opdsl.workflow.runs.measurements import write_report_of

        return write_report_of(self, data, None if out is None else Path(out), warn)

    def compress(
        self,
        out: str | os.PathLike[str],
        *,
        factor: str = "tucker",
        rank: float | int | tuple[int, ...] = 0.1,  # noqa: PYI041  an int is another kind of rank
        only: Sequence[str] = (),
        epochs: int | None = None,
        lr: float | None = None,
        data: TrainingData | None = None,
        valid: TrainingData | float | None = None,
        test: TrainingData | Sequence[TrainingData] | None = None,
        progress: Progress | None = None,
        warn: Warn = warn_in_python,
    ) -> Compression:
        """Decompose the spectral weights, train a few epochs more, and compare the errors.

        Each dense weight becomes a product of small tensors. The decomposed model is written to
        `OUT-decomposed`, and the fine-tuned one, which begins with its weights, to `out`.

        Args:
            out: the folder of the compressed run.
            factor: `tucker` (HOSVD and HOOI), `cp` (ALS) or `tt` (TT-SVD).
            rank: the numbers of the factors as a part of those of a dense weight; or the ranks
                themselves, one whole number for all or one for each.
            only: paths of layers or of parts of the model, `["repeat.0"]`; all if there are none.
            epochs: of the fine-tuning, a tenth of those of the run if not given; with 0 there is
                none, and `out` is the decomposed model.
            lr: learning rate of the fine-tuning; that of the run if not given.
            data, valid: to learn from, as for `opdsl.train`; those of the run if not given.
            test: where errors are measured; the test data of the run if not given, or its
                validation data if it has no others.
            progress: called after each epoch, as for `opdsl.train`.
            warn: receives warnings about the data.

        Raises:
            OpError: OP0762, no weight can be decomposed; OP0763, factor or rank do not fit; OP0624,
                the folder is not empty; OP0610, the data are gone.

        >>> import numpy as np, opdsl
        >>> run = opdsl.open_run(RUN)
        >>> small = run.compress(FOLDER / "small", factor="tucker", rank=0.5, epochs=0)
        >>> [x.name for x in small.stages], len(small.layers)
        (['trained', 'decomposed'], 2)
        """
        from opdsl.workflow.compression.compress import compress

        return compress(
            self,
            out,
            factor=factor,
            rank=rank,
            only=only,
            epochs=epochs,
            lr=lr,
            data=data,
            valid=valid,
            test=test,
            progress=progress,
            warn=warn,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write the run as a published model, which `opdsl.from_pretrained` opens.

        The folder has the program, the weights, the settings, the errors, a model card with the
        diagram, and the hash of every file. Of paths on this machine only names of files are in it.

        Args:
            folder: empty, or does not exist.

        Returns:
            The folder.

        Raises:
            OpError: OP0624, the folder is not empty; OP0625, a file cannot be written.

        >>> import opdsl
        >>> folder = opdsl.open_run(RUN).save_pretrained(FOLDER / "published")
        >>> (folder / "README.md").exists(), (folder / "model.safetensors").exists()
        (True, True)
        """
        from opdsl.workflow.publishing.saving import save_pretrained

        return save_pretrained(self, folder)

    def __repr__(self) -> str:
        when = "" if self.epoch is None else f" of epoch {self.epoch}"
        folder = str(self.folder)
        folder = folder if len(folder) < MOST else f"...{folder[-MOST:]}"
        return f"<Run {folder}: model {self.graph.name}, {self._weights():,} weights{when}>"

    def _repr_html_(self) -> str:
        best = self.metrics.best_epoch
        rows = {
            "run": self.folder,
            "model": self.graph.name,
            "weights": f"{self._weights():,}",
            "epoch": self.epoch if best is None else f"{best}, the best of {self._epochs()}",
        }
        cells = (f"<tr><th>{k}</th><td>{escape(str(x))}</td></tr>" for k, x in rows.items())
        return f"<table><tbody>{''.join(cells)}</tbody></table>"

    def _weights(self) -> int:
        return sum(x.numel() for x in self.module.parameters())

    def _epochs(self) -> int:
        return len(self.metrics.history)
