"""The errors a person meets: what failed, why, and what to do next; each kind has its exit code."""


class HeadraceError(Exception):
    """Something failed (exit code 1)."""

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.what, self.why, self.fix and f"Next: {self.fix}"]))


class UsageError(HeadraceError):
    """The command was called in a way that cannot be carried out."""

    exit_code = 2


class ConfigurationError(HeadraceError):
    """A file or setting says something that cannot be right."""

    exit_code = 3


class UnreachableError(HeadraceError):
    """The broker or the schema registry does not answer."""

    exit_code = 4


class CheckFailedError(HeadraceError):
    """A check ran and said no."""

    exit_code = 5
