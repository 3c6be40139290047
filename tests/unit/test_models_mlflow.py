import pytest

from headrace.errors import HeadraceError, UnreachableError
from headrace.models import mlflow_adapter

CANDIDATE = {
    "candidate_id": "c-1", "training_id": "t-1", "pipeline": "toy", "tick": 7, "model_name": "toy",
    "model_digest": "ab" * 32, "dataset_digest": "cd" * 32, "rows": 700, "holdout_rows": 200, "seed": 3,
    "fingerprint": "python", "loss": 0.25, "champion_loss": None, "metrics": {"auc": 0.9},
}  # fmt: skip


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return mlflow_adapter.connect(f"sqlite:///{folder / 'mlflow.db'}")


def test_a_candidate_logged_and_registered_twice_is_one_run_and_one_version(tracker):
    runs = [tracker.log_run(CANDIDATE, b"model") for _ in range(2)]
    versions = [tracker.register(CANDIDATE, 1, runs[0]) for _ in range(2)]
    tracker.move_alias("toy", "champion", 1)
    assert runs[0] == runs[1]
    assert versions[0] == versions[1]
    run = tracker.client.get_run(runs[0])
    assert run.data.metrics == {"loss": 0.25, "auc": 0.9}
    assert run.data.params["dataset_digest"] == CANDIDATE["dataset_digest"]
    champion = tracker.client.get_model_version_by_alias("toy", "champion")
    assert (str(champion.version), champion.tags["headrace.version"]) == (versions[0], "1")
    path = tracker.client.download_artifacts(runs[0], "model.tar")
    assert open(path, "rb").read() == b"model"  # noqa: PTH123, SIM115
    assert champion.source.endswith("/model.tar")


def test_a_run_that_was_cut_off_is_logged_again(tracker):
    other = {**CANDIDATE, "candidate_id": "c-2"}
    experiment = tracker.client.get_experiment_by_name("toy") or tracker.client.create_experiment("toy")
    cut = tracker.client.create_run(experiment.experiment_id, tags={mlflow_adapter.CANDIDATE: "c-2"})
    assert tracker.log_run(other, b"model") != cut.info.run_id


def test_an_alias_of_an_unknown_version_says_so(tracker):
    with pytest.raises(HeadraceError, match="no version 99"):
        tracker.move_alias("toy", "champion", 99)


@pytest.mark.parametrize("uri", ["sqlite:///{}/file/mlflow.db", "http://127.0.0.1:9"])
def test_what_does_not_answer_is_unreachable(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnreachableError, match="does not answer"):
        mlflow_adapter.connect(uri.format(tmp_path))
