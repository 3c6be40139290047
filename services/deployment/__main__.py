"""Run deployment: ``python -m services.deployment``."""

from headrace.bus.run import run
from services.deployment.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
