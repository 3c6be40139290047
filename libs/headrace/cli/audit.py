"""``headrace audit``: prove that nothing was changed, moved, left out or slipped in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

app = typer.Typer(help="Prove that a pipeline's ledger is the one that was signed.", no_args_is_help=True)


@app.command()
def verify(
    pipeline: Annotated[str, typer.Argument(help="The pipeline")],
    *,
    key: Annotated[
        Path | None, typer.Option(help="Public key of the signer (PEM)  [default: this installation's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compute the signed heads again from the ledger; exit 5 when the ledger or a head was tampered with."""
    import json

    from headrace.audit import heads
    from headrace.bus.reading import records
    from headrace.cli.broker import broker
    from headrace.contracts.topics import AUDIT
    from headrace.errors import CheckError

    with broker() as (settings, log, registry):
        flaws = heads.verify(log, registry, pipeline, _read(key) if key else _own(settings.home))
        signed = len(list(records(log, registry, AUDIT.name(), pipeline)))
    if as_json:
        typer.echo(json.dumps({"pipeline": pipeline, "heads": signed, "flaws": [f._asdict() for f in flaws]}))
    else:
        typer.echo(f"{pipeline}: {signed} signed heads")
        for flaw in flaws:
            typer.echo(f"tick {flaw.tick}: {flaw.what}")
    if flaws:
        raise CheckError(
            f"the ledger of {pipeline} is not what was signed",
            f"it shows first at tick {flaws[0].tick}",
            f"headrace replay {pipeline} --from-tick {flaws[0].tick}",
        )


@app.command("key")
def public_key() -> None:
    """Print the public key of this installation, to keep where its administrators cannot write."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from headrace.local.settings import Settings

    found = _own(Settings().home)
    typer.echo(found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), nl=False)


def _own(home: Path) -> "Ed25519PublicKey":
    from headrace.store.keys import signing_key

    return signing_key(home).public_key()


def _read(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from headrace.errors import ConfigurationError

    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a public key", str(error), "headrace audit key") from error
    if not isinstance(found, Ed25519PublicKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key", f"it is a {type(found).__name__}")
    return found
