"""MLflow as a view of the registry: runs, registered models, versions and aliases, written so that a repeat adds none.

What a candidate is called in MLflow is found by a tag with our id, never remembered. The artifact goes in as the file it
is (``log_model`` would pickle it). The first contact makes the tables by running all of MLflow's migrations, some
seconds: ``prepare`` does it beside other work.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from headrace.errors import HeadraceError, UnreachableError

_MAKING = Lock()
_SQLITE = "sqlite:///"
FILE = "model.tar"
CANDIDATE = "headrace.candidate_id"
VERSION = "headrace.version"
_PARAMETERS = ("training_id", "dataset_digest", "model_digest", "rows", "holdout_rows", "seed", "fingerprint")


@dataclass(frozen=True)
class Tracker:
    """A connection to one MLflow server or database."""

    uri: str
    client: Any

    def log_run(self, candidate: Mapping[str, Any], artifact: bytes) -> str:
        """Return the run of a ModelCandidate record, logged now if it was not; ``artifact`` is its model's bytes."""
        with _reaching(self.uri):
            experiment = self._experiment(candidate["pipeline"])
            found = self.client.search_runs(
                [experiment], f"tags.`{CANDIDATE}` = '{candidate['candidate_id']}'"
            )
            complete = [
                run for run in found if run.info.status == "FINISHED"
            ]  # one that was cut off is left behind
            return str(
                complete[0].info.run_id if complete else self._new_run(experiment, candidate, artifact)
            )

    def register(self, candidate: Mapping[str, Any], version: int, run_id: str) -> str:
        """Return MLflow's number for the version, made now if it was not; MLflow counts by itself, the tag says ours."""
        name = candidate["model_name"]
        with _reaching(self.uri):
            self._model(name)
            if known := self._version(name, version):
                return known
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{FILE}"
            tags = {
                VERSION: str(version),
                CANDIDATE: candidate["candidate_id"],
                "digest": candidate["model_digest"],
            }
            return str(self.client.create_model_version(name, source, run_id, tags=tags).version)

    def move_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at one of our versions; raise ``HeadraceError`` when MLflow does not know it."""
        with _reaching(self.uri):
            known = self._version(name, version)
            if known is None:
                raise HeadraceError(
                    f"MLflow has no version {version} of {name}", "it was never registered there"
                )
            self.client.set_registered_model_alias(name, alias, known)

    def _experiment(self, name: str) -> str:
        held = self.client.get_experiment_by_name(name)
        return str(
            held.experiment_id if held else self.client.create_experiment(name, _artifact_root(self.uri))
        )

    def _new_run(self, experiment: str, candidate: Mapping[str, Any], artifact: bytes) -> str:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - 2 s; see _client

        tags = {CANDIDATE: candidate["candidate_id"], "headrace.tick": str(candidate["tick"])}
        run = self.client.create_run(experiment, tags=tags, run_name=candidate["candidate_id"][:8])
        told = {
            "loss": candidate["loss"],
            "champion_loss": candidate["champion_loss"],
            **dict(candidate["metrics"]),
        }
        metrics = [Metric(k, v, run.info.start_time, 0) for k, v in told.items() if v is not None]
        params = [Param(name, str(candidate[name])) for name in _PARAMETERS]
        self.client.log_batch(run.info.run_id, metrics, params)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, FILE)
            path.write_bytes(artifact)
            self.client.log_artifact(run.info.run_id, str(path))
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _model(self, name: str) -> None:
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)

    def _version(self, name: str, version: int) -> str | None:
        held = self.client.search_model_versions(f"name = '{name}' and tags.`{VERSION}` = '{version}'")
        return str(held[0].version) if held else None


def connect(uri: str) -> Tracker:
    """Return the tracker at ``uri`` (``sqlite:///...``, ``postgresql://...`` or ``http://...``), tables made if needed.

    Raises ``UnreachableError`` when it does not answer.
    """
    with _reaching(uri):
        _make(uri)
        tracker = Tracker(uri, _client(uri))
        tracker.client.search_experiments(max_results=1)
        return tracker


def prepare(uri: str) -> Thread:
    """Import MLflow and make its tables beside the caller's work; an error shows at the first real call instead."""

    def first_contact() -> None:
        try:
            connect(uri)
        except UnreachableError as error:
            logging.getLogger(__name__).warning("%s", error)

    thread = Thread(target=first_contact, name="mlflow", daemon=True)
    thread.start()
    return thread


def _make(uri: str) -> None:
    """Make a missing database file whole: SQLite keeps half of the migrations when a process is killed amid them.

    No later start could go on from there: a table that exists is not made again.
    """
    file = _file(uri)
    with _MAKING:
        if file is None or file.exists():
            return
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
            whole = Path(folder, file.name)
            _client(f"{_SQLITE}{whole}").search_experiments(max_results=1)
            with suppress(FileExistsError):  # another process was quicker
                os.link(whole, file)


def _file(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def _client(uri: str) -> Any:
    from mlflow import MlflowClient  # noqa: PLC0415 - 2 s and 150 MB, only where runs are logged

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(uri, uri)


def _artifact_root(uri: str) -> str | None:
    """Return where a local database keeps its files, beside it; a server decides for itself."""
    file = _file(uri)
    return None if file is None else (file.resolve().parent / "mlartifacts").as_uri()


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = (
        "true"  # before the first import: nothing about runs leaves the machine
    )
    os.environ.setdefault(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
    )  # its own 7 take minutes; the caller tries again
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see _client

    try:
        yield
    except (MlflowException, OSError, ModuleNotFoundError) as error:
        where = uri.rpartition("@")[2]  # without a password
        raise UnreachableError(f"MLflow at {where} does not answer", str(error), "headrace doctor") from error
