"""Calls that change the cluster itself: members, leader, alarms, the database file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from tasks.etcd.etcd3_import import load_etcd3
from tasks.etcd.rpc_types import Alarm, ClusterMember, hexadecimal, member_of

_rpc = load_etcd3().etcdrpc

_ALARMS = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}


class Changes:
    """Part of :class:`tasks.etcd.client.Client`. Ids are hexadecimal, as everywhere."""

    _raw: Any
    timeout: float

    def _errors(self, what: str, timeout: float | None = None) -> AbstractContextManager[None]:
        raise NotImplementedError

    def member_add(self, peer_urls: Sequence[str], *, learner: bool) -> ClusterMember:
        """Make room for a member, which has to be started then."""
        request = _rpc.MemberAddRequest(peerURLs=list(peer_urls), isLearner=learner)
        with self._errors("member add"):
            return member_of(self._raw.clusterstub.MemberAdd(request, self.timeout).member)

    def member_promote(self, member_id: str) -> None:
        """Give a learner its vote; refused by etcd while it is behind."""
        call = self._raw.channel.unary_unary(
            "/etcdserverpb.Cluster/MemberPromote",
            request_serializer=_rpc.MemberPromoteRequest.SerializeToString,
            response_deserializer=_rpc.MemberPromoteResponse.FromString,
        )
        with self._errors("member promote"):
            call(_rpc.MemberPromoteRequest(ID=int(member_id, 16)), timeout=self.timeout)

    def member_remove(self, member_id: str) -> None:
        """Take a member out of the cluster; it stops."""
        with self._errors("member remove"):
            self._raw.clusterstub.MemberRemove(_rpc.MemberRemoveRequest(ID=int(member_id, 16)), self.timeout)

    def move_leader(self, member_id: str) -> None:
        """Hand the lead to another member; only the leader can."""
        with self._errors("move leader"):
            self._raw.maintenancestub.MoveLeader(_rpc.MoveLeaderRequest(targetID=int(member_id, 16)), self.timeout)

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms raised anywhere in the cluster."""
        with self._errors("alarm list"):
            got = self._alarm(_rpc.AlarmRequest.GET, 0, _rpc.NONE)
        return tuple(Alarm(hexadecimal(a.memberID), _ALARMS.get(a.alarm, f"alarm {a.alarm}")) for a in got.alarms)

    def alarm_disarm(self, alarm: Alarm) -> None:
        """Take back an alarm whose cause is gone."""
        kind = next(number for number, name in _ALARMS.items() if name == alarm.kind)
        with self._errors("alarm disarm"):
            self._alarm(_rpc.AlarmRequest.DEACTIVATE, int(alarm.member_id, 16), kind)

    def defragment(self, timeout: float) -> None:
        """Rewrite this member's database file; it serves nothing meanwhile.

        Args:
            timeout: Seconds; it goes on in the member when they have passed.
        """
        with self._errors("defragment", timeout):
            self._raw.maintenancestub.Defragment(_rpc.DefragmentRequest(), timeout)

    def _alarm(self, action: int, member: int, kind: int) -> Any:
        return self._raw.maintenancestub.Alarm(
            _rpc.AlarmRequest(action=action, memberID=member, alarm=kind), self.timeout
        )
