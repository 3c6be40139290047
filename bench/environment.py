"""The peers' own environment: Quix Streams pins an older client than Headrace uses."""

import subprocess
import sys
from pathlib import Path

from headrace.errors import HeadraceError

LOCK = Path(__file__).parent / "peers" / "requirements.txt"
SHOWN = ("confluent-kafka", "faust-streaming", "fastavro", "pydantic", "quixstreams", "scikit-learn")


def python(home: Path) -> Path:
    """Return the interpreter of the peers' environment, made from the hash-pinned lock where it is missing or old.

    Raises HeadraceError when pip cannot install it.
    """
    folder = home / "bench" / "peers"
    ready, found = folder / "ready.lock", folder / "bin" / "python"
    if ready.exists() and ready.read_bytes() == LOCK.read_bytes():
        return found
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)])
    ready.write_bytes(LOCK.read_bytes())
    return found


def versions() -> dict[str, str]:
    """Return the versions of the peers' packages, from the lock."""
    pins = (line.split()[0].split("==") for line in LOCK.read_text().splitlines() if "==" in line[:60])
    return {name: version for name, version in pins if name in SHOWN}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HeadraceError(
            "the peers' environment could not be made", done.stderr.strip()[-500:], "headrace bench"
        )
