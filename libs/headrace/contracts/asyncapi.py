"""The topics as an AsyncAPI 3 document and as a table: ``python -m headrace.contracts.asyncapi`` writes both."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from headrace.contracts import catalogue
from headrace.contracts.catalogue import TopicSheet

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
_AVRO = "application/vnd.apache.avro+json;version=1.12.0"
_GENERATED = (
    "Generated for each pipeline from its definition; the registry holds it under `<topic>-<record>`."
)
_ABOUT = (
    "Events in, predictions and outcomes out, and every decision between. Values are Avro in the Confluent wire "
    "format; subjects are named by TopicRecordNameStrategy; headers carry "
    "CloudEvents and W3C traceparent, except where a topic sheet says `headers: false` "
    "or a pipeline names the topic in `without_headers`."
)
_HEADERS = {
    "ce_id": "Id of the record.",
    "ce_source": "Topic that the record was made for.",
    "ce_type": "Full name of the record type.",
    "ce_time": "Event time of the record.",
    "traceparent": "W3C trace context; its ids derive from the event id.",
}


def asyncapi(sheets: Mapping[str, TopicSheet], schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of topic sheets and the records that they declare."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Headrace", "version": "1.0.0", "description": _ABOUT},
        "defaultContentType": "avro/binary",
        "channels": {stream: _channel(sheet) for stream, sheet in sheets.items()},
        "operations": dict(_operations(sheets)),
        "components": {
            "messages": {name: _message(name, schema) for name, schema in schemas.items()},
            "messageTraits": {"record": {"headers": _header_schema()}},
        },
    }


def _channel(sheet: TopicSheet) -> dict[str, Any]:
    messages = {name: {"$ref": f"#/components/messages/{name}"} for name in sheet.declared}
    generated = {
        _plain(r): {"name": r, "description": _GENERATED} for r in sheet.records if r not in messages
    }
    channel = {
        "address": sheet.name,
        "description": sheet.description.strip(),
        "messages": {**messages, **generated},
        "bindings": {"kafka": _binding(sheet)},
        "tags": [{"name": "public" if sheet.public else "internal"}, {"name": f"owner:{sheet.owner}"}],
    }
    names = [n for n in ("pipeline", "service") if f"{{{n}}}" in sheet.name]
    if names:
        channel["parameters"] = {n: {"description": f"Name of the {n}."} for n in names}
    return channel


def _binding(sheet: TopicSheet) -> dict[str, Any]:
    binding: dict[str, Any] = {"topicConfiguration": {"cleanup.policy": [sheet.cleanup], "retention.ms": -1}}
    if isinstance(sheet.partitions, int):
        binding["partitions"] = sheet.partitions
    return binding


def _plain(record: str) -> str:
    """Return a generated record's name without the marks that a reference may not hold."""
    return record.replace("{", "").replace("}", "").replace(".", "_")


def _operations(sheets: Mapping[str, TopicSheet]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield what the users of the platform do; what its services do among themselves is in the sheets."""
    for stream, sheet in sheets.items():
        for actor in ("producers", "apps", "operators"):
            for action, actors in (("send", sheet.producers), ("receive", sheet.consumers)):
                if actor in actors:
                    channel = {"$ref": f"#/channels/{stream}"}
                    summary = f"{actor.capitalize()} {action} {stream}."
                    yield (
                        f"{actor}.{action}.{stream}",
                        {"action": action, "channel": channel, "summary": summary},
                    )


def _message(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"headrace.{name}",
        "summary": schema["doc"],
        "contentType": "avro/binary",
        "payload": {"schemaFormat": _AVRO, "schema": schema},
        "traits": [{"$ref": "#/components/messageTraits/record"}],
    }


def _header_schema() -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    return {"type": "object", "properties": properties}


def topic_table(sheets: Mapping[str, TopicSheet]) -> str:
    """Return the page ``docs/reference/topics.md``."""
    head = (
        "# Topics\n\nMade from `schemas/topics/` by `python -m headrace.contracts.asyncapi`. A name in braces stands "
        "for a pipeline, a service or a record type of the pipeline. Partitions: `pipeline` is the number in the "
        "pipeline's definition.\n\n"
    )
    public = [s for s in sheets.values() if s.public]
    internal = [s for s in sheets.values() if not s.public]
    return f"{head}## Public\n\n{_table(public)}\n## Internal\n\n{_table(internal)}"


def _table(sheets: Iterable[TopicSheet]) -> str:
    rows = [
        "| topic | what it holds | key | records | from | to | partitions |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_row(s) for s in sheets]
    return "\n".join(rows) + "\n"


def _row(sheet: TopicSheet) -> str:
    records = ", ".join(f"`{r}`" for r in sheet.records)
    people = f"{', '.join(sheet.producers)} | {', '.join(sheet.consumers)}"
    return f"| `{sheet.name}` | {sheet.description.strip()} | {sheet.key.strip()} | {records} | {people} | {sheet.partitions} |"


def pages() -> dict[str, str]:
    """Return the generated pages of ``docs/reference`` by file name."""
    sheets = catalogue.topics()
    document = asyncapi(sheets, {name: catalogue.schema(name) for name in catalogue.records()})
    # Without anchors: a type used twice is written twice, since most readers of the document know no aliases.
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    text = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
    return {"asyncapi.yaml": text, "topics.md": topic_table(sheets)}


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
