"""Apicurio as the schema registry (Confluent API) on the loopback; ``python -m`` unpacks it once and becomes it."""

import tarfile
import tempfile
from pathlib import Path

from headrace.local import jars, java
from headrace.local.settings import LOOPBACK, Settings

HEAP = java.Heap("256m", young="8m")
QUIET = (
    "-Dquarkus.banner.enabled=false",
    "-Dquarkus.log.level=WARN",
    '-Dquarkus.log.category."io.apicurio".level=WARN',
    "-Dregistry.apis.v2.date-format=yyyy-MM-dd'T'HH:mm:ss'Z'",
)
RUNNER = "apicurio-registry-app-2.6.13.Final-runner.jar"


def installed(cache: Path) -> Path:
    """Return the folder of the unpacked registry, after fetching and unpacking it if it is not there."""
    if not present(cache):
        _unpack(jars.fetched("registry", cache)[0], _folder(cache))
    return _folder(cache)


def present(cache: Path) -> bool:
    """Say whether the unpacked registry is in the cache."""
    return _folder(cache).exists()


def prepare(settings: Settings) -> list[str]:
    """Return the registry's command line, to be run in the home, where it keeps its data in an H2 file."""
    return java.command(
        "registry",
        f"-Dquarkus.http.host={LOOPBACK}",
        f"-Dquarkus.http.port={settings.registry_port}",
        "-Dquarkus.datasource.jdbc.url=jdbc:h2:file:./registry/schemas",
        *QUIET,
        "-jar",
        str(installed(settings.cache) / RUNNER),
        heap=HEAP,
        cache=settings.cache,
    )


def _folder(cache: Path) -> Path:
    return cache / RUNNER.removesuffix("-runner.jar")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside the target and rename, so that a folder with this name is always whole."""
    staging = Path(tempfile.mkdtemp(dir=folder.parent))
    with tarfile.open(archive) as tar:
        tar.extractall(staging, filter="data")
    staging.replace(folder)
    archive.unlink()


if __name__ == "__main__":
    chosen = Settings()
    java.become(prepare(chosen), chosen.home)
