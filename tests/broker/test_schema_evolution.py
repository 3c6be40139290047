"""The registry judges every kind of change as we do, but for those where we are stricter."""

import pytest

from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.compatibility import breaks
from tests.contracts.evolution import CASES, STRICTER

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("mode", ["BACKWARD", "FORWARD", "FULL", "FULL_TRANSITIVE"])
def test_the_registry_agrees_on_every_kind(broker, mode):
    registry = ConfluentRegistry(broker.registry_url)
    disagreeing = {}
    for kind, (old, new) in CASES.items():
        subject = f"evolution-{mode}-{kind}"
        registry.register(subject, old)
        registry.require(subject, mode)
        if registry.accepts(subject, new) == breaks(kind, mode):
            disagreeing[kind] = "refused" if not breaks(kind, mode) else "taken"
    assert disagreeing == dict.fromkeys(STRICTER, "taken")


def test_the_registry_knows_nothing_of_an_unknown_subject(broker):
    old, _ = CASES["doc-changed"]
    assert ConfluentRegistry(broker.registry_url).accepts("nobody", old) is None
