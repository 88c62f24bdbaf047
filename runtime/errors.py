"""The errors a user can meet. Each is one clear message; the command line prints it and exits 2."""

from __future__ import annotations


class AotError(Exception):
    """Base of all errors that speak to the user."""


class ArchiveError(AotError):
    """The archive is missing, damaged, hostile or uses something the reader does not know."""


class CompileError(AotError):
    """The program cannot be compiled as asked; the message lists every problem found."""


class AlwaysRaises(CompileError):
    """The program raises whatever values the inputs have: there is nothing to compile."""


class InputError(AotError):
    """An argument of a call, or an --input, is missing or does not fit."""


class TargetError(AotError):
    """Unknown CPU, or a CPU that cannot run the artifact."""


class RuntimeFailure(AotError):
    """A compiled model reported an error while it ran (a status of the C ABI)."""
