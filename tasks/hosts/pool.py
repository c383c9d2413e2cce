"""One connection per host, kept for the life of the process.

A connection is opened when it is first needed, under its host's lock, used for one operation at a time (MaxSessions 1
is enough), shared by all threads, and opened anew when it has dropped or has moved so much that SSH would exchange
keys (paramiko has lost transports in that, at 512 MiB).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from tasks.cluster.spec import Host
from tasks.hosts.connect import Link, login_of, reveal

RENEW_AFTER = 256 * 1024 * 1024  # bytes


@dataclass
class Entry:
    """What is kept for one host; touched only by who holds the lock."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    link: Link | None = None
    moved: int = 0
    sudo_password: bytes | None = field(default=None, repr=False)

    def connected(self, host: Host) -> Link:
        """The live connection, opened if there is none.

        Raises:
            HostUnreachable: It cannot be opened now.
            AccessDenied: Host key or login refused.
            InputError: A key file or a secret cannot be used.
        """
        if self.link is not None and (not self.link.alive or self.moved > RENEW_AFTER):
            self.drop()
        if self.link is None:
            link = Link(login_of(host))
            try:
                link.open()
            except BaseException:
                link.close()
                raise
            self.link = link
            self.moved = 0
        return self.link

    def drop(self) -> None:
        """Close the connection; the next operation opens another."""
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def sudo_secret(self, host: Host) -> bytes:
        """The sudo password, resolved once per process."""
        if self.sudo_password is None:
            self.sudo_password = reveal(host.ssh.sudo_password).encode()
        return self.sudo_password


_entries: dict[Hashable, Entry] = {}
_entries_lock = threading.Lock()


def _key(host: Host) -> Hashable:
    # Members of a demo share one machine and one Ssh: each gets its own lock.
    return ("ssh", host.ssh) if host.connection == "ssh" else ("local", host.name, host.paths.prefix)


@contextlib.contextmanager
def reserved(host: Host) -> Iterator[Entry]:
    """The host's entry, for one operation; others wait."""
    with _entries_lock:
        entry = _entries.setdefault(_key(host), Entry())
    with entry.lock:
        yield entry


def close_all(patience: float = 5.0) -> None:
    """Close all connections and forget all secrets.

    Args:
        patience: Seconds to wait for each running operation before it is cut off.
    """
    with _entries_lock:
        entries = list(_entries.values())
        _entries.clear()
    for entry in entries:
        held = entry.lock.acquire(timeout=patience)
        try:
            entry.sudo_password = None
            entry.drop()
        finally:
            if held:
                entry.lock.release()
