"""Models and other blobs by the sha256 of their bytes, in a folder, signed by this installation.

Nothing leaves ``get`` that was not checked first: the bytes must have the digest they are asked for by, and the
signature beside them must be one of the store's key. Loading (``headrace.models.kinds``) comes after that, never before.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from headrace.errors import CheckError, ConfigurationError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = "artifacts.pem"


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
        _write(path.with_suffix(".sig"), self.key.sign(_signed(digest)))
        _write(path, body)  # last: an artifact that is there has its signature
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
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(public).hexdigest()[:16]


def open_store(home: Path) -> ArtifactStore:
    """Return the store under ``home/artifacts``; its key is made at first use, readable by the owner only."""
    return ArtifactStore(home / "artifacts", _key(home / "keys" / _KEY))


def _signed(digest: str) -> bytes:
    return b"headrace artifact " + digest.encode()


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate()
        _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), replace=False)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is not a private key", str(error), "restore it from a backup"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key", f"it is a {type(key).__name__}")
    return key


def _write(path: Path, body: bytes, *, replace: bool = True) -> None:
    """Write whole or not at all; with ``replace`` off, the first of several writers wins."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    if replace:
        Path(name).replace(path)
        return
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # another service made it first: that one is the key
    finally:
        Path(name).unlink()
