"""Run ingestion: ``python -m services.ingestion``."""

from headrace.bus.run import run
from services.ingestion.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
