"""Kafka's own files: the id of its cluster."""

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as some

from headrace.local.kafka import cluster_id


@given(some.uuids())
def test_no_id_of_a_cluster_looks_like_an_option(drawn):
    assert re.fullmatch(r"[A-Za-z0-9][\w-]{21}", cluster_id(drawn), re.ASCII)


def test_an_id_that_kafka_refused_is_another_one():
    assert cluster_id(UUID(bytes=b"\xfb" + bytes(15))) == "ewAAAAAAAAAAAAAAAAAAAA"
