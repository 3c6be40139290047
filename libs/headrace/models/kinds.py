"""Which adapter serves which kind of model; a foreign library is imported only when one of its models is used."""

from headrace.errors import ConfigurationError
from headrace.models.artifact import unpack
from headrace.models.ports import Learner, OnlineLearner, Predictor
from headrace.pipeline.definition import Definition


def learner(definition: Definition) -> Learner:
    """Return the learner of the pipeline's estimator: scikit-learn for ``batch``, River for ``online``."""
    if definition.estimator.kind == "batch":
        from headrace.models.sklearn_adapter import SklearnLearner  # noqa: PLC0415 - 1.4 s and 130 MB

        return SklearnLearner(definition.estimator, definition.features)
    return online_learner(definition)


def online_learner(definition: Definition) -> OnlineLearner:
    """Return the learner of an ``online`` estimator; raise ``ConfigurationError`` for another kind."""
    if definition.estimator.kind != "online":
        raise ConfigurationError(f"{definition.estimator.path} learns in batches", "its kind is not online")
    from headrace.models.river_adapter import RiverLearner  # noqa: PLC0415 - as above

    return RiverLearner(definition.estimator, definition.features)


def load(artifact: bytes) -> Predictor:
    """Return the predictor of an artifact; raise ``ArtifactError`` when it may not be loaded.

    The bytes must have been verified before: see ``headrace.store.artifacts``.
    """
    manifest, members = unpack(artifact)
    if manifest.kind == "batch":
        from headrace.models import sklearn_adapter  # noqa: PLC0415 - as above

        return sklearn_adapter.load(artifact, manifest, members)
    from headrace.models import river_adapter  # noqa: PLC0415 - as above

    return river_adapter.load(artifact, manifest, members)
