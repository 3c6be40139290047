"""Run registry, with the worker that writes to MLflow and SQL: ``python -m services.registry``."""

from headrace.bus.run import run
from headrace.contracts.topics import REGISTRY_EFFECTS, REGISTRY_RESULTS
from headrace.local.settings import Settings
from headrace.models import mlflow_adapter
from services.registry.effects import CARRY_OUT
from services.registry.service import SERVICE

if __name__ == "__main__":
    mlflow_adapter.prepare(Settings().mlflow_uri)
    run(SERVICE, effects=(REGISTRY_EFFECTS, REGISTRY_RESULTS, CARRY_OUT))
