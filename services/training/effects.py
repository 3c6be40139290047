"""Training's effects: fit a model on what the log holds, or learn on from the last snapshot, and store the artifact."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from platform import machine, python_implementation, python_version
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.effects import Tools
from headrace.models import training
from headrace.models.kinds import load
from headrace.models.ports import Predictor
from headrace.models.training import Trained
from headrace.pipeline.quarantine import Stretch
from services.training.labelled import Labelled

Payload = Mapping[str, Any]
HELD_OUT = 0.2  # share of the rows that judges, where the stream is too young for the declared hold-out
_PACKAGES = ("numpy", "pyarrow", "scikit-learn", "scipy", "river")


class Trainer:
    """The work of the effects; it holds what was read, pipeline by pipeline, so that a training reads only news.

    The result is a function of the payload and the log below ``to_tick``, so that a repeat gives the same.
    """

    def __init__(self) -> None:
        self._labelled: dict[str, Labelled] = defaultdict(Labelled)

    def fit(self, payload: Payload, tools: Tools) -> Payload:
        """Fit on the rows before the hold-out and judge on the rest; raises ``TrainingError``."""
        rows = self._rows(payload, tools)
        champion = _champion(payload, tools)
        declared = holdout_from(rows, payload["holdout_from"])
        found = training.train(tools.definition, rows, champion, declared, _left_out(payload))
        return _stored(found, found.rows - found.holdout_rows, tools)

    def learn(self, payload: Payload, tools: Tools) -> Payload:
        """Learn the rows since the last snapshot, each scored before it is learnt; raises ``TrainingError``."""
        base = tools.artifacts.get(payload["continue_from"]) if payload["continue_from"] else None
        rows = self._rows(payload, tools)
        found = training.learn(tools.definition, base, rows, _champion(payload, tools), _left_out(payload))
        return _stored(found, found.rows, tools)

    def _rows(self, payload: Payload, tools: Tools) -> pa.Table:
        labelled = self._labelled[tools.definition.name]
        return labelled.rows(tools, payload["from_tick"], payload["to_tick"], _left_out(payload))


def holdout_from(rows: pa.Table, declared: int) -> int:
    """Return the event time (microseconds) from which rows are held out.

    That is the declared one, unless more than half of the rows come after it, or none: a stream that is young, that
    was published in one go or has ended is judged on its last fifth.
    """
    if not rows.num_rows:
        return declared
    times = np.sort(rows["event_time"].cast(pa.int64()).to_numpy())
    if len(times) <= 2 * np.searchsorted(times, declared) < 2 * len(times):
        return declared
    return int(times[int((1 - HELD_OUT) * len(times))])


def _left_out(payload: Payload) -> list[Stretch]:
    """Return the stretches to leave out; a request from before there were quarantines names none."""
    return [(name, since, until) for name, since, until in payload.get("quarantine", ())]


def _champion(payload: Payload, tools: Tools) -> Predictor | None:
    digest = payload["champion_digest"]
    return load(tools.artifacts.get(digest)) if digest else None


def _stored(found: Trained, fitted: int, tools: Tools) -> Payload:
    tools.artifacts.put(found.artifact)
    return {
        "model_digest": found.digest,
        "dataset_digest": found.dataset_digest,
        "rows": fitted,
        "holdout_rows": found.holdout_rows,
        "loss": found.loss,
        "champion_digest": found.champion_digest,
        "champion_loss": found.champion_loss,
        "metrics": found.metrics,
        "seed": found.seed,
        "fingerprint": fingerprint(),
        "artifact_bytes": len(found.artifact),
    }


@cache
def fingerprint() -> str:
    """Return what bits depend on besides data and code: the interpreter, the machine, the numerical libraries."""
    runtime = f"{python_implementation()}-{python_version()}-{machine()}"
    return " ".join([runtime, *(f"{name}-{version(name)}" for name in _PACKAGES)])


def warm() -> None:
    """Import what a fit needs beside the start of the service, so that the first one does not wait for it."""

    def importing() -> None:
        from headrace.models import sklearn_adapter  # noqa: F401, PLC0415 -- 1.4 s that nobody should wait for

    threading.Thread(target=importing, name="warm", daemon=True).start()


_TRAINER = Trainer()
CARRY_OUT: Mapping[str, Callable[[Payload, Tools], Payload]] = {"fit": _TRAINER.fit, "learn": _TRAINER.learn}
