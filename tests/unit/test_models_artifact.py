import io
import json
import tarfile
from collections import defaultdict

import pytest
import sklearn.svm
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from model_rows import BOOSTING, LOGISTIC, definition, rows
from river import compose, forest, linear_model, naive_bayes, optim, preprocessing, tree

from headrace.models import canonical, skops_store
from headrace.models.artifact import Manifest, pack, unpack
from headrace.models.kinds import load
from headrace.models.ports import ArtifactError, TrainingError
from headrace.models.training import train
from headrace.pipeline.definition import Estimator

MANIFEST = Manifest("batch", "binary", ("no", "yes"), "a:b", ("x", "c"), {"c": ("p", "q")})
RIVER = {
    "logistic": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "adam": lambda: (
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.Adam(0.01), l2=0.01)
    ),
    "softmax": lambda: preprocessing.StandardScaler() | linear_model.SoftmaxRegression(),
    "bayes": naive_bayes.GaussianNB,
    "tree": lambda: tree.HoeffdingTreeClassifier(grace_period=20),
    "adaptive": lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=20, seed=1),
    "forest": lambda: forest.ARFClassifier(n_models=2, seed=1),
    "typed": lambda: (
        (compose.SelectType(float) | preprocessing.StandardScaler()) | linear_model.ALMAClassifier()
    ),
}


@given(st.dictionaries(st.sampled_from(["model", "more", "x.json"]), st.binary(max_size=600)))
def test_an_artifact_gives_back_what_was_packed_and_equal_content_equal_bytes(members):
    artifact = pack(MANIFEST, members)
    assert unpack(artifact) == (MANIFEST, members)
    assert pack(MANIFEST, dict(reversed(members.items()))) == artifact


@pytest.mark.parametrize("body", [b"", b"no tar", pack(MANIFEST, {})[:700], b"\0" * 10_240])
def test_other_bytes_are_refused(body):
    with pytest.raises(ArtifactError, match="not a model artifact"):
        unpack(body)


def _tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry, body in entries:
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def test_a_link_and_a_later_format_are_refused():
    link = tarfile.TarInfo("manifest.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    newer = (tarfile.TarInfo("manifest.json"), json.dumps({"format": 99}).encode())
    for body in (_tar((link, b"")), _tar(newer)):
        with pytest.raises(ArtifactError):
            unpack(body)


def test_a_stored_estimator_with_a_foreign_type_is_refused_before_it_is_built():
    manifest, _ = unpack(train(definition(LOGISTIC), rows(), None, 700_000_000).artifact)
    smuggled = pack(manifest, {"model.skops": skops.io.dumps(defaultdict(io.StringIO))})
    with pytest.raises(ArtifactError, match=r"not trusted.*io\.StringIO"):
        load(smuggled)


def test_an_estimator_that_could_not_be_loaded_again_is_not_stored():
    neighbours = Estimator(path="sklearn.neighbors:KNeighborsClassifier")
    with pytest.raises(TrainingError, match=r"trusted list.*KDTree"):
        train(definition(neighbours), rows(), None, 700_000_000)


def test_dumps_of_one_estimator_are_equal_and_load_to_the_same_dumps():
    model = sklearn.svm.SVC().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    body = skops_store.dumps(model)
    assert skops_store.dumps(skops_store.loads(body)) == body == skops_store.dumps(model)


def _learnt(model, start=0):
    for i in range(start, start + 400):
        row = {"a": (i * 37 % 101) / 101, "b": (i * 53 % 97) / 97}
        model.learn_one(row, row["a"] + row["b"] > 1)
    return model


@pytest.mark.parametrize("make", RIVER.values(), ids=RIVER)
def test_a_river_model_goes_on_from_its_state_as_if_never_stored(make):
    model = _learnt(make())
    body = canonical.dumps(model)
    copy = canonical.loads(body)
    assert canonical.dumps(copy) == body
    assert canonical.dumps(_learnt(copy, 400)) == canonical.dumps(_learnt(model, 400))


def test_shared_pieces_stay_shared():
    held = compose.Pipeline(preprocessing.StandardScaler())
    one, two = canonical.loads(canonical.dumps([held, held]))
    assert one is two


@pytest.mark.parametrize(
    "text",
    [
        '["call","os:system",[["list",["true"]]],null,[],[]]',
        '["call","builtins:eval",["1"],null,[],[]]',
        '["call","river.datasets.base:os.system",["true"],null,[],[]]',
        '["call","river.datasets.base:pathlib.Path",["/etc/passwd"],null,[],[]]',
        '["call","river.utils.pretty:print_table",[],null,[],[]]',
        '["call","copy:deepcopy",[1],null,[],[]]',
        '["type","subprocess:Popen"]',
        '["ref",3]',
        '["unheard of"]',
        "{",
    ],
)
def test_state_that_names_anything_else_is_refused(text):
    with pytest.raises(ArtifactError):
        canonical.loads(text.encode())


def test_what_has_no_canonical_state_is_not_stored():
    with pytest.raises(ArtifactError, match="lambda"):
        canonical.dumps(compose.FuncTransformer(lambda row: row))
    with pytest.raises(ArtifactError, match="may not be part"):
        canonical.dumps(io.StringIO())
    online = Estimator(path="river.neighbors:KNNClassifier", kind="online")
    with pytest.raises(TrainingError, match=r"KNNClassifier does not come back|cannot be stored"):
        train(definition(online), rows(), None, 700_000_000)


def test_the_bytes_of_a_boosted_model_hold_no_clock_and_no_address():
    one, two = (train(definition(BOOSTING), rows(), None, 700_000_000).artifact for _ in range(2))
    assert one == two
