"""What was seen is the same however many batches it came in."""

from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus.rows import Overlays, State
from headrace.stats import profiles
from services.serving import counted
from services.serving.service import SERVICE

NUMBERS = st.lists(st.none() | st.floats(-5, 5), max_size=3)
NAMES = st.lists(st.none() | st.sampled_from("abc"), max_size=3)
BATCH = st.tuples(NUMBERS, NAMES)
BATCHES = st.lists(BATCH, min_size=1, max_size=5) | st.lists(BATCH, min_size=counted.MOST + 2, max_size=90)


def seen(numbers, names):
    features = [profiles.feature("n", "number", numbers), profiles.feature("c", "category", names)]
    return profiles.profile(features, profiles.scores([0.5] * len(numbers)))


@settings(max_examples=30)
@given(BATCHES)
def test_many_batches_count_as_one(batches):
    states = {t.name: State(t) for t in SERVICE.tables}
    for numbers, names in batches:
        overlays = Overlays(states)
        counted.add(overlays["profile"], 3, seen(numbers, names))
        overlays.apply()
    assert len(states["profile"].all()) <= counted.MOST + 1
    numbers, names = (list(chain(*column)) for column in zip(*batches, strict=True))
    overlays = Overlays(states)
    assert counted.taken(overlays["profile"]) == (3, seen(numbers, names))
    assert counted.taken(overlays["profile"]) is None
