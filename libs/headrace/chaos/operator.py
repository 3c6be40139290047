"""The operator of a run: what a broker tears is finished with the command that people have for it."""

import json
import subprocess
import sys
import threading

from headrace.errors import UnreachableError
from headrace.local.settings import Settings

EVERY = 20.0
"""Seconds between two looks, once the broker has been killed: fewer than a service waits for a transaction's end."""
_COMMAND = (sys.executable, "-m", "headrace.cli", "transactions", "finish", "--yes", "--json")


class Operator:
    """Runs ``headrace transactions finish --yes`` again and again on a thread of its own, from a call on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.finished = 0
        self.refused: list[str] = []

    def call(self) -> None:
        """Begin to look, if that was not asked for before."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(EVERY):
            done = subprocess.run(
                _COMMAND, env=self._settings.environment(), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                self.finished += len(json.loads(done.stdout)["transactions"])
            elif done.returncode != UnreachableError.exit_code:  # a broker that is away is asked again
                self.refused.append(done.stderr.strip())
