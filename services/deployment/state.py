"""What deployment remembers of one pipeline: who is champion, who was, who is tried and who waits."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from headrace.bus.service import Rows
from headrace.pipeline.quarantine import Quarantine

KEY = "pipeline"


class Kept(BaseModel):
    """A frozen piece of state; its JSON is canonical, numbers come back to the bit."""

    model_config = ConfigDict(frozen=True)


class Model(Kept):
    """A registered version."""

    name: str
    version: int
    digest: str


class Rollout(Kept):
    """A challenger in shadow, and the evidence of the blocks judged so far."""

    rollout_id: str
    challenger: Model
    champion: Model
    since: int  # outcomes of events before this instant belong to blocks that were judged, or to no block
    evidence: dict[str, float]
    judged: int = 0  # until when blocks have been bet on


class Rollback(Kept):
    """An operator's command that waits for the close of the tick."""

    command_id: str
    by: str
    why: str
    to_version: int | None


class State(Kept):
    """The whole of it; ``champions`` is every version that ever was champion, ``former`` the line before this one."""

    champion: Model | None = None
    former: tuple[Model, ...] = ()
    champions: tuple[Model, ...] = ()
    rollout: Rollout | None = None
    waiting: tuple[Model, ...] = ()
    commands: tuple[Rollback, ...] = ()
    answered: tuple[str, ...] = ()
    kept_quarantine: dict[str, Any] = {}
    closed: int = 0  # time of the tick before: labels of blocks that ended by then have been judged

    @property
    def quarantine(self) -> Quarantine:
        """Return the stretches of labels in quarantine."""
        return Quarantine.restore(self.kept_quarantine)


def load(rows: Rows) -> State:
    """Return the state, or the empty one before the first record."""
    held = rows["deployment"].get([KEY])[0]
    return State.model_validate_json(held[0]) if held else State()


def save(rows: Rows, before: State, after: State) -> None:
    """Keep the state where it changed."""
    if after != before:
        rows["deployment"].put([KEY], [(after.model_dump_json(),)])
