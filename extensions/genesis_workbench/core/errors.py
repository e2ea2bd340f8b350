"""Every error that the workbench raises on purpose.

::

    GenesisError
    ├── InvalidInput        (ValueError)       422  a value that cannot be used, with what would be accepted
    ├── NotFound            (LookupError)      404  no such record, or none that the asker may see
    ├── PermissionRefused   (PermissionError)  403  known, but not allowed
    ├── SignInRequired      (PermissionError)  401  nobody is signed in, or the token is no longer good
    ├── Conflict            (RuntimeError)     409  somebody else was first, or the state forbids it
    ├── BudgetExceeded      (RuntimeError)     409  it would cost more than was granted
    ├── VerificationFailed  (ValueError)       422  a hash, signature or self-test does not agree
    ├── TooLarge            (ValueError)       413  more bytes than the limit
    ├── MissingDependency   (ImportError)      501  an optional package is not installed; carries the command
    ├── Unavailable         (ConnectionError)  503  a source, service or device does not answer
    └── DeadlineExceeded    (TimeoutError)     504  it did not answer in time

A message has what happened, the value seen, and what to do next. `code` is stable and short, for programs;
`detail` is for the log and is never shown to a person.
"""

from __future__ import annotations

from typing import ClassVar


class GenesisError(Exception):
    """Root of the tree.

    Parameters
    ----------
    message : str
        One or two sentences for the person: what happened, the value seen, what to do next.
    detail : str, optional
        For the log only.
    where : str, optional
        Which part of what was given is meant, as a path such as ``space.0.low``; empty where it is not one part.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, detail: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.where = where

    def __str__(self) -> str:
        return self.message


class InvalidInput(GenesisError, ValueError):
    code = "invalid-input"
    status = 422


class NotFound(GenesisError, LookupError):
    code = "not-found"
    status = 404


class PermissionRefused(GenesisError, PermissionError):
    code = "permission-refused"
    status = 403


class SignInRequired(GenesisError, PermissionError):
    code = "sign-in-required"
    status = 401


class Conflict(GenesisError, RuntimeError):
    code = "conflict"
    status = 409


class BudgetExceeded(GenesisError, RuntimeError):
    code = "budget-exceeded"
    status = 409


class VerificationFailed(GenesisError, ValueError):
    code = "verification-failed"
    status = 422


class TooLarge(GenesisError, ValueError):
    code = "too-large"
    status = 413


class MissingDependency(GenesisError, ImportError):
    code = "missing-dependency"
    status = 501


class Unavailable(GenesisError, ConnectionError):
    code = "unavailable"
    status = 503


class DeadlineExceeded(GenesisError, TimeoutError):
    code = "deadline-exceeded"
    status = 504


BY_CODE: dict[str, type[GenesisError]] = {cls.code: cls for cls in GenesisError.__subclasses__()}
"""Error class by its code: a client turns the service's answer back into the same error."""
