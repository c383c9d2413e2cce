"""Calls about many keys: pages of a range at one revision, and writes that happen only if nobody was faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tasks.etcd.etcd3_import import load_etcd3
from tasks.etcd.rpc_types import KeyValue, key_of

_rpc = load_etcd3().etcdrpc


@dataclass(frozen=True)
class Page:
    """Some keys of a range, in order.

    Args:
        more: Whether there are others after them.
        revision: The cluster's newest when it answered.
    """

    items: tuple[KeyValue, ...]
    more: bool
    revision: int


@dataclass(frozen=True)
class Write:
    """One write of a transaction.

    Args:
        seen: Revision of the key's last change that is known; 0 if there was no such key.
        value: What it gets, without a lease; None deletes it.
    """

    key: bytes
    seen: int
    value: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Written:
    """How a transaction went: all of it, or nothing.

    Args:
        done: Whether all keys were as seen, and so all was written.
        now: If not: the revision of each key's last change now, 0 for a key that is not there.
    """

    done: bool
    now: Mapping[bytes, int]


class Keys:
    """Part of :class:`tasks.etcd.client.Client`."""

    _raw: Any
    timeout: float

    def _errors(self, what: str, timeout: float | None = None) -> AbstractContextManager[None]:
        raise NotImplementedError

    def page(self, start: bytes, end: bytes | None, limit: int, revision: int = 0, keys_only: bool = False) -> Page:
        """The first keys of a range; a linearizable read.

        Args:
            start: First key.
            end: First key that no longer belongs to it; None for all to the end.
            limit: How many at most.
            revision: As they were then; 0 for now.
            keys_only: Without values, which are empty then.
        """
        request = _rpc.RangeRequest(
            key=start or b"\0", range_end=end or b"\0", limit=limit, revision=revision, keys_only=keys_only
        )
        with self._errors("get"):
            got = self._raw.kvstub.Range(request, self.timeout)
        return Page(tuple(key_of(kv) for kv in got.kvs), got.more, int(got.header.revision))

    def write_if(self, writes: Sequence[Write]) -> Written:
        """Write all of these keys if each is as it was seen, in one transaction; else none.

        A lone write does not ask what is there now, so that a value may be as large as with a plain put.

        Args:
            writes: At most 128 (etcd's max-txn-ops), each of another key.
        """
        ask = len(writes) > 1
        request = _rpc.TxnRequest(
            compare=[_unchanged(write) for write in writes],
            success=[_operation(write) for write in writes],
            failure=[_rpc.RequestOp(request_range=_rpc.RangeRequest(key=w.key, keys_only=True)) for w in writes if ask],
        )
        with self._errors("transaction"):
            got = self._raw.kvstub.Txn(request, self.timeout)
        if got.succeeded:
            return Written(True, {})
        if not ask:
            return Written(False, {})
        found = [answer.response_range.kvs for answer in got.responses]
        return Written(False, {w.key: kvs[0].mod_revision if kvs else 0 for w, kvs in zip(writes, found, strict=True)})

    def hold(self, writes: Sequence[Write]) -> tuple[bool, ...]:
        """Whether each of these keys has the value that it shall get; no value comes back for that.

        Args:
            writes: At most 128 (etcd's max-txn-ops, which has to be 2 or more), each with a value.
        """
        found: list[bool] = []
        # Halves: what is in a nested transaction counts on top of those beside it (checkTxnRequest in etcd's key.go).
        half = (len(writes) + 1) // 2
        for part in filter(None, (writes[:half], writes[half:])):
            each = [_rpc.RequestOp(request_txn=_rpc.TxnRequest(compare=[_same(write)])) for write in part]
            with self._errors("get"):
                got = self._raw.kvstub.Txn(_rpc.TxnRequest(success=each), self.timeout)
            found += [answer.response_txn.succeeded for answer in got.responses]
        return tuple(found)


def _same(write: Write) -> Any:
    """Of a key that is not there this is false, whatever the value."""
    return _rpc.Compare(key=write.key, target=_rpc.Compare.VALUE, result=_rpc.Compare.EQUAL, value=write.value)


def _unchanged(write: Write) -> Any:
    """A key that is not there has the revision 0 (etcd's compare of a missing key)."""
    return _rpc.Compare(key=write.key, target=_rpc.Compare.MOD, result=_rpc.Compare.EQUAL, mod_revision=write.seen)


def _operation(write: Write) -> Any:
    if write.value is None:
        return _rpc.RequestOp(request_delete_range=_rpc.DeleteRangeRequest(key=write.key))
    return _rpc.RequestOp(request_put=_rpc.PutRequest(key=write.key, value=write.value))
