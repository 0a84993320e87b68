"""What pika reports, as errors that say what, where and what to do."""

from __future__ import annotations

import re
from typing import Final

from ...core.errors import ConnectorError

# Reply codes of AMQP 0-9-1.
_ACCESS_REFUSED: Final = 403
_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406
_NOT_ALLOWED: Final = 530
_FIXES: Final = {
    _ACCESS_REFUSED: "check user and password, and that the user may use the queue and the exchange (rabbitmqctl set_permissions)",
    _NOT_FOUND: "create the queue or exchange, or correct its name",
    _PRECONDITION_FAILED: "what exists has other properties: leave it to its owner to declare it",
    _NOT_ALLOWED: "check the virtual host, and that the user may use it (rabbitmqctl set_permissions -p VHOST)",
}
_SAID_BY_BROKER: Final = re.compile(r"ConnectionClosedByBroker: \((\d+)\)")
_PASSING: Final = re.compile(r"delivery acknowledgement|is down or inaccessible|stopped by supervisor")
"""How a channel is closed whose consumer did not acknowledge in time, or whose queue has no server just now: codes that say other
things are given for these, too."""


def reply_code_of(error: BaseException | None) -> int | None:
    """Why the broker closed a channel or connection, or did not open it."""
    from pika import exceptions

    if isinstance(error, exceptions.AuthenticationError):
        return _ACCESS_REFUSED
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        # A guess of pika's, by the moment alone. A broker that refuses says why; one that dies or stops just then does not.
        said = _SAID_BY_BROKER.search(str(error))
        return None if said is None else int(said[1])
    if isinstance(error, exceptions.ChannelClosed | exceptions.ConnectionClosed):
        return int(error.reply_code)
    return None


def is_final(error: BaseException | None, *, logged_in_before: bool = False) -> bool:
    """Whether another attempt would end the same: wrong credentials, nothing there, declared otherwise, no trust.

    `logged_in_before`: with the same credentials. Then a login that is refused is most likely one to a broker that is stopping, or whose
    authentication service is away.
    """
    from ssl import SSLCertVerificationError

    from pika.exceptions import ChannelClosed

    if _PASSING.search(str(error)):
        return False
    code = reply_code_of(error)
    if logged_in_before and code == _ACCESS_REFUSED and not isinstance(error, ChannelClosed):
        return False
    return code in _FIXES or _cause(error, SSLCertVerificationError) is not None


def connector_error(
    error: BaseException | None, *, doing: str, address: str, tried_ms: int | None
) -> ConnectorError:
    """For what ended a connection for good.

    Args:
        doing: what failed, e.g. "writing to exchange 'orders'".
        tried_ms: for how long it was tried again; None: it was not.
    """
    final = is_final(error)
    code = reply_code_of(error)
    fix = _FIXES.get(code or 0, "check that the broker runs and is reachable at this address")
    if final and code is None:
        fix = "give set_ssl() the authority that signed the broker's certificate, and the host that it names"
    waited = "" if tried_ms is None else f", tried again for {tried_ms / 1000:.0f} s"
    return ConnectorError(
        f"{doing} failed{waited}: {reason_of(error)}",
        where=f"RabbitMQ at {address}",
        fix=fix,
        retryable=not final,
    )


def reason_of(error: BaseException | None) -> str:
    """The words of the innermost of what pika wraps.

    >>> reason_of(None)
    'it was closed'
    """
    if error is None:
        return "it was closed"
    innermost = _inside(error)[-1] if not str(error) else error
    return str(innermost) or type(innermost).__name__


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first of this kind in what pika wraps."""
    return next((found for found in _inside(error) if isinstance(found, kind)), None) if error else None


def _inside(error: BaseException) -> list[BaseException]:
    """The error and what it wraps: arguments, lists of attempts, causes; outermost first."""
    found = [error]
    for outer in found:
        inner = [
            *outer.args,
            *getattr(outer, "exceptions", ()),
            outer.__cause__,
            getattr(outer, "exception", None),
        ]
        found += [e for e in inner if isinstance(e, BaseException) and e not in found]
    return found
