"""Batches that no client can read, and records that break a handler: what stepping over them costs and says."""

import asyncio
import struct
import time
from base64 import b64encode
from dataclasses import replace
from random import Random

import pyarrow as pa
import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from conformance import orders
from rigs import FEATURE_SERVICE, INGESTION, PATIENCE, SERVING, KafkaRig, fresh_name
from test_stopped_lane import SCORING, breaking_on

from headrace.audit import recording
from headrace.audit.replay import replay
from headrace.bus import commanding
from headrace.bus.errors import HandlerError
from headrace.bus.reading import KafkaLog, Span
from headrace.contracts.topics import EVENTS, LEDGER, PREDICTIONS, REJECTED, VALIDATED

HEADER, LENGTH_AT, CRC_AT, ATTRIBUTES_AT, ZSTD = 61, 8, 17, 21, 4
COMPRESSED = 7
LARGEST = 100_000_000  # receive.message.max.bytes, above which the client unpacks nothing
CHANCE = Random(7)
# Behind a wrong checksum librdkafka reads on at a wrong byte: letters there cost it no more than an error (decision 15).
TEXTS = [("!", {"bytes": b64encode(CHANCE.randbytes(300))}) for _ in range(2)]


def bomb():
    """Return a zstd batch of three records, of which the second unpacks to more than a client takes."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2 * LARGEST)
    for n, value in enumerate([b"before", bytes(LARGEST + 1), b"behind"]):
        builder.append(n, None, b"a", value, [])
    whole = bytes(builder.build())
    packed = pa.Codec("zstd").compress(whole[HEADER:], asbytes=True)
    return sealed(bytearray(whole[:HEADER] + packed), ZSTD)


def sealed(batch, codec):
    struct.pack_into(">i", batch, LENGTH_AT, len(batch) - LENGTH_AT - 4)
    struct.pack_into(">h", batch, ATTRIBUTES_AT, codec)
    struct.pack_into(">I", batch, CRC_AT, calc_crc32c(bytes(batch[ATTRIBUTES_AT:])))
    return bytes(batch)


async def produce(bootstrap, topic, batch):
    """Send a batch as it is, past every client that would refuse to make it."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    client.add_topic(topic)
    await client.force_metadata_update()
    leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
    answer = await client.send(leader, ProduceRequest(None, -1, 10_000, [(topic, [(0, batch)])]))
    assert answer.topics[0][1][0][1] == 0
    await client.close()


def rot(home, topic, number, spoil):
    """Change bytes of a batch where it lies on the broker's disk."""
    (path,) = home.rglob(f"{topic}-0/*0.log")
    log, start = path.read_bytes(), 0
    for _ in range(number):
        start += struct.unpack_from(">i", log, start + LENGTH_AT)[0] + 12
    stop = start + struct.unpack_from(">i", log, start + LENGTH_AT)[0] + 12
    with path.open("r+b") as file:
        file.seek(start)
        file.write(spoil(bytearray(log[start:stop])))


def checksum_wrong(batch):
    batch[HEADER + 100] ^= 1
    return bytes(batch)


def unpackable(batch):
    """Return a compressed batch with another payload under a good checksum."""
    (attributes,) = struct.unpack_from(">h", batch, ATTRIBUTES_AT)
    assert attributes & COMPRESSED
    batch[HEADER + 4 :] = bytes(len(batch) - HEADER - 4)
    return sealed(batch, attributes)


def close_tick(runner):
    """Pump until the first tick is closed."""
    deadline = time.monotonic() + PATIENCE
    while not any(lane.saved.tick > 1 for lane in runner.engine.lanes.values()):
        assert time.monotonic() < deadline, "ingestion does not get past the unreadable batches"
        runner.pump()


@pytest.fixture
def rig(broker):
    rig = KafkaRig(fresh_name(), broker)
    yield rig
    rig.close()


@pytest.fixture
def spoilt(rig, broker):
    """Offsets 0 to 2 are good, 3 to 5 a bomb, 6 and 7 damaged, 8 to 27 not to be unpacked, 28 and 29 good."""
    topic = EVENTS.name(rig.definition.name)
    rig.append(rig.events(orders(0, 3)))
    asyncio.run(produce(rig.bootstrap, topic, bomb()))
    rig.append(rig.events(TEXTS))
    for first, number in ((8, 20), (28, 2)):
        rig.append(rig.events(orders(first, number)))
    rot(broker.home, topic, 2, checksum_wrong)
    rot(broker.home, topic, 3, unpackable)
    return rig


def test_every_place_of_an_unreadable_batch_is_refused_and_the_rest_goes_on(spoilt):
    rig = spoilt
    rig.tick(1, rig.end(EVENTS))
    close_tick(rig.runner(INGESTION))
    assert [r["event_id"] for r in rig.rows(VALIDATED)] == ["o0", "o1", "o2", "o28", "o29"]
    letters = rig.rows(REJECTED)
    assert [r["origin"]["offset"] for r in letters] == list(range(3, 28))
    assert {(r["rule"], r["raw"]) for r in letters} == {("unreadable", b"")}
    assert {r["origin"]["offset"] for r in letters if "damaged" in r["actual"]} == {6, 7}
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["rejected"]) == (30, 25)
    with KafkaLog(rig.bootstrap) as log:  # as a replay reads that begins amid a batch
        found = [s.record for s in log.read([Span(EVENTS.name(rig.definition.name), 0, 4, 30)])]
    assert [(r.offset, r.value is None) for r in found] == [(n, n < 28) for n in range(4, 30)]


def test_a_skipped_record_is_passed_by_a_process_that_could_not_go_on(rig):
    """The only lane stops, so the process ends; the next one finds the order before it fails again."""
    fragile = replace(FEATURE_SERVICE, handle=breaking_on(FEATURE_SERVICE.handle, "o3"))
    rig.append(rig.events(orders(0, 6)))
    rig.tick(1, rig.end(EVENTS))
    rig.settle([rig.runner(INGESTION)])
    with pytest.raises(HandlerError, match="/0@3"):
        rig.settle([rig.runner(fragile)])
    place = (EVENTS.name(rig.definition.name), 0, 3)
    rig.say(commanding.skip(rig.definition.name, "features", place, "it divides by three"))
    rig.settle([rig.runner(fragile), rig.runner(SERVING)])
    assert [r["event_id"] for r in rig.rows(PREDICTIONS)] == ["o0", "o1", "o2", "o4", "o5"]
    ((rule, event_id),) = [(r["rule"], r["event_id"]) for r in rig.rows(REJECTED)]
    assert (rule, event_id) == ("skipped", "o3")
    with KafkaLog(rig.bootstrap) as log:
        held = recording.with_data(recording.books(log, rig.definition.name), log, rig.registry, 1, 1)
    found = replay(held, SCORING, rig.registry, rig.artifacts, from_tick=1, to_tick=1)
    assert (found.checked, found.match, found.missing) == (5, 5, 0)
