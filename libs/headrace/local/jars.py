"""The pinned jars of Kafka and the schema registry: fetched once from Maven, verified, kept in the cache.

``python -m headrace.local.jars`` writes ``jars.lock`` anew. Kafka is resolved alone: beside other
coordinates their parents' version tables reach it (log4j's would bring Kafka's client down to 3.9).
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from headrace.errors import HeadraceError, UnreachableError

LOCK = Path(__file__).with_name("jars.lock")
KAFKA = "org.apache.kafka:kafka_2.13:4.3.0"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
TOOLS = "org.apache.kafka:kafka-tools:4.3.0"  # the bench's perf tools: one more jar beside Kafka's own
REGISTRY = "io.apicurio:apicurio-registry-app:2.6.13.Final:all:tar.gz"
CHUNK = 1 << 20


class Jar(NamedTuple):
    """One pinned file: which part needs it, its sha256, and ``group:artifact:version[:classifier:packaging]``."""

    part: str
    sha256: str
    coordinate: str

    @property
    def filename(self) -> str:
        """The file's name in the cache, as Maven would name it."""
        _, artifact, version, classifier, packaging = split(self.coordinate)
        return "-".join(filter(None, (artifact, version, classifier))) + f".{packaging}"


def split(coordinate: str) -> tuple[str, str, str, str, str]:
    """Return group, artifact, version, classifier ("" if none) and packaging of a coordinate."""
    group, artifact, version, *rest = coordinate.split(":")
    classifier, packaging = rest or ("", "jar")
    return group, artifact, version, classifier, packaging


def pinned(part: str) -> list[Jar]:
    """Return the lock's entries for ``part`` ("kafka", "registry" or "tools"), in order."""
    lines = (line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    return [jar for jar in (Jar(*words) for words in lines) if jar.part == part]


def fetched(part: str, cache: Path) -> list[Path]:
    """Return the paths of ``part``'s jars, after fetching those that are missing.

    A file stands under its own name only once its hash was right, so presence is proof.
    Raises UnreachableError when Maven does not answer, HeadraceError when the disk is full or a hash differs.
    """
    folder = cache / "jars"
    missing = [jar for jar in pinned(part) if not (folder / jar.filename).exists()]
    if missing:
        _fetch(missing, folder)
    return [folder / jar.filename for jar in pinned(part)]


def present(part: str, cache: Path) -> bool:
    """Say whether every jar of ``part`` is in the cache."""
    return all((cache / "jars" / jar.filename).exists() for jar in pinned(part))


def sha256(path: Path) -> str:
    """Return the file's sha256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(jars: Iterable[Jar], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as staging, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda jar: _fetch_one(jar, Path(staging), folder), jars))
    except OSError as error:
        raise _explained(error, folder) from error


def _fetch_one(jar: Jar, staging: Path, folder: Path) -> None:
    path = _download(jar.coordinate, staging)
    if (found := sha256(path)) != jar.sha256:
        raise HeadraceError(
            f"{jar.filename} from Maven is not the pinned file", f"sha256 {found}, pinned {jar.sha256}"
        )
    path.replace(folder / jar.filename)


def _download(coordinate: str, repository: Path) -> Path:
    from jgo.maven import MavenContext  # noqa: PLC0415  (a tenth of a second that a start without downloads saves)

    group, artifact, version, classifier, packaging = split(coordinate)
    component = MavenContext(repo_cache=repository, timeout=60).project(group, artifact).at_version(version)
    try:
        return Path(component.artifact(classifier, packaging).resolve())
    except RuntimeError as error:
        raise UnreachableError(f"Maven does not have {coordinate}", str(error)) from error


def _explained(error: OSError, folder: Path) -> HeadraceError:
    if error.errno == errno.ENOSPC:
        return HeadraceError("the disk is full", f"Kafka and the registry need 500 MB in {folder}", "df -h")
    if error.errno in (errno.EACCES, errno.EROFS):
        return HeadraceError(
            f"cannot write to {folder}", os.strerror(error.errno), "export HEADRACE_CACHE=/another/folder"
        )
    return UnreachableError(
        "Maven Central does not answer", str(error), "run the same command again when the network is back"
    )


def _pin() -> str:
    """Resolve the coordinates and return the text of a new lock."""
    import jgo  # noqa: PLC0415  (only here)

    kafka = {artifact.filename: str(artifact) for artifact in [*jgo.resolve(KAFKA), *jgo.resolve(LOGGING)]}
    named = [(f"{g}:{a}:{v}", "kafka") for g, a, _, v in (text.split(":") for text in kafka.values())]
    with tempfile.TemporaryDirectory() as staging:
        rows = [
            f"{part} {sha256(_download(coordinate, Path(staging)))} {coordinate}"
            for coordinate, part in [*sorted(named), (REGISTRY, "registry"), (TOOLS, "tools")]
        ]
    head = "# What the embedded Kafka and schema registry run: part, sha256, Maven coordinate. Made by headrace.local.jars."
    return "\n".join([head, *rows, ""])


if __name__ == "__main__":
    LOCK.write_text(_pin())
