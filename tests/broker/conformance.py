"""What both logs must do alike, as checks over a rig."""

from rigs import DATA_PLANE, INGESTION, PUBLIC, MemoryRig, Once

from headrace.bus.records import Outgoing
from headrace.contracts.topics import EVENTS, LEDGER, REJECTED, VALIDATED
from tests.laws.shop import timed

# -- the events of the checks ------------------------------------------------------------------------------


def orders(first, number, step=0):
    rows = [
        {"order_id": f"o{n}", "shop": "abc"[n % 3], "amount": float(n), "at": n}
        for n in range(first, first + number)
    ]
    return timed(step, [("Order", row) for row in rows])


def answers(first, number, step=0):
    rows = [
        {"return_id": f"r{n}", "order_id": f"o{n}", "shop": "abc"[n % 3], "kept": n % 2.0, "at": n + 30}
        for n in range(first, first + number)
    ]
    return timed(step, [("Return", row) for row in rows])


BROKEN = [("!", {"bytes": b"no record"})]
STEPS = [
    [*orders(0, 20), *BROKEN, *answers(0, 12)],
    [*orders(15, 10, 1), *answers(10, 8, 1)],  # five ids again
    [],
    [*orders(30, 3, 3), *answers(12, 20, 3)],
]


# -- the checks --------------------------------------------------------------------------------------------


def check_records_come_back_as_they_were_appended(rig):
    topic = rig.definition.name + ".steps.v1"
    sent = [Outgoing(topic, 0, f"k{n}".encode(), b"\0" * n, [("h", bytes([n]))]) for n in range(60)]
    sent += [Outgoing(topic, 0, b"gone", None, []), Outgoing(topic, 0, None, b"keyless", [])]
    rig.append(sent[:25])
    rig.append(sent[25:])
    found = rig.held(topic, 0)
    assert [(r.key, r.value, list(r.headers)) for r in found] == [
        (s.key, s.value, list(s.headers)) for s in sent
    ]
    assert [r.offset for r in found] == list(range(len(sent)))


def check_a_reader_sees_committed_records_only(rig):
    rig.append(rig.events(orders(0, 3)))
    rig.append(rig.events(orders(3, 2)), commit=False)
    rig.append(rig.events(orders(5, 1)))
    assert [r.value for r in rig.read(EVENTS)] == [r.value for r in rig.events(orders(0, 3) + orders(5, 1))]


def check_an_aborted_transaction_leaves_nothing_and_is_done_again_once(rig):
    rig.append(rig.events(STEPS[0]))
    seen = []

    def abort(transaction):
        seen.append((len(transaction.produced), rig.read(VALIDATED), rig.committed(INGESTION, EVENTS)))
        return len(seen) == 1

    rig.settle([rig.runner(INGESTION, abort=abort)])
    first, second = seen[:2]
    assert first[0] > 0
    assert second[1:] == ([], 0)  # what the aborted transaction left for the next to see
    _once(rig, len(STEPS[0]))


def _once(rig, raw):
    """Every raw record has one end, and the input is committed behind the last."""
    ends = [r["origin"]["offset"] for topic in (VALIDATED, REJECTED) for r in rig.rows(topic)]
    assert sorted(ends) == list(range(raw))
    assert rig.committed(INGESTION, EVENTS) == raw


def check_offsets_and_outputs_become_visible_together(rig):
    runner = rig.runner(INGESTION)
    for n in range(4):
        rig.append(rig.events(orders(n * 5, 5)))
        rig.settle([runner])
        _once(rig, (n + 1) * 5)


def check_a_new_replica_goes_on_where_the_last_one_was(rig):
    reference = MemoryRig(rig.definition.name, rig.registry)  # dead letters hold schema ids
    _run(reference, [reference.runner(s) for s in DATA_PLANE], STEPS)
    for n, step in enumerate(STEPS):
        _run(rig, [rig.runner(s, max_batch=7) for s in DATA_PLANE], [step], first=n)
    assert rig.story() == reference.story()


def check_a_chain_is_fused_and_taken_apart_with_the_same_bits(rig):
    reference = MemoryRig(rig.definition.name, rig.registry)
    _run(reference, [reference.runner(s) for s in DATA_PLANE], STEPS)
    chain, alone = DATA_PLANE[:3], DATA_PLANE[3:]
    others = [rig.runner(s) for s in alone]
    for n, (step, members) in enumerate(zip(STEPS, (chain, chain[1:], [], chain), strict=True)):
        fused = [rig.fused(members, abort=Once(), max_batch=7)] if members else []
        apart = [rig.runner(s) for s in chain if s not in members]
        _run(rig, [*apart, *fused, *others], [step], first=n)
    assert rig.story() == reference.story()
    ends = [rig.committed(s, s.consumes[0].topic) for s in chain]
    again = rig.fused(chain)
    rig.settle([again, *others])
    assert rig.story() == reference.story()
    assert ends == [rig.committed(s, s.consumes[0].topic) for s in chain]
    assert min(ends) > 0


def check_state_comes_back_from_the_changelog(rig):
    rig.append(rig.events(orders(0, 5)))
    rig.settle([rig.runner(INGESTION)])
    rig.append(rig.events(orders(3, 4)))  # o3 and o4 again: known only to the state
    rig.tick(1, 9)
    rig.settle([rig.runner(INGESTION)])
    assert [r["event_id"] for r in rig.rows(VALIDATED)] == [f"o{n}" for n in range(7)]
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["absorbed"]) == (9, 2)


def check_a_tick_closes_at_its_end_even_where_no_record_lies(rig):
    runner = rig.runner(INGESTION)
    rig.append(rig.events(orders(0, 3)))
    rig.append(
        rig.events(orders(3, 2)), commit=False
    )  # on a broker the end is now behind nothing but markers
    end = rig.end(EVENTS)
    rig.tick(1, end)
    rig.settle([runner])
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["raw_from"], entry["raw_to"]) == (3, 0, end)


def check_a_tick_stays_open_until_its_end_is_read(rig):
    runner = rig.runner(INGESTION)
    rig.append(rig.events(orders(0, 3)))
    rig.tick(1, 4)
    rig.settle([runner])
    assert rig.read(LEDGER) == []
    rig.append(rig.events(orders(3, 2)))
    rig.settle([runner])
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["raw_to"]) == (4, 4)


def check_ticks_that_are_there_cut_what_a_new_replica_reads(rig):
    cuts = []
    for n, step in enumerate(STEPS):
        rig.append(rig.events(step))
        cuts.append(rig.end(EVENTS))
        rig.tick(n + 1, cuts[-1])
    rig.settle([rig.runner(INGESTION, max_batch=3)])
    assert [(entry["tick"], entry["raw_to"]) for entry in rig.rows(LEDGER)] == list(enumerate(cuts, 1))


def check_the_same_input_gives_the_same_bytes(rig):
    reference = MemoryRig(rig.definition.name, rig.registry)  # dead letters hold schema ids
    _run(reference, [reference.runner(s) for s in DATA_PLANE], STEPS)
    _run(rig, [rig.runner(s, abort=Once(), max_batch=11) for s in DATA_PLANE], STEPS)
    told, ledger = rig.story()
    assert all(told[t.stream] for t in PUBLIC)
    assert len(ledger) == len(STEPS) * len(DATA_PLANE)
    assert (told, ledger) == reference.story()


def _run(rig, runners, steps, first=0):
    for n, step in enumerate(steps, first):
        rig.append(rig.events(step))
        rig.tick(n + 1, rig.end(EVENTS))
        rig.settle(runners)


CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]
