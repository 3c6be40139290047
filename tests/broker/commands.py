"""A platform of its own, with our services and no pipeline yet, told by commands as a user tells it."""

import os
import subprocess
import sys
from contextlib import contextmanager

from headrace.local.settings import CHECKOUT, Settings
from headrace.testing.broker import free_ports


class Commands:
    """Runs commands on the platform of a root; ``settings`` are where it is."""

    def __init__(self, root):
        (root / "services").symlink_to(CHECKOUT / "services")
        (root / "pipelines").mkdir()
        kafka, registry, metrics = free_ports(3)
        self.settings = Settings(
            root=root, home=root / "home", kafka_port=kafka, registry_port=registry, metrics_port=metrics
        )
        self._env = self.settings.environment()
        self._env["PYTHONPATH"] = os.pathsep.join((str(CHECKOUT / "libs"), str(CHECKOUT)))

    def __call__(self, *words):
        """Run a command to its end; return what it printed."""
        command = [sys.executable, "-m", "headrace.cli", *words]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def beside(self, *words):
        """Start a command."""
        command = [sys.executable, "-m", "headrace.cli", *words]
        return subprocess.Popen(command, env=self._env, stderr=subprocess.DEVNULL)


@contextmanager
def commands(root):
    """Lend the commands of a platform, and stop it at the end."""
    told = Commands(root)
    yield told
    told("down")
