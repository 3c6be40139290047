import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.errors import ConfigurationError
from headrace.store.artifacts import ArtifactMissingError, ArtifactTamperedError, open_store


def test_what_was_put_comes_back_by_its_digest_and_twice_is_once(tmp_path):
    store = open_store(tmp_path)
    digest = store.put(b"model")
    assert store.put(b"model") == digest
    assert open_store(tmp_path).get(digest) == b"model"


def test_changed_bytes_are_refused(tmp_path):
    store = open_store(tmp_path)
    digest = store.put(b"model")
    store.path(digest).write_bytes(b"model with a door")
    with pytest.raises(ArtifactTamperedError, match="changed"):
        store.get(digest)


def test_an_artifact_signed_elsewhere_is_refused(tmp_path):
    here, there = open_store(tmp_path / "here"), open_store(tmp_path / "there")
    digest = here.put(b"model")
    there.put(b"model")
    here.path(digest).with_suffix(".sig").write_bytes(there.path(digest).with_suffix(".sig").read_bytes())
    with pytest.raises(ArtifactTamperedError, match="not signed by this installation"):
        here.get(digest)


def test_a_write_that_was_cut_off_leaves_nothing_to_get(tmp_path):
    store = open_store(tmp_path)
    digest = store.put(b"model")
    store.path(digest).unlink()
    with pytest.raises(ArtifactMissingError, match=digest):
        store.get(digest)
    store.put(b"model")
    assert store.get(digest) == b"model"


@pytest.mark.parametrize("name", ["", "../../keys/artifacts.pem", "A" * 64, "0" * 63])
def test_only_a_digest_is_looked_up(tmp_path, name):
    with pytest.raises(ArtifactMissingError, match="not a sha256"):
        open_store(tmp_path).get(name)


def test_services_that_start_together_agree_on_one_private_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_store(tmp_path), range(8)))
    assert len({store.key_id for store in stores}) == 1
    key = tmp_path / "keys" / "artifacts.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [p.name for p in key.parent.iterdir()] == ["artifacts.pem"]


def test_a_broken_key_is_named(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "artifacts.pem").write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"artifacts\.pem"):
        open_store(tmp_path)
