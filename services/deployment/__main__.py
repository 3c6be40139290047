"""Run deployment as a process."""

from headrace.bus.run import run
from services.deployment.service import SERVICE

run(SERVICE)
