"""The exceptions that mean "you can mend this". Every other exception is a bug of ours.

A message says what failed, with which values, and what to do about it. The command line shows it as
it stands, without a traceback. `training`, which knows nothing of a store, has the same family in
`training/errors.py`.
"""

from __future__ import annotations


class UserError(Exception):
    """Something that you can mend; the root of the family."""

    exit_code = 2


class InputError(UserError, ValueError):
    """What was given cannot be used: a recipe, an option, a file, a dataset, a model."""


class SettingError(InputError):
    """Settings that can never work, whatever is brought or installed."""


class MissingError(InputError, FileNotFoundError):
    """What was named is not there."""


class MissingLibraryError(InputError, ImportError):
    """A library that this needs is not installed."""


class ContractError(InputError):
    """Data or a plan that breaks a contract of the store."""


class JobError(UserError, RuntimeError):
    """The input was right, but the job could not go on.

    What is done is kept; run again to resume.
    """

    exit_code = 1


class UnreachableError(JobError, ConnectionError):
    """A server or a cluster that does not answer."""


class DeniedError(JobError, PermissionError):
    """A server that takes no request: the key is wrong, or the account has no credit left."""
