"""From nothing to healthy: start the programs, provision topics, schemas and pipelines, wait for health."""

from collections.abc import Callable, Collection, Sequence

from headrace.local import chain
from headrace.local.platform import Platform
from headrace.local.replicas import asked
from headrace.local.settings import Settings


def counts(texts: Sequence[str], settings: Settings) -> dict[str, int]:
    """Return the numbers of processes that texts like ``features=3`` ask for.

    Raises UsageError for a text that is none, or a service that cannot share its work.
    """
    from headrace.bus.provision import stages  # noqa: PLC0415  (its imports are slow)

    shared = [s.name for s in stages(settings.root / "services") if not s.single]
    return {service: count for service, count in asked(texts, shared).items() if count > 1}


def bring_up(platform: Platform, seconds: float, tell: Callable[[str], None]) -> None:
    """Start ``platform`` and return when it is healthy; ``tell`` hears what is being waited for.

    Raises UnreachableError when Kafka or the registry do not answer within ``seconds``, HeadraceError
    when a service does not get healthy in as long again.
    """
    if platform.mode == "lean":
        _refuse_readers(platform)
    tell("starting Kafka, the schema registry and the services")
    platform.start()
    from headrace.bus.provision import provision  # noqa: PLC0415  (its imports run while Kafka starts)

    platform.wait_broker(seconds)
    tell("creating topics, registering schemas and pipelines")
    provision(platform.settings, platform.settings.pipelines)
    platform.wait_healthy(seconds, lambda missing: tell(_waiting(missing)))


def _refuse_readers(platform: Platform) -> None:
    """Refuse to leave out topics that another service of the platform reads."""
    from headrace.bus.fusion import links, refuse_readers  # noqa: PLC0415  (its imports are slow)
    from headrace.bus.provision import stages  # noqa: PLC0415

    found = {s.name: s for s in stages(platform.settings.root / "services")}
    between = links([found[name] for name in chain.MEMBERS if name in found])
    others = {name for name in found if name in platform.services and name not in chain.MEMBERS}
    for pipeline in (path.stem for path in sorted(platform.settings.pipelines.glob("*.yaml"))):
        refuse_readers(between, pipeline, others)


def _waiting(missing: Collection[str]) -> str:
    return f"waiting for {', '.join(sorted(missing))}" if missing else "all services are healthy"
