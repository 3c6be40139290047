"""Run monitoring: ``python -m services.monitoring``."""

from headrace.bus.run import run
from services.monitoring.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
