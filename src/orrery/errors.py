"""Errors a user can act on: one line that names what, where and what is allowed."""

import signal


class OrreryError(Exception):
    """Something went wrong that the user can act on; the command line prints it and exits."""

    exit_code = 1


class UsageError(OrreryError, ValueError):
    """A name, a setting or a value that is not allowed; says what is."""

    exit_code = 2


class NonFiniteError(OrreryError):
    """A loss, a gradient, a weight or a measurement became NaN or infinite."""


class MissingDataError(OrreryError):
    """A data set cannot be had here: its client, its package or the network is missing."""


class Interrupted(OrreryError):  # noqa: N818  (a stop that was asked for is no error)
    """The run was asked to stop; its last checkpoint is on disk."""

    exit_code = 130

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        """Note which signal asked: the exit code tells, 130 or 143."""
        super().__init__(message)
        self.exit_code = 128 + number
