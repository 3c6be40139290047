"""``headrace down``."""


def command() -> None:
    """Stop the services, the schema registry and Kafka, in this order; the data stay."""
    from rich.console import Console

    from headrace.local.platform import Platform
    from headrace.local.settings import Settings

    console = Console(stderr=True)
    with console.status("stopping"):
        Platform(Settings()).stop()
    console.print("down")
