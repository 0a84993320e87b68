"""What the clients of object stores raise, as the OSErrors that callers of `Files` know. Pure.

fsspec promises OSErrors, but passes on what its clients raise when no answer came at all: connections refused, reset or
closed too early, time-outs, missing credentials. Each client has its own root class for these.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_CLIENT_ROOTS: Final = frozenset(
    {
        "aiohttp.client_exceptions.ClientError",
        "azure.core.exceptions.AzureError",
        "botocore.exceptions.BotoCoreError",
        "botocore.exceptions.ClientError",
        "gcsfs.retry.HttpError",
        "google.auth.exceptions.GoogleAuthError",
        "http.client.HTTPException",
    }
)
"""By name: none of these packages is loaded for its exceptions alone."""

_PERMANENT: Final = frozenset(
    {
        "botocore.exceptions.NoCredentialsError",
        "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.ParamValidationError",
        "botocore.exceptions.ProfileNotFound",
        "azure.core.exceptions.ClientAuthenticationError",
        "google.auth.exceptions.DefaultCredentialsError",
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """What the block raises comes out as an OSError, if it is an error of an object store's client.

    Without a number where trying again may help (`checkpoint.retry.is_transient`).
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        known = as_os_error(error)
        if known is None:
            raise
        raise known from error


def as_os_error(error: BaseException) -> OSError | None:
    """The error as an OSError; None when no client of an object store raised it."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if not names & _CLIENT_ROOTS:
        return None
    text = f"{type(error).__name__}: {error}"
    if names & _PERMANENT:
        return PermissionError(errno.EACCES, text)
    return ConnectionError(text)


def is_conflict(error: BaseException) -> bool:
    """Whether the store refused a conditional write because the object is there (HTTP 412).

    s3fs tells so only where the store names the condition that failed, which not every one does.
    """
    return _code_of(error) in {"PreconditionFailed", "412"}


def is_unsupported(error: OSError) -> bool:
    """Whether the store does not know conditional writes (HTTP 501)."""
    return error.errno == errno.ENOSYS or _code_of(error) in {"NotImplemented", "501"}


def _code_of(error: BaseException) -> str | None:
    # botocore's ClientError has `response`, a dict of dicts; fsspec chains it as the cause.
    response: Any = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return None
    code: str | None = response.get("Error", {}).get("Code")
    return code
