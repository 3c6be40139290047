"""MLflow's tables are made whole or not at all, whenever the process that makes them is killed."""

import os
import signal
import subprocess
import sys

from headrace.models import mlflow_adapter

KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine

@event.listens_for(Engine, "after_cursor_execute")
def amid(conn, cursor, statement, parameters, context, executemany):
    if "CREATE TABLE datasets" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

from headrace.models import mlflow_adapter
mlflow_adapter.connect(sys.argv[1])
"""


def test_a_kill_amid_the_migrations_leaves_nothing_in_the_way(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, uri], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    assert mlflow_adapter.connect(uri).client.search_experiments()[0].name == "Default"
