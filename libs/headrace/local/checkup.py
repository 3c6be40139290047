"""What ``headrace doctor`` looks at: one small check a line, each with the next step when it says no."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headrace.contracts.topics import EVENTS
from headrace.errors import HeadraceError
from headrace.local import answers, chain, jars, java, kafka, registry
from headrace.local.platform import Platform, port_is_free
from headrace.local.room import per_million

OLDEST_PYTHON = (3, 11)
DISK = 5 << 30
MEMORY = 4 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check: what was found and, where it is a problem, what to do."""

    name: str
    ok: bool
    found: str
    next_step: str = ""


def examine(platform: Platform) -> list[Finding]:
    """Return every check's finding, in the order in which things depend on each other."""
    return [check(platform) for check in CHECKS]


def python(_: Platform) -> Finding:
    """Check the version that runs this."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= OLDEST_PYTHON, found, "install Python 3.11 or newer")


def environment(platform: Platform) -> Finding:
    """Check that the virtual environment is the lock's."""
    lock = platform.settings.root / "requirements.lock"
    stamp = platform.settings.root / ".venv" / "headrace-ready.lock"
    same = lock.exists() and stamp.exists() and lock.read_bytes() == stamp.read_bytes()
    return Finding(
        "environment",
        same,
        f"{sys.prefix} {'follows' if same else 'does not follow'} requirements.lock",
        "run ./headrace (the launcher) instead of the module",
    )


def disk(platform: Platform) -> Finding:
    """Check the room where the data will lie."""
    folder = next(path for path in (platform.settings.home, *platform.settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk", free >= DISK, f"{free >> 30} GiB free", "make room, or set HEADRACE_HOME elsewhere"
    )


def memory(_: Platform) -> Finding:
    """Check the memory that is there to take."""
    import psutil  # noqa: PLC0415  (only this check needs it)

    free = int(psutil.virtual_memory().available)
    return Finding("memory", free >= MEMORY, f"{free >> 30} GiB available", "stop other programs")


def clock(_: Platform) -> Finding:
    """Check that it is not earlier than this file was written."""
    late = time.time() >= Path(__file__).stat().st_mtime
    return Finding(
        "clock", late, time.strftime("%FT%TZ", time.gmtime()), "set the clock: timedatectl set-ntp true"
    )


def java_runtime(_: Platform) -> Finding:
    """Check that there is a Java to run Kafka with."""
    try:
        return Finding("java", ok=True, found=str(java.java()))
    except HeadraceError as error:
        return Finding("java", ok=False, found=error.why, next_step=error.next_command)


def files(platform: Platform) -> Finding:
    """Check that what the embedded programs run is in the cache."""
    cache = platform.settings.cache
    absent = [
        name
        for name, needed, there in (
            ("Kafka", platform.settings.embeds_kafka, jars.present("kafka", cache)),
            ("the schema registry", platform.settings.embeds_registry, registry.present(cache)),
        )
        if needed and not there
    ]
    found = f"not fetched yet: {' and '.join(absent)}" if absent else f"in {cache}"
    return Finding("jars", not absent, found, "headrace up fetches them")


def data_plane(platform: Platform) -> Finding:
    """Tell whether the data plane is one process, and check that it can be."""
    try:
        chain.check(platform.mode, platform.services, platform.replicas)
    except HeadraceError as error:
        return Finding(
            "data plane", ok=False, found=f"{error.what}: {error.why}", next_step=error.next_command
        )
    told = {
        "apart": "ingestion, features and serving, each in processes of its own",
        "fused": f"fused: {', '.join(chain.MEMBERS)} in one process",
        "lean": f"fused and lean: {', '.join(chain.MEMBERS)} in one process, the topics between them not written",
    }
    return Finding("data plane", ok=True, found=told[platform.mode])


def ports(platform: Platform) -> Finding:
    """Check that every port is free, or taken by the platform itself."""
    if platform.supervisor.running():
        return Finding("ports", ok=True, found="used by the running platform")
    taken = [
        f"{port} ({who}, {variable})"
        for port, who, variable in platform.wanted_ports()
        if not port_is_free(port)
    ]
    found = f"taken: {', '.join(taken)}" if taken else "free"
    return Finding("ports", not taken, found, "stop what uses them, or set the variable to another port")


def broker(platform: Platform) -> Finding:
    """Check that Kafka answers; an embedded one that was not started is no problem."""
    return _server(
        "kafka",
        platform,
        platform.settings.bootstrap,
        answers.kafka_answers,
        embedded=platform.settings.embeds_kafka,
    )


def schema_registry(platform: Platform) -> Finding:
    """Check that the schema registry answers; an embedded one that was not started is no problem."""
    return _server(
        "schema-registry",
        platform,
        platform.settings.registry_url,
        answers.registry_answers,
        embedded=platform.settings.embeds_registry,
    )


def room(platform: Platform) -> Finding:
    """Tell what a million events of each pipeline take on the disk of the platform's own Kafka."""
    settings = platform.settings
    if not settings.embeds_kafka or not answers.kafka_answers(settings):
        return Finding("room", ok=True, found="not measured (no Kafka of the platform's own runs)")
    from headrace.bus.reading import KafkaLog  # noqa: PLC0415  (only this check needs it)

    with KafkaLog(settings.bootstrap) as log:
        raw = {name.partition(".")[0]: name for name in log.topics() if name.endswith(EVENTS.name(""))}
        events = {pipeline: sum(log.ends(name).values()) for pipeline, name in raw.items()}
    told = [
        f"{name}: {mega:,.0f} MB a million events ({events[name]:,} so far)"
        for name, mega in per_million(settings.home / kafka.FOLDER, events).items()
    ]
    return Finding("room", ok=True, found="; ".join(told) or "no events yet")


def topics(platform: Platform) -> Finding:
    """Check that every topic is the one that the services worked on, and was not deleted and made again."""
    settings = platform.settings
    if not answers.kafka_answers(settings):
        return Finding("topics", ok=True, found="not asked (no broker answers)")
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415  (only this check needs it)

    from headrace.bus.identity import NEXT, made_again  # noqa: PLC0415

    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "broker.address.family": "v4"})
    services = sorted(path.parent.name for path in (settings.root / "services").glob("*/service.py"))
    told = [f"{name} (read by {', '.join(by)})" for name, by in made_again(admin, services).items()]
    found = f"deleted and made again: {'; '.join(told)}" if told else "those that the services worked on"
    return Finding("topics", not told, found, NEXT)


def transactions(platform: Platform) -> Finding:
    """Check that no transaction is open whose coordinator is done with it."""
    settings = platform.settings
    if not answers.kafka_answers(settings):
        return Finding("transactions", ok=True, found="not asked (no broker answers)")
    from headrace.bus.torn import State, look  # noqa: PLC0415  (only this check needs it)

    bad = [f for f in look(settings.bootstrap) if f.state is not State.OPEN]
    told = [f"{topic}/{partition} ({f.state})" for f in bad for topic, partition in [f.writer.place]]
    found = f"that do not end: {', '.join(told)}" if told else "all end"
    return Finding("transactions", not told, found, "headrace transactions finish")


def _server(
    name: str, platform: Platform, where: str, ask: Callable[..., bool], *, embedded: bool
) -> Finding:
    if embedded and not platform.supervisor.running():
        return Finding(name, ok=True, found="not started (headrace up)")
    answered = ask(platform.settings)
    step = f"headrace logs {name}" if embedded else "check the setting and the network"
    return Finding(name, answered, f"{where} {'answers' if answered else 'does not answer'}", step)


CHECKS: tuple[Callable[[Platform], Finding], ...] = (
    python,
    environment,
    disk,
    memory,
    clock,
    java_runtime,
    files,
    data_plane,
    ports,
    broker,
    schema_registry,
    topics,
    transactions,
    room,
)
