"""Topics that a pipeline names in ``without_headers``: their records, and all others', are what they would be."""

import pytest
from mints import HOUR, hour, pipeline
from pydantic import ValidationError
from test_label_contracts import loop_of

from headrace.contracts.topics import OUTCOMES, PREDICTIONS, PROFILES, RECEIPTS
from headrace.pipeline.definition import Definition

BARE = ("predictions", "outcomes")
RULE = {"name": "steep", "record": "Toss", "column": "bias", "kind": "range", "maximum": 2}
TOLD = (
    "event_id",
    "entity_key",
    "event_time",
    "origin",
    "tick",
    "scores",
    "label",
)  # ids derive from the digest


def run(**changes):
    loop = loop_of(pipeline(rules=[RULE], **changes))
    for number in range(5):
        loop.publish((number + 1) * HOUR, hour(number))
    return loop


@pytest.fixture(scope="module")
def loops():
    return run(), run(without_headers=list(BARE))


def headers(loop, topic):
    return {name for r in loop.log.read(topic.name("mints")) for name, _ in r.headers}


@pytest.mark.parametrize("topic", [PREDICTIONS, OUTCOMES])
def test_named_topics_carry_none_and_say_the_same(loops, topic):
    full, bare = loops
    assert {"ce_id", "traceparent"} <= headers(full, topic)
    assert headers(bare, topic) == set()
    told = [[[fields[name] for name in TOLD] for _, fields in loop.records(topic)] for loop in loops]
    assert told[0]
    assert told[0] == told[1]


@pytest.mark.parametrize("topic", [RECEIPTS, PROFILES])
def test_other_topics_keep_theirs(loops, topic):
    assert headers(loops[1], topic) == headers(loops[0], topic) != set()


def test_a_pipeline_that_names_none_keeps_its_digest():
    told = pipeline().model_dump(mode="json")
    assert "without_headers" not in told
    assert Definition.model_validate(told | {"without_headers": []}).digest == pipeline().digest
    assert pipeline(without_headers=["outcomes"]).digest != pipeline().digest


def test_a_topic_whose_bodies_do_not_hold_the_same_is_refused():
    with pytest.raises(ValidationError, match="'predictions', 'shadow-predictions' or 'outcomes'"):
        pipeline(without_headers=["receipts"])
