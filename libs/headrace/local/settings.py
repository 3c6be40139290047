"""What the environment says about this installation; every command and service reads this one class."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
LIBRARY = Path(__file__).resolve().parents[2]
CHECKOUT = LIBRARY.parent


def _default_root() -> Path:
    """Return the checkout this library lies in; an installed library serves the current folder."""
    return CHECKOUT if (CHECKOUT / "services").is_dir() else Path.cwd()


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Settings from ``HEADRACE_*`` variables (and ``MLFLOW_TRACKING_URI``); raises ConfigurationError."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, env_ignore_empty=True)

    root: Folder = Field(
        default_factory=_default_root,
        description="Folder with services/ and pipelines/; unless set the checkout, or the current folder where there is none",
    )
    home: Folder = Field(
        default_factory=lambda seen: seen["root"] / ".headrace",
        description="Where runtime data live; unless set `.headrace` in the root",
    )
    cache: Folder = Field(
        default_factory=_default_cache,
        description="Jars, shared between checkouts; unless set `headrace` in `$XDG_CACHE_HOME` or `~/.cache`",
    )
    kafka_port: int = Field(
        9092, ge=1024, le=65534, description="Embedded Kafka; its controller has the next"
    )
    kafka_jit: Literal["quick", "full"] = Field(
        "quick",
        description="How the embedded Kafka is compiled: quick starts fast and idles cheaply, full pays when busy",
    )
    registry_port: int = Field(8081, ge=1024, le=65535, description="Embedded schema registry")
    metrics_port: int = Field(9101, ge=1024, le=65535, description="Health and metrics of this service")
    bootstrap: str = Field(
        default_factory=lambda seen: f"{LOOPBACK}:{seen['kafka_port']}",
        description="Kafka's bootstrap servers; when set, no Kafka is started",
    )
    registry_url: str = Field(
        default_factory=lambda seen: f"http://{LOOPBACK}:{seen['registry_port']}/apis/ccompat/v7",
        description="A Confluent-compatible schema registry; when set, none is started",
    )
    mlflow_uri: str = Field(
        default_factory=lambda seen: f"sqlite:///{seen['home'] / 'mlflow.db'}",
        validation_alias=AliasChoices("mlflow_uri", "HEADRACE_MLFLOW_URI", "MLFLOW_TRACKING_URI"),
        description="MLflow's tracking and model registry, also read from MLFLOW_TRACKING_URI; "
        "unless set an SQLite file in the home",
    )
    database_url: str = Field(
        default_factory=lambda seen: f"sqlite:///{seen['home'] / 'headrace.db'}",
        description="SQLAlchemy URL of the views; unless set an SQLite file in the home",
    )
    max_batch: int = Field(65_536, ge=1, le=100_000, description="Rows a handler gets at once, at most")
    max_transaction: int = Field(
        65_536,
        ge=1,
        le=1_000_000,
        description="Rows with which a transaction is full; the last batch may exceed it",
    )

    replicas: int = Field(1, ge=1, le=1_000, description="How many processes share this service's partitions")
    replica: int = Field(0, ge=0, description="Which of them this one is, counted from 0")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = "HEADRACE_" + "_".join(str(part) for part in first["loc"]).upper()
            raise ConfigurationError(
                f"setting {name} is wrong", f"{first['msg']} (it is {first['input']!r})", f"unset {name}"
            ) from error

    @property
    def embeds_kafka(self) -> bool:
        """Whether the platform starts a Kafka of its own."""
        return "bootstrap" not in self.model_fields_set

    @property
    def embeds_registry(self) -> bool:
        """Whether the platform starts a schema registry of its own."""
        return "registry_url" not in self.model_fields_set

    @property
    def log_folder(self) -> Path:
        """Where each program's log lies."""
        return self.home / "log"

    @property
    def pipelines(self) -> Path:
        """Where the pipeline files lie."""
        return self.root / "pipelines"

    def environment(self) -> dict[str, str]:
        """Return the environment in which another process imports this library and reads these settings."""
        names = self.model_fields_set | {"root", "home", "cache"}
        own = {f"HEADRACE_{name.upper()}": str(getattr(self, name)) for name in sorted(names)}
        return {**os.environ, **own, "PYTHONPATH": os.pathsep.join((str(LIBRARY), str(self.root)))}
