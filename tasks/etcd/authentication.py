"""etcd's own authentication (``etcdctl auth enable``): our clusters do without, someone may have turned it on. Pure.

etcd takes the common name of a client's certificate for a user (etcd docs, "Authentication", using TLS common name).
"""

from __future__ import annotations

#: What etcd says to whom it does not know, or does not let (api/v3rpc/rpctypes/error.go).
_SAID = ("user name not found", "user name is empty", "permission denied", "invalid auth token")

REMEDY = (
    "etcd's own authentication is on: make the names in our certificates users with the role root "
    "(etcd-flows-operator, and HOST-etcdctl for each host: `etcdctl user add NAME --no-password`, "
    "`etcdctl user grant-role NAME root`), or turn it off (`etcdctl auth disable`)"
)


def refuses(said: str) -> bool:
    """Whether that is etcd's authentication refusing a client."""
    return any(words in said for words in _SAID)
