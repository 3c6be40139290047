"""The runtime's own loud failures: each stops the service, and none lets an offset move."""

from headrace.errors import HeadraceError


class BrokenRecordError(HeadraceError):
    """A record that one of our services wrote cannot be read."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"the record at {where} cannot be decoded",
            why=why,
            next_command=f"headrace event show --at {where}",
        )


class HandlerError(HeadraceError):
    """A handler raised on a record; the record is named by bisection."""

    def __init__(self, service: str, where: str, error: Exception) -> None:
        super().__init__(
            f"{service} cannot handle the record at {where}",
            why=f"{type(error).__name__}: {error}",
            next_command=f"headrace event show --at {where}",
        )


class UnansweredError(HeadraceError):
    """A handler left input rows without an end (law 6)."""

    def __init__(self, service: str, where: str, rows: int) -> None:
        super().__init__(
            f"{service} gave {rows} rows of its input no end",
            why=f"the first is at {where}; every row must be a cause, refused or absorbed",
        )


class ReplacedError(HeadraceError):
    """Another process went on with a lane this one holds: its state here is old, so it has to be read again."""

    def __init__(self, service: str, pipeline: str, partition: int) -> None:
        super().__init__(
            f"another replica of {service} went on with {pipeline}, partition {partition}",
            why="this one stood still for longer than its transactions may stay open",
            next_command=f"headrace logs {service}",
        )
