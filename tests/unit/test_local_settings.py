import pytest

from headrace.errors import ConfigurationError
from headrace.local.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in (*Settings.model_fields, "mlflow_tracking_uri"):
        monkeypatch.delenv(f"HEADRACE_{name.upper()}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_variables_everything_is_embedded_and_under_the_home(tmp_path):
    settings = Settings(home=tmp_path)
    assert (settings.embeds_kafka, settings.embeds_registry) == (True, True)
    assert settings.bootstrap == "127.0.0.1:9092"
    assert settings.registry_url == "http://127.0.0.1:8081/apis/ccompat/v7"
    assert settings.mlflow_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.database_url == f"sqlite:///{tmp_path}/headrace.db"


def test_a_named_broker_or_registry_is_used_and_none_is_embedded(monkeypatch):
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", "kafka:9092")
    assert (Settings().embeds_kafka, Settings().embeds_registry) == (False, True)
    monkeypatch.setenv("HEADRACE_REGISTRY_URL", "http://registry")
    assert (Settings().bootstrap, Settings().embeds_registry) == ("kafka:9092", False)


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", "")
    assert Settings().embeds_kafka


def test_mlflow_is_found_where_mlflow_itself_looks(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert Settings().mlflow_uri == "http://mlflow:5000"


def test_a_wrong_value_names_its_variable(monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA_PORT", "ninety")
    with pytest.raises(ConfigurationError, match="HEADRACE_KAFKA_PORT"):
        Settings()


def test_relative_folders_mean_the_same_in_every_process(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_HOME", "here")
    assert Settings().home == tmp_path / "here"
    assert Settings().mlflow_uri == f"sqlite:///{tmp_path}/here/mlflow.db"


@pytest.mark.parametrize(
    "given", [{}, {"kafka_port": 19092}, {"bootstrap": "kafka:9092"}, {"mlflow_uri": "http://mlflow:5000"}]
)
def test_a_child_process_reads_the_same_settings(monkeypatch, tmp_path, given):
    settings = Settings(home=tmp_path / "a b%", **given)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    read = Settings()
    assert read == settings
    assert read.embeds_kafka == settings.embeds_kafka
