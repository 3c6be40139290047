from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from model_rows import BOOSTING, definition, rows

from headrace.models.baselines import baselines, by_month, join, policies
from headrace.pipeline.definition import Training

DAY = 86_400_000_000
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
FIRST = Training(first_at=datetime(2024, 2, 1, tzinfo=UTC))
TOY = definition(BOOSTING).model_copy(update={"training": FIRST})
POLICIES = ["one_feature", "static", "always_retrain", "cron_all"]


def _stream(days=90, delay=DAY):
    """Ten events a day from New Year on, each answered a day later."""
    table = rows(days * 10)
    at = START + np.arange(days * 10) * (DAY // 10)
    instants = pa.array(at, pa.timestamp("us", tz="UTC"))
    features = table.drop_columns(["label", "tick"]).set_column(3, "event_time", instants)
    labels = table.select(["event_id", "label"])
    return features, labels.append_column("labelled_at", pa.array(at + delay, pa.timestamp("us", tz="UTC")))


def test_every_month_from_the_first_training_has_every_figure_of_every_policy():
    found = baselines(TOY, join(TOY, *_stream()), "size")
    assert list(found) == ["2024-02", "2024-03"]
    for figures in found.values():
        assert sorted(figures) == ["auc", "brier", "log_loss"]
        assert all(list(figures[metric]) == POLICIES for metric in figures)
    first = found["2024-02"]["log_loss"]
    assert first["static"] == first["cron_all"] == first["always_retrain"]
    assert found["2024-03"]["log_loss"]["static"] != found["2024-03"]["log_loss"]["cron_all"]


def test_no_model_sees_a_label_before_it_arrived():
    features, labels = _stream()
    known = [at.as_py() < datetime(2024, 3, 1, tzinfo=UTC) for at in labels["labelled_at"]]
    told = [v if k else "no" for v, k in zip(labels["label"].to_pylist(), known, strict=True)]
    other = labels.set_column(1, "label", pa.array(told))
    one, two = (policies(TOY, join(TOY, features, held), "size") for held in (labels, other))
    assert all(np.array_equal(one[name], two[name]) for name in POLICIES)
    assert not np.array_equal(join(TOY, features, labels).target, join(TOY, features, other).target)


def test_a_table_in_another_order_gives_the_same_figures():
    features, labels = _stream()
    turned = features.take(list(range(features.num_rows - 1, -1, -1)))
    same = [baselines(TOY, join(TOY, f, labels), "size") for f in (features, turned)]
    assert same[0] == same[1]


def test_events_without_a_label_and_a_handful_after_the_last_midnight_do_not_count():
    features, labels = _stream(days=93)
    held = join(TOY, features, labels.slice(0, 915))
    assert len(held.target) == 915
    assert list(baselines(TOY, held, "size")) == ["2024-02", "2024-03"]


def test_months_begin_where_the_clock_does():
    shifted = TOY.model_copy(update={"clock": TOY.clock.model_copy(update={"offset": 5 * 3_600_000_000})})
    times = np.full(100, START + 60 * DAY + 3_600_000_000)  # one in the morning of 1 March, UTC
    scores = {"any": np.full((100, 2), 0.5)}
    assert list(by_month(shifted, times, np.zeros(100), scores)) == ["2024-02"]
    assert list(by_month(TOY, times, np.zeros(100), scores)) == ["2024-03"]


def test_without_a_first_training_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match="first_at"):
        baselines(definition(BOOSTING), join(TOY, *_stream()), "size")
