"""The Avro schemas that a definition implies."""

import json

import avro.schema
import pytest

from headrace.contracts import catalogue
from headrace.contracts.codec import Codec
from headrace.pipeline.definition import Definition
from headrace.pipeline.schemas import feature_schema, namespace, raw_schema, validated_schema


def definition(name="2-shops", **contract):
    fields = [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ]
    kind = {
        "contract": {"type": "record", "fields": fields, **contract},
        "id": "id",
        "key": ["id"],
        "time": "at",
    }
    return Definition.model_validate(
        {
            "name": name,
            "task": "binary",
            "records": {"Visit": {**kind, "role": "event"}, "Sale": {**kind, "role": "label", "joins": "id"}},
            "label": {"record": "Sale", "sql": "true"},
            "features": {
                "rows": [{"name": "hour", "sql": "1"}, {"name": "shop", "sql": "id", "kind": "category"}],
                "windows": [{"name": "sales", "record": "Sale", "group_by": "id", "window": "1h"}],
            },
            "estimator": {"path": "a:b"},
            "prior": {"yes": 0.5, "no": 0.5},
        }
    )


def test_a_contract_without_a_namespace_gets_the_pipeline_s():
    assert Codec(raw_schema(definition(), "Visit")).shape.name == "_2_shops.events.Visit"


def test_a_contract_keeps_the_name_its_owner_gave():
    given = definition(name="shops", namespace="com.acme")
    assert Codec(raw_schema(given, "Sale")).shape.name == "com.acme.Sale"
    assert "namespace" not in definition().records["Sale"].contract


def test_a_validated_record_is_the_lineage_and_the_user_s_record():
    codec = Codec(validated_schema(definition(), "Visit"))
    assert codec.shape.name == "_2_shops.validated.Visit"
    lineage = Codec(catalogue.schema("Prediction")).arrow
    assert [codec.arrow.field(i) for i in range(5)] == [lineage.field(i) for i in range(5)]
    assert [f.name for f in codec.arrow.field("data").type] == ["id", "at"]


def test_features_are_nullable_doubles_and_strings_in_the_model_s_order():
    values = Codec(feature_schema(definition())).arrow.field("values").type
    assert [(f.name, str(f.type), f.nullable) for f in values] == [
        ("hour", "double", True),
        ("shop", "string", True),
        ("sales", "double", True),
    ]


def test_every_generated_schema_is_avro_to_the_apache_reader():
    given = definition()
    for schema in (raw_schema(given, "Visit"), validated_schema(given, "Sale"), feature_schema(given)):
        avro.schema.parse(json.dumps(schema))


@pytest.mark.parametrize(
    ("name", "expected"), [("flights", "flights"), ("my-shop", "my_shop"), ("1st", "_1st")]
)
def test_a_pipeline_s_name_is_a_namespace(name, expected):
    assert namespace(name) == expected
