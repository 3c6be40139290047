"""Topics, sheets, records and examples hold together."""

import json
from pathlib import Path

import avro.schema
import fastavro
import fastavro.validation
import pytest

from headrace.bus.provision import stages
from headrace.contracts import catalogue
from headrace.contracts.arrow import from_json
from headrace.contracts.codec import Codec
from headrace.contracts.shape import record_shape
from headrace.contracts.topics import CONTROL_TOPICS, PIPELINE_TOPICS, changelog

RECORDS = catalogue.records()
SHEETS = catalogue.topics()
TOPICS = {t.stream: t for t in (*PIPELINE_TOPICS, *CONTROL_TOPICS)}
LINEAGE = ["event_id", "entity_key", "event_time", "origin", "tick"]
SERVICES = {
    "clock", "ingestion", "rekey", "features", "serving", "monitoring", "drift", "training", "registry", "deployment", "audit",
    "console",
}  # fmt: skip
PEOPLE = {"producers", "apps", "operators", "every service"}


def named_types(schema):
    """Yield every record, enum and fixed within a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from named_types(branch)
    elif isinstance(schema, dict):
        if "name" in schema and schema["type"] in ("record", "enum", "fixed"):
            yield schema
        for part in ("type", "items", "values", "fields"):
            yield from named_types(schema.get(part))


def test_every_topic_has_a_sheet_under_its_own_name():
    assert set(SHEETS) == {*TOPICS, "changelog"}
    assert {s: SHEETS[s].name for s in TOPICS} == {s: t.name("{pipeline}") for s, t in TOPICS.items()}
    assert SHEETS["changelog"].name == changelog("{service}", "{pipeline}")


def test_sheets_name_the_producers_that_the_topics_name():
    assert {s: tuple(SHEETS[s].producers) for s in TOPICS} == {s: t.producers for s, t in TOPICS.items()}


def test_sheets_say_which_records_have_headers():
    assert {s: SHEETS[s].headers for s in TOPICS} == {s: t.headers for s, t in TOPICS.items()}


def test_every_record_is_on_a_topic_and_every_topic_s_records_exist():
    assert {r for sheet in SHEETS.values() for r in sheet.declared} == set(RECORDS)


def test_sheets_speak_of_known_services_and_people():
    spoken = {n for s in SHEETS.values() for n in (s.owner, *s.producers, *s.consumers)}
    assert spoken <= SERVICES | PEOPLE


def test_manifests_read_and_write_what_the_sheets_say():
    for service in stages(Path("services")):
        for topic in (*(i.topic for i in service.consumes), *service.follows):
            assert service.name in SHEETS[topic.stream].consumers, (service.name, topic.stream)
        for topic in service.emits:
            assert service.name in SHEETS[topic.stream].producers, (service.name, topic.stream)


def test_what_others_read_and_what_replay_reads_stays_compatible():
    assert [s for s, sheet in SHEETS.items() if sheet.compatibility != "FULL_TRANSITIVE"] == ["changelog"]
    assert not SHEETS["changelog"].public


def test_control_topics_have_one_partition_and_are_never_compacted():
    control = [SHEETS[t.stream] for t in CONTROL_TOPICS]
    assert {(s.partitions, s.cleanup, s.retention) for s in control} == {(1, "delete", "forever")}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_documented_to_the_last_field(name):
    schema = catalogue.schema(name)
    assert (schema["name"], schema["namespace"]) == (name, "headrace")
    for part in named_types(schema):
        assert part["doc"], part["name"]
        for field in part.get("fields", []):
            assert field["doc"].endswith("."), (part["name"], field["name"])


@pytest.mark.parametrize("name", RECORDS)
def test_an_optional_field_can_be_left_out(name):
    for part in named_types(catalogue.schema(name)):
        for field in part.get("fields", []):
            if isinstance(field["type"], list):
                assert field["type"][0] == "null"
                assert field["default"] is None


@pytest.mark.parametrize("name", RECORDS)
def test_apache_avro_reads_the_schema_too(name):
    avro.schema.parse(json.dumps(catalogue.schema(name)))


@pytest.mark.parametrize("name", RECORDS)
def test_the_example_shows_every_field_and_validates(name):
    schema, shown = catalogue.schema(name), catalogue.example(name)
    assert list(shown) == [f["name"] for f in schema["fields"]]
    row = _maps_as_dicts(from_json(shown, record_shape(schema)))
    assert fastavro.validation.validate(row, fastavro.parse_schema(schema), strict=True)


def _maps_as_dicts(value):
    if isinstance(value, dict):
        return {k: _maps_as_dicts(v) for k, v in value.items()}
    if isinstance(value, list):
        return dict(value) if value and isinstance(value[0], tuple) else [_maps_as_dicts(v) for v in value]
    return value


def test_there_are_no_other_examples():
    assert catalogue.examples() == RECORDS


def test_a_type_used_in_two_records_is_the_same_in_both():
    seen = {}
    for name in RECORDS:
        for part in list(named_types(catalogue.schema(name)))[1:]:
            assert seen.setdefault(part["name"], part) == part


@pytest.mark.parametrize("name", ["Prediction", "Outcome"])
def test_the_data_plane_begins_with_the_lineage(name):
    assert Codec(catalogue.schema(name)).arrow.names[:5] == LINEAGE
