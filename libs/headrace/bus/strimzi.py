"""The topics as Strimzi ``KafkaTopic`` manifests: ``python -m headrace.bus.strimzi`` writes ``k8s/topics``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from headrace.bus.provision import stages, topics_of
from headrace.bus.service import Service
from headrace.contracts import catalogue
from headrace.contracts.topics import CONTROL_TOPICS, Topic, changelog
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.sources.pipelines import read_all

FOLDER = Path(__file__).parents[3] / "k8s" / "topics"
_HEAD = "# Made from schemas/topics and pipelines by `python -m headrace.bus.strimzi`.\n"
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": 2_097_152,
    "min.cleanable.dirty.ratio": 0.2,
    "delete.retention.ms": 600_000,
}


def pages(definitions: Mapping[str, Definition], services: Sequence[Service]) -> dict[str, str]:
    """Return the files of ``k8s/topics``: the control topics, each pipeline's topics, and their kustomization."""
    control = [_manifest(t.name(), 1, _config(t)) for t in CONTROL_TOPICS]
    files = {"control.yaml": control}
    files |= {f"{name}.yaml": list(_of(definitions[name], services)) for name in sorted(definitions)}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
    return {name: _text(found) for name, found in {**files, "kustomization.yaml": [kustomization]}.items()}


def _of(definition: Definition, services: Sequence[Service]) -> Iterator[dict[str, Any]]:
    for topic in topics_of(definition):
        declared = catalogue.topics()[topic.stream].partitions
        partitions = definition.partitions if declared == "pipeline" else declared
        yield _manifest(topic.name(definition.name), partitions, _config(topic))
    for service in (s for s in services if s.needed(definition)):
        yield _manifest(changelog(service.name, definition.name), definition.partitions, _COMPACTED)


def _config(topic: Topic) -> dict[str, Any]:
    cleanup = catalogue.topics()[topic.stream].cleanup
    return {"cleanup.policy": cleanup, "message.timestamp.type": "LogAppendTime", "retention.ms": -1}


def _manifest(name: str, partitions: int, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": name, "labels": {"strimzi.io/cluster": "headrace"}},
        "spec": {"partitions": partitions, "replicas": 3, "config": {**config, "min.insync.replicas": 2}},
    }


def _text(manifests: Sequence[Mapping[str, Any]]) -> str:
    return _HEAD + yaml.safe_dump_all(manifests, sort_keys=False)


def current() -> dict[str, str]:
    """Return the files for the checkout's own pipelines and services."""
    settings = Settings()
    return pages(read_all(settings.pipelines), stages(settings.root / "services"))


if __name__ == "__main__":
    for filename, text in current().items():
        (FOLDER / filename).write_text(text)
