"""Secrets with a known look, and the hunt for them in every place where one could end up.

A test makes one for each place a secret can be given (:meth:`Canaries.new`), adds keys that came into being meanwhile
(:meth:`Canaries.key`), and then looks where they are: :func:`on_disk` of hosts and of the worker, :func:`on_host` in
what a host did, :meth:`Canaries.seen_in` in anything else. Found is a secret in its own form, in hexadecimal and in
base64, also broken into lines; what is compressed or encrypted is beyond this hunt.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from tests.lab.hosts import LabHost

#: Where the sampler on a host writes what it saw.
SAMPLES = "/root/canaries-seen"


@dataclass(frozen=True, order=True)
class Leak:
    """A secret where it was seen.

    Args:
        where: A path, or words for what is none.
        mode: Permission bits of the file, 0 for what is none.
    """

    secret: str
    where: str
    mode: int = 0


@dataclass
class Canaries:
    """Secrets by name, each with the forms in which it is looked for."""

    _forms: dict[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)

    def new(self, name: str) -> str:
        """A fresh secret, to be given to the product as if it were real."""
        value = f"Canary-{secrets.token_hex(12)}"
        self.add(name, value.encode())
        return value

    def add(self, name: str, value: bytes) -> None:
        """One that somebody else has made."""
        self._forms[name] = forms(value)

    def key(self, name: str, pem: bytes, passphrase: str | None = None) -> None:
        """A private key; looked for by the number that is the secret, which every encoding holds."""
        word = passphrase.encode() if passphrase else None
        load = load_ssh_private_key if b"OPENSSH" in pem else load_pem_private_key
        key = load(pem, word)
        if isinstance(key, Ed25519PrivateKey):
            self._forms[name] = forms(key.private_bytes_raw())
            return
        assert isinstance(key, EllipticCurvePrivateKey), "no other kind is in use here"
        self._forms[name] = forms(key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big"))

    def seen_in(self, data: bytes) -> set[str]:
        """Names of the secrets in some bytes."""
        joined = data.replace(b"\\n", b"").replace(b"\n", b"")
        return {name for name, looks in self._forms.items() if any(look in data or look in joined for look in looks)}


def forms(secret: bytes) -> tuple[bytes, ...]:
    """A secret in its own form, in hexadecimal, and in base64 at whatever offset it begins."""
    found = [secret, secret.hex().encode()]
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + secret)
        # The first and the last characters hold bits of what is around it.
        found.append(text[4 if offset else 0 : -4])
    return tuple(found)


# --- places -----------------------------------------------------------------------------------------------------------


def on_disk(canaries: Canaries, top: Path) -> set[Leak]:
    """All files below a directory that hold a secret; their paths are relative to it."""
    leaks = set()
    for path in top.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # of a server at work
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                mode = stat.S_IMODE(status.st_mode)
                leaks |= {Leak(name, str(path.relative_to(top)), mode) for name in canaries.seen_in(path.read_bytes())}
    return leaks


def on_host(canaries: Canaries, host: LabHost) -> set[Leak]:
    """What a host wrote since it was new, its journal, and what its processes showed while :func:`sampled`."""
    leaks = on_disk(canaries, host.directory / "up")
    journal = host.exec("journalctl --sync; journalctl --no-pager -o export", timeout=120)
    return leaks | {Leak(name, "the journal") for name in canaries.seen_in(journal.encode())}


@contextlib.contextmanager
def sampled(hosts: list[LabHost]) -> Iterator[None]:
    """Write down command lines and environments of all processes on the hosts, again and again."""
    watch = "while :; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; echo; sleep 0.05; done"
    for host in hosts:
        host.exec(f"systemd-run -q --unit=canary-watch --property=StandardOutput=append:{SAMPLES} sh -c {watch!r}")
    try:
        yield
    finally:
        for host in hosts:
            host.exec("systemctl stop canary-watch")


class WorkerSampler:
    """The same on the worker, command lines only: there the environment is one of the places a secret is given in."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> WorkerSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with contextlib.suppress(OSError):
                        self.seen.add((process / "cmdline").read_bytes())
            time.sleep(0.05)

    def leaks(self, canaries: Canaries) -> set[Leak]:
        """What was seen."""
        return {Leak(name, "a command line") for name in canaries.seen_in(b"\n".join(self.seen))}
