"""Models and other blobs by the sha256 of their bytes, in a folder, signed by this installation.

Nothing leaves ``get`` that was not checked first: the bytes must have the digest they are asked for by, and the
signature beside them must be one of the store's key. Loading (``headrace.models.kinds``) comes after that, never before.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headrace.errors import CheckError
from headrace.store.keys import key_id, signing_key, write_whole

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ArtifactMissingError(CheckError):
    """No artifact of that digest is in the store."""


class ArtifactTamperedError(CheckError):
    """The stored bytes are not those that were put, or somebody else signed them."""


@dataclass(frozen=True)
class ArtifactStore:
    """A folder of blobs, two levels deep, each with its signature beside it."""

    folder: Path
    key: Ed25519PrivateKey

    def put(self, body: bytes) -> str:
        """Keep the bytes and return their digest; safe to repeat, and safe to be killed in."""
        digest = hashlib.sha256(body).hexdigest()
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.with_suffix(".sig"), self.key.sign(_signed(digest)))
        write_whole(path, body)  # last: an artifact that is there has its signature
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes, checked; raise ``ArtifactMissingError`` or ``ArtifactTamperedError``."""
        path = self.path(digest)
        try:
            body, signature = path.read_bytes(), path.with_suffix(".sig").read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissingError(
                f"artifact {digest} is not in the store", f"no file {error.filename}"
            ) from error
        if hashlib.sha256(body).hexdigest() != digest:
            raise ArtifactTamperedError(f"artifact {digest} was changed", f"{path} has another sha256")
        try:
            self.key.public_key().verify(signature, _signed(digest))
        except InvalidSignature as error:
            raise ArtifactTamperedError(
                f"artifact {digest} was not signed by this installation",
                "its signature does not fit keys/artifacts.pem",
            ) from error
        return body

    def path(self, digest: str) -> Path:
        """Return where the artifact is, or would be; raise ``ArtifactMissingError`` for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise ArtifactMissingError(f"{digest!r} is not a sha256 in hex")
        return self.folder / digest[:2] / digest

    @property
    def key_id(self) -> str:
        """Return the first 16 hex digits of the sha256 of the public key."""
        return key_id(self.key.public_key())


def open_store(home: Path) -> ArtifactStore:
    """Return the store under ``home/artifacts``; its key is made at first use, readable by the owner only."""
    return ArtifactStore(home / "artifacts", signing_key(home))


def _signed(digest: str) -> bytes:
    return b"headrace artifact " + digest.encode()
