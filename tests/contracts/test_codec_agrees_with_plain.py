"""The compiled codec gives what the plain one gives: on valid rows, and on damaged bytes."""

import os
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contracts.arrow import arrow_schema, avro_schema
from headrace.contracts.codec import Budget, Codec
from headrace.contracts.plain import PlainCodec
from headrace.testing.damage import encoded, mutate, seeds
from tests.contracts.generated import batches, schemas

# Damage can repeat a map's key, which Avro allows; the comparison then takes the last, as fastavro does.
pytestmark = pytest.mark.filterwarnings("ignore:Encountered key")
RECORDS = int(os.environ.get("HEADRACE_FUZZ_RECORDS", "20000"))


def shown(decoded):
    """Everything an answer says, comparable where NaN stands and of equal map keys the last counts."""
    return repr(decoded.columns.to_pylist(maps_as_pydicts="lossy")), decoded.good.tolist(), decoded.errors


@given(batches())
@settings(max_examples=300)
def test_valid_rows_decode_and_encode_alike(batch):
    schema, rows = batch
    codec, bodies = Codec(schema), encoded(schema, rows)
    decoded = codec.decode(bodies)
    decoded.columns.validate(full=True)
    assert not decoded.errors
    assert decoded.columns.equals(PlainCodec(schema).decode(bodies).columns)
    assert codec.encode(decoded.columns) == bodies
    assert codec.encode(decoded.columns.slice(1), b"head") == [b"head" + b for b in bodies[1:]]


@given(batches(), st.data())
@settings(max_examples=200)
def test_rows_are_written_from_wherever_they_lie(batch, data):
    schema, rows = batch
    codec, bodies = Codec(schema), encoded(schema, rows)
    often = pa.concat_batches([codec.decode(bodies).columns] * 3)
    start = data.draw(st.integers(0, len(often)))
    count = data.draw(st.integers(0, len(often) - start))
    once = often.slice(start, count)
    assert codec.encode(once) == (bodies * 3)[start : start + count]
    again = data.draw(st.lists(st.integers(0, max(len(often) - 1, 0)), max_size=5 if rows else 0))
    assert codec.encode(often.take(pa.array(again, pa.int64()))) == [(bodies * 3)[n] for n in again]


@given(batches(), st.integers(0, 1 << 30))
@settings(max_examples=150)
def test_damaged_rows_of_any_schema_are_answered_alike(batch, seed):
    schema, rows = batch
    chance = random.Random(seed)
    bodies = encoded(schema, rows)
    bodies += [mutate(chance, b, chance.choice(bodies)) for b in bodies for _ in range(5)]
    budget = Budget(items=6, size=200)
    compiled = Codec(schema, budget).decode(bodies)
    compiled.columns.validate(full=True)
    assert shown(compiled) == shown(PlainCodec(schema, budget).decode(bodies))


def test_damaged_records_of_the_catalogue_are_answered_alike():
    chance, pool = random.Random(20130101), list(seeds())
    others = [body for _, body in pool]
    left = RECORDS
    while left > 0:
        for schema, body in pool:
            bodies = [mutate(chance, body, chance.choice(others)) for _ in range(min(left, 100))]
            compiled, plain = Codec(schema).decode(bodies), PlainCodec(schema).decode(bodies)
            compiled.columns.validate(full=True)
            assert shown(compiled) == shown(plain)
            left -= len(bodies)


@given(schemas())
@settings(max_examples=200)
def test_arrow_columns_go_to_avro_and_back(schema):
    columns = arrow_schema(schema)
    assert arrow_schema(avro_schema(columns, "Again", "test")) == columns


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_batches_may_be_cut_anywhere(size):
    schema, body = next(seeds())
    bodies = [body, body[:-1], body + b"\0"] * 700
    codec = Codec(schema)
    cuts = [codec.decode(bodies[i : i + size]) for i in range(0, len(bodies), size)]
    whole = codec.decode(bodies)
    assert pa.Table.from_batches([c.columns for c in cuts]).equals(pa.Table.from_batches([whole.columns]))
    assert sum(len(c.errors) for c in cuts) == len(whole.errors) == 1400
