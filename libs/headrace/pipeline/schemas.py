"""The Avro schemas that a pipeline's definition implies."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts import catalogue
from headrace.pipeline.definition import Definition

_LINEAGE = ("event_id", "entity_key", "event_time", "origin", "tick")
MARK = "quarantined_by"
DISTRUSTED = "distrusted"
_MARK = {
    "name": MARK,
    "type": ["null", "string"],
    "default": None,
    "doc": "Rule of the severity quarantine that the record broke; null when it broke none.",
}


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


def validated_schema(
    definition: Definition, record_name: str, *, with_mark: bool | None = None
) -> dict[str, Any]:
    """Return the schema of an accepted record: the lineage fields, and the user's record as ``data``.

    ``with_mark`` says whether it names the rule that quarantined the record; by default, where the pipeline has one.
    """
    data = {
        "name": "data",
        "type": raw_schema(definition, record_name),
        "doc": "The record as the producer sent it.",
    }
    doc = f"A {record_name} that passed every rule."
    return _record(
        definition, f"validated.{record_name}", doc, [*_lineage(), data, *_mark(definition, with_mark)]
    )


def feature_schema(definition: Definition, *, with_mark: bool | None = None) -> dict[str, Any]:
    """Return the schema of a feature vector: every feature is nullable, a double or, for a category, a string.

    ``with_mark`` is as in :func:`validated_schema`.
    """
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
        definition,
        "FeatureVector",
        "The features of one event, as serving saw them.",
        [*_lineage(), *own, *_mark(definition, with_mark)],
    )


def marked(columns: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """Return which records a rule has quarantined; None when that is none of them."""
    if MARK not in columns.schema.names or columns[MARK].null_count == columns.num_rows:
        return None
    found: npt.NDArray[np.bool_] = columns[MARK].is_valid().to_numpy(zero_copy_only=False)
    return found


def as_written(definition: Definition, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema a pipeline writes a record of ours with: without the fields that none of its rules can set."""
    set_by = {MARK: definition.quarantines, DISTRUSTED: bool(definition.block_rules)}
    return {**schema, "fields": [f for f in schema["fields"] if set_by.get(f["name"], True)]}


def _mark(definition: Definition, wanted: bool | None) -> list[dict[str, Any]]:  # noqa: FBT001 -- the callers' own
    return [copy.deepcopy(_MARK)] if (definition.quarantines if wanted is None else wanted) else []


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
