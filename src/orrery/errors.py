"""Errors a user can act on: one line that names what, where and what is allowed."""


class OrreryError(Exception):
    """Something went wrong that the user can act on; the command line prints it and exits."""

    exit_code = 1


class UsageError(OrreryError, ValueError):
    """A name, a setting or a value that is not allowed; says what is."""

    exit_code = 2


class NonFiniteError(OrreryError):
    """A loss, a gradient, a weight or a measurement became NaN or infinite."""


class Interrupted(OrreryError):
    """The run was asked to stop; its last checkpoint is on disk."""

    exit_code = 130
