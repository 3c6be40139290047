"""The trouble for ``keep-producer``: the end of one transaction reaches the broker while the next one is open."""

import signal
from collections.abc import Sequence

from headrace.chaos.cast import Actor, Cast
from headrace.chaos.proxy import Proxy
from headrace.chaos.schedule import CONTROL, Fault, Schedule
from headrace.local.settings import LOOPBACK, Settings

MUTANTS = ("keep-producer", CONTROL)


def schedule(victim: str) -> Schedule:
    """Return a stop in the middle of the victim's second transaction."""
    return Schedule({victim: [Fault(victim, "mid-produce", 2, "SIGSTOP")]}, [])


class LateEnd(Cast):
    """A cast whose victim, the first, talks to the broker by a proxy, which holds the end of its first transaction back."""

    def __init__(self, settings: Settings, services: Sequence[str], mutant: str, proxy: Proxy) -> None:
        super().__init__(settings, services, schedule(services[0]).faults, mutant=mutant)
        self._proxy = proxy

    def _told(self, actor: Actor) -> dict[str, str]:
        told = super()._told(actor)
        if actor.fault:
            told["HEADRACE_BOOTSTRAP"] = f"{LOOPBACK}:{self._proxy.port}"
        return told

    def _stopped(self, number: int, actor: Actor) -> None:
        """Let the late end through, and kill who is in the middle of the next transaction."""
        self._proxy.release()
        actor.stopped = actor.hit = True
        actor.fault = None
        self._send(number, signal.SIGKILL)
