"""What the environment says about this installation; every command and service reads this one class."""

import os
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
CHECKOUT = Path(__file__).resolve().parents[3]


def _default_root() -> Path:
    """Return the checkout this library lies in; an installed library serves the current folder."""
    return CHECKOUT if (CHECKOUT / "services").is_dir() else Path.cwd()


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """Settings from ``HEADRACE_*`` variables (and ``MLFLOW_TRACKING_URI``); raises ConfigurationError."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, env_ignore_empty=True)

    root: Path = Field(default_factory=_default_root, description="Folder with services/ and pipelines/")
    home: Path = Field(
        default_factory=lambda seen: seen["root"] / ".headrace", description="Where runtime data live"
    )
    cache: Path = Field(default_factory=_default_cache, description="Jars, shared between checkouts")
    kafka_port: int = Field(9092, ge=1024, le=65534, description="Embedded Kafka; its controller has the next")
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
        description="MLflow's tracking and model registry",
    )
    database_url: str = Field(
        default_factory=lambda seen: f"sqlite:///{seen['home'] / 'headrace.db'}",
        description="SQLAlchemy URL of the views",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = "HEADRACE_" + "_".join(str(part) for part in first["loc"]).upper()
            raise ConfigurationError(
                f"setting {name} is wrong", f"{first['msg']} (it is {first['input']!r})", f"unset {name}"
            ) from error

    def model_post_init(self, _: Any, /) -> None:
        """Make the folders absolute, so that a service in another folder means the same ones."""
        for name in ("root", "home", "cache"):
            object.__setattr__(self, name, _absolute(getattr(self, name)))

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
