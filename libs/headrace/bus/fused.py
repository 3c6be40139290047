"""Run services as one: ``python -m headrace.bus.fused ingestion features serving [--lean]``."""

import argparse
import importlib
from collections.abc import Sequence

from headrace.bus.run import run_fused
from headrace.bus.service import Service
from headrace.errors import ConfigurationError
from headrace.telemetry.logs import last_words


def members(names: Sequence[str]) -> list[Service]:
    """Return the manifests of services by name; raise ConfigurationError for one that closes no tick."""
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(f"services.{name}.service").SERVICE)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ConfigurationError(
                f"{name} is no service that can be fused",
                str(error),
                "python -m headrace.bus.fused ingestion features serving",
            ) from error
    return found


def main() -> None:
    """Read the command line and run until a signal."""
    parser = argparse.ArgumentParser(prog="python -m headrace.bus.fused", description=__doc__)
    parser.add_argument("services", nargs="+", help="members of the chain, in the order of flow")
    parser.add_argument(
        "--lean", action="store_true", help="do not write the topics between the members; replay makes them"
    )
    arguments = parser.parse_args()
    with last_words():
        run_fused(members(arguments.services), lean=arguments.lean)


if __name__ == "__main__":
    main()
