"""Numbers of a run for MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from importlib.util import find_spec

from opdsl.train.loggers import LoggedRun, LoggerEntry, LogSink

EXPERIMENT = "opdsl"
LONGEST = 500  # characters of a parameter in MLflow
FILES = {"MLFLOW_ALLOW_FILE_STORE": "true"}  # else MLflow refuses its store of files


class _MLflow:
    """A run of MLflow, reached by its client, which no other thread shares."""

    def __init__(self, run: LoggedRun) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client = MlflowClient(_tracking_uri())
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._run = self._client.create_run(number, run_name=run.folder.name).info.run_id
        params = [Param(k, str(v)[:LONGEST]) for k, v in run.settings.items()]
        self._client.log_batch(self._run, params=params)

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step as metrics."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(k, v, now, step) for k, v in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)


def _tracking_uri() -> str:
    """Return the store: of the environment, else a database, else files in `mlruns`."""
    if named := os.environ.get("MLFLOW_TRACKING_URI"):
        return named
    if find_spec("sqlalchemy") and find_spec("alembic"):
        return "sqlite:///mlflow.db"
    os.environ.update(FILES)
    return "mlruns"


def _open(run: LoggedRun) -> LogSink:
    return _MLflow(run)


LOGGER = LoggerEntry(
    description="""A run of the experiment `opdsl` (`MLFLOW_EXPERIMENT_NAME`) at
    `MLFLOW_TRACKING_URI`; without it in `mlflow.db` of the working directory, or in `mlruns` where
    the packages of a database are not installed.
    """,
    package="mlflow",
    extra="mlflow",
    open=_open,
)
