"""From nothing to healthy: start the programs, provision topics, schemas and pipelines, wait for health."""

from collections.abc import Callable, Collection

from headrace.local.platform import Platform


def bring_up(platform: Platform, seconds: float, tell: Callable[[str], None]) -> None:
    """Start ``platform`` and return when it is healthy; ``tell`` hears what is being waited for.

    Raises UnreachableError when Kafka or the registry do not answer within ``seconds``, HeadraceError
    when a service does not get healthy in as long again.
    """
    tell("starting Kafka, the schema registry and the services")
    platform.start()
    from headrace.bus.provision import provision  # noqa: PLC0415  (its imports run while Kafka starts)

    platform.wait_broker(seconds)
    tell("creating topics, registering schemas and pipelines")
    provision(platform.settings, platform.settings.pipelines)
    platform.wait_healthy(seconds, lambda missing: tell(_waiting(missing)))


def _waiting(missing: Collection[str]) -> str:
    return f"waiting for {', '.join(sorted(missing))}" if missing else "all services are healthy"
