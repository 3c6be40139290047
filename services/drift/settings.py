"""What the environment says about drift, beyond what every service reads."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DriftSettings(BaseSettings):
    """Settings from ``HEADRACE_DRIFT_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_DRIFT_", frozen=True)

    patience: float = Field(
        60.0, gt=0, description="Seconds a complete tick may stay open before the process ends"
    )
