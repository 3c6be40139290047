"""What events take on disk: of a pipeline's own topics, and not the sparse sizes of Kafka's indexes."""

from headrace.local.room import per_million, taken


def kafka_with(folder, sizes):
    for partition, size in sizes.items():
        (folder / partition).mkdir()
        (folder / partition / "0.log").write_bytes(b"x" * size)


def test_only_the_pipelines_own_topics_count(tmp_path):
    kafka_with(
        tmp_path, {"shop.events.v1-0": 40_960, "shop.validated.v1-1": 40_960, "shopping.events.v1-0": 81_920}
    )
    assert taken(tmp_path, "shop") == 81_920
    assert per_million(tmp_path, {"shop": 1_000, "shopping": 0}) == {"shop": 81.92}


def test_a_hole_takes_no_room(tmp_path):
    kafka_with(tmp_path, {"shop.events.v1-0": 0})
    with (tmp_path / "shop.events.v1-0" / "0.index").open("wb") as index:
        index.truncate(10 << 20)
    assert taken(tmp_path, "shop") == 0
