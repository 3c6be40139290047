"""Which model versions a pipeline runs, folded from control.deployments: champion, challenger, and who came before."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """The champion (None: the prior answers) and the challenger in shadow (None: there is none)."""

    champion: Version | None = None
    challenger: Version | None = None


def fold(state: Deployed | None, record: str, fields: Mapping[str, Any]) -> Deployed:
    """Take one record of control.deployments."""
    state = state or Deployed()
    if "model_digest" not in fields:  # RollbackRefused: nothing moved
        return state
    version = Version(fields["model_name"], fields["version"], fields["model_digest"])
    if record == "ShadowStarted":
        return replace(state, challenger=version)
    if record == "ShadowRefused":
        return replace(state, challenger=None)
    if record in ("Promoted", "RolledBack"):
        return Deployed(champion=version)
    return state
