import re

import pytest

from headrace.errors import HeadraceError
from headrace.local import jars


def test_the_lock_names_each_file_once_with_a_sha256():
    entries = jars.pinned("kafka") + jars.pinned("registry") + jars.pinned("tools")
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in entries)
    assert len({jar.filename for jar in entries}) == len(entries) > 40


def test_no_other_coordinate_has_changed_the_version_of_a_part_of_kafka():
    pinned = [*jars.pinned("kafka"), *jars.pinned("tools")]
    parts = [jar.coordinate for jar in pinned if jar.coordinate.startswith("org.apache.kafka:")]
    assert {coordinate.rpartition(":")[2] for coordinate in parts} == {"4.3.0"}
    assert "org.apache.kafka:kafka-clients:4.3.0" in parts


def test_a_file_whose_hash_differs_never_reaches_the_cache(tmp_path):
    jar = jars.Jar("kafka", "0" * 64, "org.example:thing:1.0")
    staged = tmp_path / "staging" / "org/example/thing/1.0/thing-1.0.jar"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"not what was pinned")
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(HeadraceError, match=r"thing-1\.0\.jar"):
        jars._fetch_one(jar, tmp_path / "staging", cache)
    assert list(cache.iterdir()) == []


def test_a_file_with_the_pinned_hash_reaches_the_cache(tmp_path):
    staged = tmp_path / "staging" / "org/example/thing/1.0/thing-1.0.jar"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"what was pinned")
    jar = jars.Jar("kafka", jars.sha256(staged), "org.example:thing:1.0")
    jars._fetch_one(jar, tmp_path / "staging", tmp_path)
    assert (tmp_path / "thing-1.0.jar").read_bytes() == b"what was pinned"
