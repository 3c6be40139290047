from pathlib import Path

import pyarrow.compute as pc
import pytest

from headrace.contracts.arrow import arrow_schema
from headrace.pipeline.schemas import raw_schema
from headrace.sources import pipelines, weather

PIPELINE = Path(__file__).parents[2] / "pipelines" / "weather.yaml"


@pytest.fixture(scope="module")
def tables():
    return weather.tables()


def test_every_hour_is_an_observation_and_the_next_one_answers_it(tables):
    observations, rain = tables["Observation"], tables["Rainfall"]
    assert (observations.num_rows, rain.num_rows) == (26_115, 26_067)
    assert len(set(observations["event_id"].to_pylist())) == 26_115
    later = dict(zip(observations["event_id"].to_pylist(), observations["precip"].to_pylist(), strict=True))
    for row in rain.slice(0, 500).to_pylist():
        station = row["origin"]
        assert later[f"{station}:{row['measured_at']:%Y-%m-%dT%H}"] == row["fell"]
        assert row["event_id"] == f"{row['observation_id']}:rain"


def test_the_tables_fit_the_contracts(tables):
    definition = pipelines.read(PIPELINE)
    for name, table in tables.items():
        wanted = arrow_schema(raw_schema(definition, name))
        assert dict(zip(table.schema.names, table.schema.types, strict=True)) == dict(
            zip(wanted.names, wanted.types, strict=True)
        )
        required = [field.name for field in wanted if not field.nullable]
        assert all(table[column].null_count == 0 for column in required)


def test_instants_are_utc(tables):
    assert str(pc.min(tables["Observation"]["observed_at"]).as_py()) == "2013-01-01 06:00:00+00:00"
