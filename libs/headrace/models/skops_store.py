"""scikit-learn estimators as bytes, without pickle, equal for equal estimators.

skops names members and objects after memory addresses and stamps them with the clock, so two dumps of one model
differ. Here every address becomes the number of its first appearance, and the archive gets one fixed time.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import skops.io

from headrace.models.ports import ArtifactError, TrainingError

TRUSTED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.linear_model._sgd_fast.Hinge",
    "sklearn.linear_model._sgd_fast.Log",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
)
"""Types beyond those that skops trusts by itself; each is plain state or a function of scikit-learn."""
_SCHEMA = "schema.json"
_TIME = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: Any) -> bytes:
    """Return the estimator's canonical bytes; raise ``TrainingError`` when ``loads`` would refuse them."""
    raw = skops.io.dumps(estimator)
    if foreign := _foreign(raw):
        raise TrainingError(
            f"the estimator holds types that are not on the trusted list: {', '.join(foreign)}",
            "an artifact is loaded without running code of its own",
            "use scikit-learn's estimators, or add the types to headrace/models/skops_store.py after reading them",
        )
    return _canonical(raw)


def loads(body: bytes) -> Any:
    """Return the estimator; raise ``ArtifactError`` when the bytes name a type that is not trusted."""
    try:
        foreign = _foreign(body)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ArtifactError("the model's bytes are not a skops archive", repr(error)) from error
    if foreign:
        raise ArtifactError("the artifact names types that are not trusted", ", ".join(foreign))
    return skops.io.loads(body, trusted=list(TRUSTED))


def _foreign(body: bytes) -> list[str]:
    return sorted(set(skops.io.get_untrusted_types(data=body)) - set(TRUSTED))


def _canonical(body: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        schema = json.loads(archive.read(_SCHEMA))
        numbers: dict[Any, int] = {}
        names: dict[str, str] = {}
        for node in _nodes(schema):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
            if "file" in node:
                node["file"] = names.setdefault(node["file"], f"{len(names)}{_suffix(node['file'])}")
        members = {new: archive.read(old) for old, new in names.items()}
    return _zipped({**members, _SCHEMA: json.dumps(schema, separators=(",", ":")).encode()})


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _nodes(part)


def _suffix(name: str) -> str:
    return name[name.rindex(".") :] if "." in name else ""


def _zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _TIME), members[name])
    return out.getvalue()
