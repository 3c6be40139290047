"""The errors a user can act on: what failed, why, and the next command; the class is the exit code."""

from typing import ClassVar


class HeadraceError(Exception):
    """Something failed that the user can act on; printed as three short lines, without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str = "", next_command: str = "") -> None:
        super().__init__("; ".join(filter(None, (what, why, next_command))))
        self.what = what
        self.why = why
        self.next_command = next_command


class UsageError(HeadraceError):
    """The command was called with arguments that do not fit together."""

    exit_code = 2


class ConfigurationError(HeadraceError):
    """A setting, a pipeline file or a port is wrong, so nothing was started."""

    exit_code = 3


class UnreachableError(HeadraceError):
    """The broker, the schema registry or a package registry does not answer."""

    exit_code = 4


class CheckError(HeadraceError):
    """A check ran and said no."""

    exit_code = 5
