"""Keys land where Java's partitioner puts them."""

import pyarrow as pa
import pytest

from headrace.bus.partitions import murmur2, partitions_of

# From UtilsTest.testMurmur2 of Apache Kafka, whose results are signed.
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def test_hashes_are_those_of_java():
    assert murmur2(pa.array(list(JAVA))).tolist() == [h % (1 << 32) for h in JAVA.values()]


@pytest.mark.parametrize("keys", [pa.array(["x", *JAVA]).slice(1), pa.array([k.encode() for k in JAVA])])
def test_partitions_are_those_of_java(keys):
    assert partitions_of(keys, 6).tolist() == [(h & 0x7FFFFFFF) % 6 for h in JAVA.values()]


def test_a_key_that_is_missing_lies_with_the_empty_one():
    (missing, empty) = partitions_of(pa.array([None, ""], pa.string()), 24).tolist()
    assert missing == empty
