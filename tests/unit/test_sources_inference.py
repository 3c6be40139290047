"""The task and the roles that ``headrace init`` reads out of a file, and where it stops and names a flag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sheets import CSV, draft, line, wishes

from headrace.errors import UsageError
from headrace.sources import inference


@pytest.mark.parametrize(
    ("label", "task"),
    [
        (["yes", "no"], "binary"),
        (["0", "1"], "binary"),
        (["true", "false"], "binary"),
        (["a", "b", "c"], "multiclass"),
        (["1", "2", "3"], "multiclass"),
        (["1.5", "2.5", "3.5"], "regression"),
        ([str(n) for n in range(40)], "regression"),
    ],
)
def test_the_task_is_inferred(tmp_path, label, task):
    rows = "".join(
        f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,a,{label[n * 7 % len(label)]},{n * n % 11}\n"
        for n in range(200)
    )
    assert draft(tmp_path, "when,shop,bought,x\n" + rows).task == task


@pytest.mark.parametrize(
    ("label", "asked", "why"),
    [
        (["x"], None, "1 different values"),
        ([f"w{n}" for n in range(99)], None, "99 different texts"),
        (["a", "b", "c"], "binary", "3 classes"),
        (["a", "b"], "regression", "not a number"),
    ],
)
def test_a_label_that_does_not_fit_the_task_is_refused(tmp_path, label, asked, why):
    rows = "".join(f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,a,{label[n % len(label)]}\n" for n in range(200))
    with pytest.raises(UsageError, match=why):
        draft(tmp_path, "when,shop,bought\n" + rows, wishes(task=asked))


def test_every_column_has_a_role(tmp_path):
    found = draft(tmp_path)
    assert {line.column: line.role for line in found.lines} == {
        "when": "time", "shop": "key", "amount": "feature", "colour": "feature", "bought": "label",
    }  # fmt: skip
    assert line(draft(tmp_path, wishes=wishes(exclude=["colour"])), "colour").role == "left out"


def test_names_that_avro_does_not_know_are_mapped_and_shown(tmp_path):
    found = draft(tmp_path, CSV.replace("amount", "amount (€)").replace("colour", "1st colour"))
    assert line(found, "amount (€)").field == "amount"
    assert line(found, "1st colour").assumption == "a category; called _1st_colour"


@given(st.lists(st.text(), unique=True))
def test_mapped_names_are_legal_and_unique(names):
    mapped = inference.avro_names(names, {"event_id"})
    assert len(set(mapped.values())) == len(names)
    assert all(name.isascii() and name.isidentifier() and name != "event_id" for name in mapped.values())
