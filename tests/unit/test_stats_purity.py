import os
import subprocess
import sys

HEAVY = {"scipy", "sklearn", "pandas", "polars", "pydantic", "pyarrow"}
MODULES = ("profiles", "eprocess", "detectors", "unlikeness", "guard", "gates")


def test_importing_the_statistics_imports_nothing_heavy():
    lines = [*(f"import headrace.stats.{name}" for name in MODULES), "import sys", "print(*sys.modules)"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, env=path
    )
    assert not HEAVY & set(found.stdout.split())
