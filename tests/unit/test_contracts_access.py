"""The permissions that doctor lists: enough for every manifest, and nothing of others."""

from pathlib import Path

from typer.testing import CliRunner

from headrace.bus.provision import stages
from headrace.cli.__main__ import app
from headrace.contracts.access import CONTROL, OWN, grants, services
from headrace.contracts.topics import COMMANDS, LEDGER, PIPELINES, TICKS, changelog

GRANTS = grants(["flights", "shop"])


def may(service, operation):
    return {g.name for g in GRANTS if g.principal == service and operation in g.operations}


def test_every_manifest_may_read_and_write_what_it_names():
    for service in stages(Path("services")):
        own = {changelog(service.name, "flights"), LEDGER.name("flights")}
        read = {t.name("flights") for t in (*(i.topic for i in service.consumes), *service.follows)}
        assert read | own | {PIPELINES.name(), TICKS.name("flights")} <= may(service.name, "Read")
        assert {t.name("flights") for t in service.emits} | own <= may(service.name, "Write")


def test_services_that_may_skip_read_the_orders():
    for service in ("ingestion", "features", "serving"):
        assert COMMANDS.name() in may(service, "Read")


def test_nothing_is_granted_outside_of_the_prefixes():
    begins = (*CONTROL, "flights.", "shop.", OWN)
    assert [g.name for g in GRANTS if not g.name.startswith(begins)] == []
    assert {g.name for g in GRANTS if g.pattern == "prefixed" and g.principal != "operators"} == {
        f"{OWN}{service}" for service in services()
    }


def test_a_changelog_is_its_own_services_alone():
    name = changelog("features", "flights")
    assert {g.principal for g in GRANTS if g.name == name} == {"features"}


def test_doctor_prints_commands():
    told = CliRunner().invoke(app, ["doctor", "--acls"]).output
    assert "--allow-principal User:features --operation Read --operation Describe" in told
    assert "--topic flights.validated.v1 --resource-pattern-type literal" in told
