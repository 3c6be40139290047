"""What the environment says about the console, beyond what every service reads."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ConsoleSettings(BaseSettings):
    """Settings from ``HEADRACE_CONSOLE_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_CONSOLE_", frozen=True)

    port: int = Field(8900, ge=1024, le=65535, description="Where the page and the API are served")
