"""The retrain guard: which requests become trainings. However many ask, one training runs, and seldom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol, Self

YEAR = 365 * 86_400_000_000
REMEMBERED = 1_000  # request ids kept to know a repeated one
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Policy(Protocol):
    """What the guard reads of a definition's ``Training``: microseconds between trainings, trainings per 365 days."""

    @property
    def cooldown(self) -> int:
        """Return the event time that must pass between two trainings."""

    @property
    def budget(self) -> int:
        """Return the trainings allowed in any 365 days of event time."""


class Request(NamedTuple):
    """What the guard reads of a ``RetrainRequested``."""

    request_id: str
    trigger: str


class Decision(NamedTuple):
    """Train, or refuse and say why."""

    action: Literal["train", "refuse"]
    reason: str


@dataclass(frozen=True, slots=True)
class GuardState:
    """What the guard remembers: request ids, starts of trainings within 365 days, the one that runs, the pause."""

    seen: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    running: str | None = None
    paused: bool = False

    def finished(self, request_id: str) -> Self:
        """Return the state after the training of ``request_id`` ended, well or not; another id changes nothing."""
        return replace(self, running=None) if self.running == request_id else self

    def pausing(self, *, paused: bool) -> Self:
        """Return the state after an operator paused or resumed retraining."""
        return replace(self, paused=paused)

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "seen": [*self.seen],
            "starts": [*self.starts],
            "running": self.running,
            "paused": self.paused,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """Return the state that :meth:`state` gave."""
        return cls(tuple(state["seen"]), tuple(state["starts"]), state["running"], state["paused"])


def decide(state: GuardState, request: Request, now: int, policy: Policy) -> tuple[GuardState, Decision]:
    """Return the state after ``request`` and the decision; ``now`` is the tick's time (microseconds UTC).

    An operator's request need not wait for the cooldown; everything else binds it too.
    """
    starts = tuple(start for start in state.starts if start > now - YEAR)
    refusal = _refusal(replace(state, starts=starts), request, now, policy)
    after = replace(state, seen=_remember(state.seen, request.request_id), starts=starts)
    if refusal:
        return after, Decision("refuse", refusal)
    return replace(after, starts=(*starts, now), running=request.request_id), Decision(
        "train", request.trigger
    )


def _refusal(state: GuardState, request: Request, now: int, policy: Policy) -> str | None:
    """Return why ``request`` may not train, or None."""
    if request.request_id in state.seen:
        return "duplicate: this request was answered before"
    if state.paused:
        return "paused: an operator paused retraining"
    if state.running:
        return f"in flight: the training for request {state.running} has not ended"
    if len(state.starts) >= policy.budget:
        return f"budget: {policy.budget} trainings in 365 days are used, the next is free at {_text(state.starts[0] + YEAR)}"
    ready = state.starts[-1] + policy.cooldown if state.starts else now
    if now < ready and request.trigger != "operator":
        return f"cooldown: the next training may start at {_text(ready)}"
    return None


def _remember(seen: Sequence[str], request_id: str) -> tuple[str, ...]:
    return tuple(seen) if request_id in seen else (*seen, request_id)[-REMEMBERED:]


def _text(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()
