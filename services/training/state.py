"""What training remembers of one pipeline: the guard, the labels, what it asked for and what runs."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from headrace.bus.service import Rows
from headrace.pipeline.quarantine import Quarantine
from headrace.stats.guard import GuardState

KEY = "pipeline"


class Kept(BaseModel):
    """A frozen piece of state."""

    model_config = ConfigDict(frozen=True)


class Asked(Kept):
    """A request that waits for the close of the tick."""

    request_id: str
    trigger: str


class Running(Kept):
    """The one training that runs: what its candidate will say of where it comes from."""

    effect_id: str
    training_id: str
    request_id: str
    to_tick: int
    until: int = 0  # event time of the tick it began at
    quarantine: tuple[tuple[str, int], ...] = ()  # slice and begin of what it left out


class State(Kept):
    """The whole of it.

    ``kept_guard`` is :class:`GuardState` as JSON values, ``awaited`` the request of our own that has not come back,
    ``learnt`` the last snapshot of an online model, with the tick and the labels it reached.
    """

    kept_guard: dict[str, Any] = GuardState().state()
    labels: int = 0
    kept_quarantine: dict[str, Any] = {}
    requests: tuple[Asked, ...] = ()
    asked_at: int | None = None
    awaited: str | None = None
    running: Running | None = None
    learnt: str | None = None
    learnt_tick: int = 0
    learnt_labels: int = 0

    @property
    def guard(self) -> GuardState:
        """Return the guard's state."""
        return GuardState.restore(self.kept_guard)

    @property
    def quarantine(self) -> Quarantine:
        """Return the stretches of labels in quarantine."""
        return Quarantine.restore(self.kept_quarantine)

    def but(self, *, guard: GuardState | None = None, **changes: Any) -> "State":
        """Return the state with some of it changed."""
        kept = {"kept_guard": guard.state()} if guard else {}
        return self.model_copy(update={**changes, **kept})


def load(rows: Rows) -> State:
    """Return the state, or the empty one before the first record."""
    held = rows["training"].get([KEY])[0]
    return State.model_validate_json(held[0]) if held else State()


def save(rows: Rows, before: State, after: State) -> None:
    """Keep the state where it changed."""
    if after != before:
        rows["training"].put([KEY], [(after.model_dump_json(),)])
