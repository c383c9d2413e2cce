"""What boto3 raises, put into words, with what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import StoreCorrupt, StoreError, StoreUnavailable
from tasks.snapshots.stores.s3_answers import KEPT, Answer, Place, explain_answer, no_s3_server


@contextmanager
def told(place: Place, doing: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into a :class:`tasks.errors.StoreError`.

    Args:
        place: Where.
        doing: What is done, as in "can't DOING".
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, HTTPError, OSError, ValueError) as error:
        raise explain(place, doing, error) from error


def answer_of(error: BaseException) -> Answer | None:
    """The server's answer that an exception stands for, None if none came."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return None
    meta = response.get("ResponseMetadata", {})
    facts = response["Error"]
    operation = getattr(error, "operation_name", "")
    status = int(meta.get("HTTPStatusCode", 0))
    return Answer(str(facts.get("Code", status)), status, operation, facts, meta.get("HTTPHeaders", {}))


def explain(place: Place, doing: str, error: Exception) -> StoreError:
    """The error of ours that one of boto3 stands for; see :func:`told`."""
    start = f"store {place.store}: can't {doing}"
    answer = answer_of(error)
    return _not_answered(place, start, error) if answer is None else explain_answer(place, start, answer)


def _not_answered(place: Place, start: str, error: Exception) -> StoreError:
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    causes = _chain(error)
    if isinstance(error, boto.SSLError) or any(isinstance(cause, ssl.SSLError) for cause in causes):
        return _tls(place, start, causes)
    if isinstance(error, ResponseParserError):
        return no_s3_server(place, start)
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
        return StoreError(
            f"{start}: there are no credentials for it ({error})",
            state="nothing was asked of the server",
            remedy="give this store access_key and secret_key by reference, or a profile; or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY for the process that runs the flow",
        )
    if isinstance(error, boto.ProfileNotFound):
        remedy = "correct profile of this store, or add it to ~/.aws/config of the user that runs the flow"
        return StoreError(f"{start}: {error}", state="nothing was asked of the server", remedy=remedy)
    if isinstance(error, boto.FlexibleChecksumError):
        return StoreCorrupt(
            f"{start}: what came is not what the server has a checksum of",
            state=KEPT,
            remedy="repeat it; if it stays, the object is damaged there, or something on the way changes bytes",
        )
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, OSError)):
        return _unreachable(place, start, error, causes)
    return StoreError(f"{start}: {error}", state=KEPT, remedy="correct this store's settings in the cluster file")


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and all that it came from, also those that urllib3 and botocore only carry along."""
    found: list[BaseException] = []
    frontier: list[Any] = [error]
    while frontier and len(found) < 20:
        cause = frontier.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            frontier += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
            frontier.append(getattr(cause, "kwargs", {}).get("error"))
    return found


#: What OpenSSL and urllib3 say of a certificate; the first that fits. Then why, and the remedy.
_DISTRUST = (
    (
        ("Hostname mismatch", "IP address mismatch", "doesn't match"),
        "its certificate is for another name",
        "use a name or address that is in the certificate as endpoint",
    ),
    (
        ("certificate has expired",),
        "its certificate has expired",
        "renew it on the server (or set this machine's clock: timedatectl)",
    ),
    (("not yet valid",), "its certificate is not valid yet", "set this machine's clock (timedatectl), or the server's"),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "its certificate comes from a CA that is not trusted here",
        "give this store `ca: FILE` with the server's CA, or add that to the machine's trust store",
    ),
)


def _tls(place: Place, start: str, causes: list[BaseException]) -> StoreError:
    text = " ".join(str(cause) for cause in causes)
    untouched = "nothing was sent"
    for signs, why, remedy in _DISTRUST:
        if any(sign in text for sign in signs):
            return StoreError(f"{start}: {place.endpoint} is not trusted: {why}", state=untouched, remedy=remedy)
    if "wrong version number" in text.lower().replace("_", " "):
        remedy = "write the endpoint with http:// if it is meant to be so; else check the port"
        return StoreError(f"{start}: {place.endpoint} does not speak TLS", state=untouched, remedy=remedy)
    remedy = "check what answers at that address, and which versions of TLS it knows"
    return StoreUnavailable(f"{start}: TLS with {place.endpoint} failed", state=untouched, remedy=remedy)


def _unreachable(place: Place, start: str, error: Exception, causes: list[BaseException]) -> StoreError:
    from botocore import exceptions as boto

    if any(isinstance(cause, socket.gaierror) for cause in causes):
        why, remedy = "its name is not known", "check the endpoint's name, and this machine's DNS"
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        why, remedy = "the connection was refused", "check the endpoint's port, and that the server runs"
    elif isinstance(error, boto.ConnectTimeoutError):
        why, remedy = "no connection in time", "check the address, the network and the firewalls on the way"
    elif isinstance(error, boto.ReadTimeoutError):
        why, remedy = "no answer in time", "check the load of the server and the network"
    elif isinstance(error, boto.ProxyConnectionError):
        why, remedy = "the proxy does not let it through", "check HTTPS_PROXY and NO_PROXY"
    else:
        why, remedy = "the connection broke off", "check the network and the server; https:// and http:// told apart?"
    return StoreUnavailable(f"{start}: {place.endpoint} can't be reached: {why}", state=KEPT, remedy=remedy)
