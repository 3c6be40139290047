"""A demo begins with an empty home, and never empties one that holds anything but a demo."""

import shutil

from headrace.errors import ConfigurationError
from headrace.local.platform import Platform
from headrace.local.settings import Settings

_MARK = "demo"
_RUNTIME = ("kafka", "registry", "artifacts", "mlflow.db", "headrace.db", "mlartifacts", "log")


def fresh(settings: Settings) -> None:
    """Make the home ready for a demo: stop and remove an earlier demo's data.

    Raises:
        ConfigurationError: when the home holds data that no demo made.
    """
    mark = settings.home / _MARK
    held = [name for name in _RUNTIME if name != "log" and (settings.home / name).exists()]
    if held and not mark.exists():
        raise ConfigurationError(
            f"{settings.home} holds data of your own ({', '.join(held)})",
            "a demo starts from an empty log",
            "HEADRACE_HOME=/tmp/headrace-demo ./headrace demo",
        )
    Platform(settings).stop()
    for name in _RUNTIME:
        path = settings.home / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    settings.log_folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("This folder was made by `headrace demo`, which may empty it.\n")
