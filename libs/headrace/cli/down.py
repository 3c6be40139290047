"""``headrace down``."""


def command() -> None:
    """Stop the services, the schema registry and Kafka, in this order; the data stay."""
    from rich.console import Console  # noqa: PLC0415  (--help does without)

    from headrace.local.platform import Platform  # noqa: PLC0415
    from headrace.local.settings import Settings  # noqa: PLC0415

    console = Console(stderr=True)
    with console.status("stopping"):
        Platform(Settings()).stop()
    console.print("down")
