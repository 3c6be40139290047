"""The Avro schemas that a pipeline's definition implies."""

import copy
from typing import Any

from headrace.contracts import catalogue
from headrace.pipeline.definition import Definition

_LINEAGE = ("event_id", "entity_key", "event_time", "origin", "tick")


def namespace(pipeline: str) -> str:
    """Return a pipeline's name as an Avro namespace: no hyphen, no leading digit, and still one name a pipeline."""
    name = pipeline.replace("-", "_")
    return f"_{name}" if name[0].isdigit() else name


def raw_schema(definition: Definition, record_name: str) -> dict[str, Any]:
    """Return the contract of a record type as it is registered.

    A contract without a namespace gets ``<pipeline>.events``, so that its subject says whose it is.
    """
    contract = {"name": record_name, **copy.deepcopy(definition.records[record_name].contract)}
    if "." not in contract["name"]:
        contract.setdefault("namespace", f"{namespace(definition.name)}.events")
    return contract


def validated_schema(definition: Definition, record_name: str) -> dict[str, Any]:
    """Return the schema of an accepted record: the lineage fields, and the user's record as ``data``."""
    data = {
        "name": "data",
        "type": raw_schema(definition, record_name),
        "doc": "The record as the producer sent it.",
    }
    doc = f"A {record_name} that passed every rule."
    return _record(definition, f"validated.{record_name}", doc, [*_lineage(), data])


def feature_schema(definition: Definition) -> dict[str, Any]:
    """Return the schema of a feature vector: every feature is nullable, a double or, for a category, a string."""
    own: list[dict[str, Any]] = [
        {
            "name": "pipeline_digest",
            "type": "string",
            "doc": "sha256 of the canonical pipeline definition, in hex.",
        },
        {"name": "feature_view_version", "type": "int", "doc": "Version of the feature view."},
        {"name": "features_hash", "type": "string", "doc": "sha256 of the encoded feature values, in hex."},
        {
            "name": "values",
            "type": _values(definition),
            "doc": "The features, in the order a model sees them.",
        },
    ]
    return _record(
        definition, "FeatureVector", "The features of one event, as serving saw them.", [*_lineage(), *own]
    )


def _values(definition: Definition) -> dict[str, Any]:
    categories = set(definition.features.categories)
    fields = [
        {
            "name": n,
            "type": ["null", "string" if n in categories else "double"],
            "default": None,
            "doc": f"Feature {n}.",
        }
        for n in definition.features.names
    ]
    return {"type": "record", "name": "FeatureValues", "doc": "One field a feature.", "fields": fields}


def _lineage() -> list[dict[str, Any]]:
    """Return the fields that every record of the data plane begins with, as ``Prediction`` has them."""
    fields = {f["name"]: f for f in catalogue.schema("Prediction")["fields"]}
    lineage = [fields[name] for name in _LINEAGE]
    # Outside the file, the inlined type keeps its own namespace.
    lineage[3]["type"]["namespace"] = "headrace"
    return lineage


def _record(definition: Definition, name: str, doc: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    full = f"{namespace(definition.name)}.{name}"
    space, _, short = full.rpartition(".")
    return {"type": "record", "name": short, "namespace": space, "doc": doc, "fields": fields}
