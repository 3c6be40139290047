"""Containers and manifests, as text: every service is there, every setting exists, every topic is the catalogue's."""

import re
from pathlib import Path

import pytest
import yaml

from headrace.bus import provision, strimzi
from headrace.local.platform import found_services
from headrace.local.settings import Settings
from headrace.sources.pipelines import read_all
from services.drift.settings import DriftSettings

SERVICES = found_services(Settings())
COMPOSE = yaml.safe_load(Path("docker-compose.yml").read_text())
KUSTOMIZATIONS = sorted(Path("k8s").rglob("kustomization.yaml"))
SETTINGS = {f"HEADRACE_{name.upper()}" for name in Settings.model_fields} | {
    f"HEADRACE_DRIFT_{name.upper()}" for name in DriftSettings.model_fields
}


def manifests(folder):
    """Yield every manifest below a folder."""
    for path in sorted(Path(folder).rglob("*.yaml")):
        yield from (m for m in yaml.safe_load_all(path.read_text()) if m)


def of_kind(kind):
    return {m["metadata"]["name"]: m for m in manifests("k8s") if m["kind"] == kind}


# -- docker-compose.yml ---------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_container_from_the_one_dockerfile(service):
    found = COMPOSE["services"][service]
    assert found["build"] == {"context": ".", "target": "service", "args": {"SERVICE": service}}
    assert {"network_mode", "restart", "volumes", "depends_on", "environment", "healthcheck"} <= set(found)


def test_every_built_container_is_a_service_or_the_platform():
    built = {n: s["build"] for n, s in COMPOSE["services"].items() if "build" in s}
    assert {n for n, b in built.items() if b["target"] == "service"} == set(SERVICES)
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", Path("Dockerfile").read_text(), re.MULTILINE))
    assert {b["target"] for b in built.values()} <= targets


def test_prometheus_scrapes_the_port_of_every_service():
    scraped = yaml.safe_load(Path("docker/prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    ports = [COMPOSE["services"][s]["environment"]["HEADRACE_METRICS_PORT"] for s in SERVICES]
    assert [f"127.0.0.1:{port}" for port in ports] == scraped[0]["targets"]


def test_compose_publishes_on_the_loopback_only():
    published = [port for s in COMPOSE["services"].values() for port in s.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_volumes_and_mounted_files_exist():
    mounted = [v.split(":")[0] for s in COMPOSE["services"].values() for v in s.get("volumes", [])]
    assert {v for v in mounted if not v.startswith(".")} == set(COMPOSE["volumes"])
    assert all(Path(v).is_file() for v in mounted if v.startswith("."))


def test_what_the_dockerfile_copies_is_let_through():
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", Path("Dockerfile").read_text(), re.MULTILINE)
    allowed = {line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in " ".join(copied).replace("${SERVICE}", "drift").split():
        assert Path(source).exists()
        assert {source.rstrip("/"), source.split("/")[0]} & allowed


# -- k8s ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_workload(service):
    found = of_kind("Deployment")[service]
    template = found["spec"]["template"]
    assert found["metadata"]["labels"] == {"headrace.dev/role": "service"}
    assert template["metadata"]["labels"].items() >= found["spec"]["selector"]["matchLabels"].items()
    assert [(c["name"], c["image"]) for c in template["spec"]["containers"]] == [
        ("service", f"headrace/{service}")
    ]


def test_every_workload_is_a_service():
    assert set(of_kind("Deployment")) == {*SERVICES, "any"}


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=str)
def test_a_kustomization_lists_every_file_beside_it(path):
    found = yaml.safe_load(path.read_text())
    listed = {*found["resources"], *(p["path"] for p in found.get("patches", []))}
    assert {r for r in listed if r.endswith(".yaml")} == {p.name for p in path.parent.glob("*.yaml")} - {
        path.name
    }
    assert all((path.parent / name).exists() for name in listed)


def test_the_overlay_names_an_image_for_every_container():
    overlay = yaml.safe_load(Path("k8s/overlays/example/kustomization.yaml").read_text())
    assert [i["name"] for i in overlay["images"]] == sorted(
        [f"headrace/{s}" for s in SERVICES] + ["headrace/platform"]
    )


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret", "PersistentVolumeClaim"])
def test_what_a_pod_refers_to_is_defined(kind):
    overlay = yaml.safe_load(Path("k8s/overlays/example/kustomization.yaml").read_text())
    made = {"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}.get(kind)
    defined = set(of_kind(kind)) | {g["name"] for g in overlay.get(made, [])}
    reference = {
        "ConfigMap": "configMapRef: {name: ",
        "Secret": "secretRef: {name: ",
        "PersistentVolumeClaim": "claimName: ",
    }
    text = "\n".join(p.read_text() for p in Path("k8s/base").glob("*.yaml"))
    named = set(re.findall(re.escape(reference[kind]) + r"([\w-]+)", text))
    assert named
    assert named <= defined


# -- settings and topics --------------------------------------------------------------------------------


def test_every_setting_that_is_named_exists():
    files = [Path("docker-compose.yml"), Path("Dockerfile"), *Path("k8s").rglob("*.yaml")]
    named = {n for path in files for n in re.findall(r"HEADRACE_[A-Z_]+", path.read_text())}
    assert named
    assert named <= SETTINGS


@pytest.mark.parametrize("name", sorted(strimzi.current()))
def test_the_topic_manifests_are_current(name):
    written = (strimzi.FOLDER / name).read_text()
    assert written == strimzi.current()[name], "run `python -m headrace.bus.strimzi` and commit k8s/topics"


def test_there_are_no_other_topic_manifests():
    assert {p.name for p in strimzi.FOLDER.iterdir()} == set(strimzi.current())


def test_the_manifests_are_the_topics_that_a_platform_creates(monkeypatch):
    """Ask the provisioning what it would create on an empty cluster."""
    asked = []

    class Cluster:
        topics = {}  # noqa: RUF012

        def __init__(self, config):
            del config

        def list_topics(self, timeout):
            del timeout
            return self

        def create_topics(self, topics, operation_timeout):
            del operation_timeout
            asked.extend(topics)
            return {}

    monkeypatch.setattr(provision, "AdminClient", Cluster)
    settings = Settings()
    provision.create_topics(
        settings, read_all(settings.pipelines).values(), provision.stages(settings.root / "services")
    )
    wanted = {t.topic: (t.num_partitions, dict(t.config)) for t in asked}
    found = {
        name: (
            m["spec"]["partitions"],
            {k: str(v) for k, v in m["spec"]["config"].items() if k != "min.insync.replicas"},
        )
        for name, m in of_kind("KafkaTopic").items()
    }
    assert found == wanted
