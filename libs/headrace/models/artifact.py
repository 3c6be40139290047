"""The one format of a stored model: a tar of ``manifest.json`` and members, whose bytes follow from its content."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from headrace.models.ports import ArtifactError
from headrace.pipeline.definition import Task

_MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a loader must know before it touches a member."""

    kind: Literal["batch", "online"]
    task: Task
    names: tuple[str, ...]
    estimator: str
    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    interval: tuple[float, float] = (0.0, 0.0)
    """Regression: residual quantiles that are added to the value for its lower and upper end."""
    format: int = FORMAT


def digest_of(artifact: bytes) -> str:
    """Return the address of an artifact: the sha256 of its bytes, in hex."""
    return hashlib.sha256(artifact).hexdigest()


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8; raise ``ValueError`` for NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def pack(manifest: Manifest, members: Mapping[str, bytes]) -> bytes:
    """Return the artifact; equal content gives equal bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in sorted({**members, _MANIFEST: canonical_json(asdict(manifest))}.items()):
            entry = tarfile.TarInfo(name)  # its defaults: owner 0, mode 0644, time 0
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def unpack(artifact: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Return manifest and members, read in memory; raise ``ArtifactError`` for anything but ``pack``'s bytes."""
    try:
        with tarfile.open(fileobj=io.BytesIO(artifact), mode="r:") as tar:
            members = {e.name: _body(tar, e) for e in tar.getmembers()}
        manifest = _manifest(json.loads(members.pop(_MANIFEST)))
    except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError("the bytes are not a model artifact", repr(error)) from error
    return manifest, members


def _body(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    body = tar.extractfile(entry)
    if body is None:
        raise ValueError(f"{entry.name} is not a file")
    return body.read()


def _manifest(raw: dict[str, object]) -> Manifest:
    if raw["format"] != FORMAT:
        raise ValueError(f"artifact format {raw['format']}; this version reads {FORMAT}")
    held = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    categories = held.pop("categories")
    if not isinstance(categories, dict):
        raise TypeError("categories must be an object")
    return Manifest(**held, categories={k: tuple(v) for k, v in categories.items()})  # type: ignore[arg-type]
