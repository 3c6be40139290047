"""The generated pages are current, and the AsyncAPI document is sound."""

import pytest
import yaml

from headrace.contracts import catalogue
from headrace.contracts.asyncapi import REFERENCE, pages

PAGES = pages()
DOCUMENT = yaml.safe_load(PAGES["asyncapi.yaml"])


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_page_in_the_tree_is_what_the_schemas_give(name):
    written = (REFERENCE / name).read_text()
    assert written == PAGES[name], "run `python -m headrace.contracts.asyncapi` and commit docs/reference"


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from references(part)


def test_every_reference_leads_somewhere():
    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_topic_is_a_channel_and_every_record_a_message_with_its_schema():
    assert {c["address"] for c in DOCUMENT["channels"].values()} == {
        s.name for s in catalogue.topics().values()
    }
    schemas = {n: m["payload"]["schema"] for n, m in DOCUMENT["components"]["messages"].items()}
    assert schemas == {n: catalogue.schema(n) for n in catalogue.records()}


def test_an_app_receives_predictions_and_a_producer_sends_events():
    assert DOCUMENT["operations"]["apps.receive.predictions"]["action"] == "receive"
    assert DOCUMENT["operations"]["producers.send.events"]["channel"] == {"$ref": "#/channels/events"}
