"""The errors of ours that gRPC's stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from tasks.errors import AccessDenied, EtcdFlowsError, HostError, HostUnreachable, PkiError, TransientHostError
from tasks.etcd import authentication


@contextmanager
def explained(what: str, endpoint: str, host: str | None, timeout: float) -> Iterator[None]:
    """Raise errors of ours instead of gRPC's.

    Args:
        what: What is being done ("member list").
        host: The host's name.
        timeout: Seconds that it may take, for the message.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise explain(what, endpoint, host, timeout, error.code(), error.details() or "") from error


def explain(what: str, endpoint: str, host: str | None, timeout: float, code: Any, details: str) -> EtcdFlowsError:
    """The error that a gRPC status stands for (grpc.io/docs/guides/status-codes, etcd's rpctypes)."""
    said = f"{what} on {endpoint} failed: {details}"
    low = details.lower()
    if authentication.refuses(low):
        return AccessDenied(said, host=host, remedy=authentication.REMEDY)
    if code is grpc.StatusCode.UNAVAILABLE and ("ssl" in low or "tls" in low or "certificate" in low):
        return PkiError(said, host=host, remedy="check that CA, server and client certificate belong together")
    if code is grpc.StatusCode.UNAVAILABLE and "etcdserver" in details:
        return TransientHostError(said, host=host, remedy="wait for a leader; if none comes, look at the members")
    if code is grpc.StatusCode.UNAVAILABLE:
        return HostUnreachable(said, host=host, remedy="check that etcd runs there and that no firewall is in the way")
    if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED):
        return TransientHostError(
            f"{what} on {endpoint} got no answer within {timeout:g} s",
            host=host,
            remedy="the member has no leader, or is too slow: check-cluster tells which",
        )
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return AccessDenied(said, host=host, remedy="use a client certificate that may do this")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "space exceeded" in low:
        remedy = "compact, defragment and disarm the alarm (maintain-cluster); raise etcd.quota if the data needs it"
        return HostError(said, host=host, state="the cluster takes no writes", remedy=remedy)
    return HostError(said, host=host, remedy="see the log of etcd on that host")
