"""The key of this installation: one Ed25519 key in a file that only its owner reads, made at first use."""

import hashlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from headrace.errors import ConfigurationError

_FILE = "artifacts.pem"


def signing_key(home: Path) -> Ed25519PrivateKey:
    """Return the key under ``home/keys``; several processes that make it at once agree on one.

    Raises:
        ConfigurationError: when the file is not an Ed25519 key.
    """
    path = home / "keys" / _FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate()
        write_whole(
            path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), replace=False
        )
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is not a private key", str(error), "restore it from a backup"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key", f"it is a {type(key).__name__}")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """Return the first 16 hex digits of the sha256 of a public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def write_whole(path: Path, body: bytes, *, replace: bool = True) -> None:
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
