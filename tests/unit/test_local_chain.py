"""The data plane as one process: what is started, at which ports, and what is refused."""

import pytest
from test_local_cli import headrace

from headrace.errors import ConfigurationError
from headrace.local import bringup, chain, checkup
from headrace.local.platform import Platform
from headrace.local.settings import CHECKOUT, Settings
from headrace.local.supervision import configuration

SERVICES = ["clock", "features", "ingestion", "monitoring", "serving"]


def platform(tmp_path, mode, services=SERVICES, **given):
    return Platform(Settings(home=tmp_path / "home", metrics_port=5_000), services, mode=mode, **given)


def test_apart_each_service_has_a_process_and_a_port(tmp_path):
    found = platform(tmp_path, "apart")
    assert found.ports == found.asked == dict(zip(SERVICES, range(5_000, 5_005), strict=True))


@pytest.mark.parametrize(
    ("mode", "module"),
    [
        ("fused", "headrace.bus.fused ingestion features serving"),
        ("lean", "headrace.bus.fused ingestion features serving --lean"),
    ],
)
def test_fused_one_process_takes_the_place_of_three_and_nobody_else_moves(tmp_path, mode, module):
    found = platform(tmp_path, mode)
    assert found.ports == {"clock": 5_000, "monitoring": 5_003, "fused": 5_001}
    assert found.asked == {"clock": 5_000, "monitoring": 5_003} | dict.fromkeys(chain.MEMBERS, 5_001)
    text = configuration(found.programs, "s")
    assert f"-m {module}\n" in text
    assert "programs=clock,monitoring,fused\n" in text
    assert "services.serving" not in text


def test_doctor_tells_which_way_it_is(tmp_path):
    told = checkup.data_plane(platform(tmp_path, "fused"))
    assert (told.ok, told.found) == (True, "fused: ingestion, features, serving in one process")
    assert not checkup.data_plane(platform(tmp_path, "fused", ["clock"])).ok


def test_a_home_remembers_its_way_until_it_is_stopped(tmp_path):
    assert platform(tmp_path, None).mode == "apart"
    chain.remember(tmp_path / "home", chain.Started("fused", SERVICES))
    found = Platform(Settings(home=tmp_path / "home"))
    assert (found.mode, found.services) == ("fused", SERVICES)
    assert platform(tmp_path, "apart").mode == "apart"
    chain.forget(tmp_path / "home")
    assert platform(tmp_path, None).mode == "apart"


def test_a_process_moves_records_only_where_a_pipeline_declares_it(tmp_path):
    (tmp_path / "services").symlink_to(CHECKOUT / "services")
    (tmp_path / "pipelines").mkdir()
    settings = Settings(root=tmp_path, home=tmp_path / "home")
    (tmp_path / "pipelines" / "a.yaml").write_text("name: a\n# rekey: {Order: shop}\n")
    assert "rekey" not in Platform(settings).services
    (tmp_path / "pipelines" / "b.yaml").write_text("name: b\nrekey: {Order: shop}\n")
    assert "rekey" in Platform(settings).services


def test_what_cannot_be_fused_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no service features to fuse"):
        platform(tmp_path, "fused", ["clock", "ingestion", "serving"]).start()
    with pytest.raises(ConfigurationError, match="serving cannot be fused; a fused chain is one process"):
        platform(tmp_path, "fused", replicas={"serving": 2}).start()
    assert not (tmp_path / "home").exists()


def test_topics_that_a_service_of_the_platform_reads_are_not_left_out(tmp_path):
    with pytest.raises(ConfigurationError, match=r"flights\.validated\.v1 cannot be left out; monitoring"):
        bringup.bring_up(platform(tmp_path, "lean"), 1, print)
    assert not (tmp_path / "home").exists()


def test_lean_alone_says_what_it_goes_with():
    done = headrace("up", "--lean")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "failed: --lean goes with --fused")
