"""Every kind of change is named, judged per mode, and judged alike by Apache Avro's checker."""

import pytest

from headrace.contracts.changes import KINDS, changes
from headrace.contracts.compatibility import avro_objections, breaks, judge
from tests.contracts.evolution import CASES, STRICTER, record

MODES = ("BACKWARD", "FORWARD", "FULL")


@pytest.mark.parametrize("kind", CASES)
def test_a_change_is_named_by_its_kind(kind):
    old, new = CASES[kind]
    assert [c.kind for c in changes(old, new)] == [kind]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", CASES)
def test_apache_avro_agrees_on_every_kind(kind, mode):
    old, new = CASES[kind]
    assert bool(avro_objections(old, new, mode)) == (breaks(kind, mode) and kind not in STRICTER)
    assert judge([old], new, mode).good != breaks(kind, mode)


def test_every_kind_has_a_case():
    assert set(KINDS) - set(CASES) == {"record-added", "record-removed", "unexplained"}


def test_whatever_breaks_says_what_to_do():
    assert all(k.fix for k in KINDS.values() if not (k.backward and k.forward))


def test_no_mode_forbids_nothing():
    old, new = CASES["type-changed"]
    assert judge([old], new, "NONE").good


def test_a_removed_record_breaks_those_who_read_old_data():
    assert not judge([record("int")], None, "BACKWARD").good
    assert judge([record("int")], None, "FORWARD").good
    assert judge([], record("int"), "FULL_TRANSITIVE").good


def test_a_transitive_mode_asks_every_version():
    """A default that is taken away is harmless to the version before, and breaks the one before that."""
    first = record("int")
    second, third = record("int", f2=("int", 0)), record("int", f2=("int",))
    assert judge([first, second], third, "BACKWARD").good
    assert not judge([first, second], third, "BACKWARD_TRANSITIVE").good


def test_a_change_is_found_at_its_path():
    inner = {"type": "array", "items": record("int")}
    outer = {**record(inner), "name": "Outer"}
    changed = {**record({"type": "array", "items": record("long")}), "name": "Outer"}
    assert [(c.kind, c.path) for c in changes(outer, changed)] == [("type-widened", "f1[].f1")]
