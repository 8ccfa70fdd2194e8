"""Which reason each error of the HTTP client, of TLS and of the operating system becomes."""

import errno
import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.addresses import BlockedAddressError
from laion_coco_assets.fetching.descriptors import shortage_error
from laion_coco_assets.fetching.http_attempt import AttemptError, AttemptRecord
from laion_coco_assets.fetching.resolver import NoAddressError

logger = logging.getLogger(__name__)

#: Where the HTTP client's message begins to quote the server.
_QUOTED_BYTES: Final = re.compile(r""": b['"]""")


@contextmanager
def attempt_errors(record: AttemptRecord) -> Iterator[None]:  # noqa: C901, PLR0912 - one branch per kind of failure
    """Raises an AttemptError with its reason for whatever aiohttp and the operating system raise inside.

    Raises:
        AttemptError: the attempt failed.
        UserError: this machine is to blame.
    """
    try:
        yield
    except RejectedError as error:
        if isinstance(error, AttemptError):
            raise
        raise AttemptError(error.rejection.reason, error.rejection.detail, final=True) from None
    except aiohttp.ConnectionTimeoutError:
        raise AttemptError(Reason.TIMEOUT, "no connection in time") from None
    except TimeoutError:
        detail = "the answer did not end in time" if record.answered else "no answer in time"
        raise AttemptError(Reason.TIMEOUT, detail) from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        if record.answered:
            raise AttemptError(Reason.TRUNCATED, "the encrypted connection broke within the body") from None
        raise AttemptError(Reason.TLS, _tls_detail(error)) from None
    except aiohttp.ClientConnectorError as error:
        raise shortage_error(error.os_error) or _connection_error(error.os_error) from None
    except aiohttp.ClientPayloadError as error:
        cause = type(error.__cause__ or error).__name__
        raise AttemptError(Reason.TRUNCATED, f"the body broke off ({cause})") from None
    except aiohttp.InvalidURL:
        raise AttemptError(Reason.INVALID_URL, "refused by the HTTP client") from None
    except (aiohttp.ClientResponseError, HttpProcessingError) as error:
        message = _QUOTED_BYTES.split(" ".join(error.message.split()), maxsplit=1)[0]
        raise AttemptError(Reason.PROTOCOL, message[:200] or "malformed answer") from None
    except (aiohttp.ServerDisconnectedError, OSError) as error:
        if isinstance(error, OSError) and (shortage := shortage_error(error)) is not None:
            raise shortage from None
        if record.answered:
            raise AttemptError(Reason.TRUNCATED, "the connection broke within the body") from None
        raise AttemptError(Reason.REFUSED, "the connection was closed without an answer") from None
    except UserError:
        raise
    except Exception as error:  # a server can make an HTTP client raise anything
        logger.warning(
            "unexpected %s from the HTTP client: one row becomes `protocol`", type(error).__name__, exc_info=True
        )
        raise AttemptError(Reason.PROTOCOL, f"not understood ({type(error).__name__})") from None


def _tls_detail(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate: {cause.verify_message}"
    return f"handshake: {cause.reason or 'failed'}" if isinstance(cause, ssl.SSLError) else "handshake failed"


def _connection_error(cause: OSError) -> AttemptError:
    if isinstance(cause, BlockedAddressError):
        return AttemptError(Reason.BLOCKED_ADDRESS, str(cause.args[1]))
    if isinstance(cause, NoAddressError):
        return AttemptError(Reason.DNS, str(cause.args[1]), final=cause.final)
    if cause.errno == errno.ETIMEDOUT:
        return AttemptError(Reason.TIMEOUT, "no connection in time")
    name = errno.errorcode.get(cause.errno, "") if cause.errno is not None else ""
    return AttemptError(Reason.REFUSED, f"no connection ({name or type(cause).__name__})")
