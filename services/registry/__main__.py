"""Run registry as a process, with the worker that writes to MLflow and SQL."""

from headrace.bus.run import run
from headrace.contracts.topics import REGISTRY_EFFECTS, REGISTRY_RESULTS
from services.registry.effects import CARRY_OUT
from services.registry.service import SERVICE

run(SERVICE, effects=(REGISTRY_EFFECTS, REGISTRY_RESULTS, CARRY_OUT))
