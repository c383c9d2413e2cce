"""What to make of the certificates that are already on a host. Pure.

Valid material is kept and foreign material is never replaced: what another CA signed, what can't be read, and a lone
key are conflicts that people have to settle. What our CA signed is issued anew when it no longer serves.

Two files can't be swapped as one, and the content of private keys is never fetched. So the writer leaves a marker
``.writing`` with the SHA-256 of each certificate it is about to write, then all keys, then all certificates, then
removes it. As long as a name stands in the marker, its pair is whole exactly if the certificate there is the one
announced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.hosts.facts import FileFact, HostFacts
from tasks.pki.authority import Authority
from tasks.pki.certificates import (
    authority_problem,
    canonical_san,
    describe,
    fingerprint,
    issued_by,
    read_certificates,
    renewal_due,
    sans_of,
    usages_of,
    when,
)
from tasks.pki.leaves import LEAF_NAMES, LeafSpec, essential_sans, leaves_for
from tasks.pki.signing import CLOCK_SKEW

# Renewal proper is the renew-certificates flow; here only what would soon stop the cluster is issued anew.
EXPIRING = timedelta(days=7)
MARKER = ".writing"
MISSING = "missing"


@dataclass(frozen=True)
class Verdict:
    """What happens to one certificate: kept if there is no reason to issue it.

    Args:
        reason: Why it has to be issued, empty if it is kept.
        changes: For people, in diff style.
    """

    leaf: LeafSpec
    reason: str = ""
    changes: tuple[str, ...] = ()

    @property
    def keep(self) -> bool:
        """Whether what is there stays."""
        return not self.reason


@dataclass(frozen=True)
class PkiConflict:
    """Something that is not ours to replace.

    Args:
        host: None for the operator's state directory.
        what: What differs.
    """

    host: str | None
    path: str
    what: str
    remedy: str

    def refusal(self) -> Refused:
        """The conflict as an error (exit code 3)."""
        return Refused(f"{self.path}: {self.what}", host=self.host, state="nothing was changed", remedy=self.remedy)


@dataclass(frozen=True)
class CaVerdict:
    """Which CA the cluster has.

    Args:
        trusted: Its certificates; empty if there is no CA anywhere and one has to be made.
        adopt: Content of the hosts' ca.crt when the operator has none yet.
    """

    trusted: tuple[x509.Certificate, ...] = ()
    adopt: bytes | None = None
    conflicts: tuple[PkiConflict, ...] = ()


def cert_path(host: Host, name: str) -> str:
    """Where a certificate lives on a host."""
    return f"{host.paths.pki_dir}/{name}.crt"


def key_path(host: Host, name: str) -> str:
    """Where a key lives on a host."""
    return f"{host.paths.pki_dir}/{name}.key"


def marker_path(host: Host) -> str:
    """Where the marker of a write under way lives on a host."""
    return f"{host.paths.pki_dir}/{MARKER}"


def fact_paths(host: Host) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What has to be observed: paths of which only owner and mode matter (keys among them), and those with content."""
    names = ("ca", *LEAF_NAMES)
    looked_at = (host.paths.pki_dir, *(key_path(host, name) for name in names))
    return looked_at, (*(cert_path(host, name) for name in names), marker_path(host))


def render_marker(certificates: Mapping[str, bytes]) -> bytes:
    """The marker's content: certificates about to be written, by leaf name."""
    return "".join(f"{name} {hashlib.sha256(pem).hexdigest()}\n" for name, pem in certificates.items()).encode()


def read_marker(content: bytes | None) -> dict[str, str]:
    """SHA-256 by leaf name. The marker is written atomically; lines that are not ours are not trusted."""
    lines = (content or b"").decode(errors="replace").splitlines()
    found = (re.fullmatch(r"([a-z-]+) ([0-9a-f]{64})", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def judge_authority(
    cluster: Cluster, facts: Mapping[str, HostFacts], authority: Authority | None, now: datetime
) -> CaVerdict:
    """Compare the ca.crt of all hosts with the operator's; the hosts' own is adopted if the operator has none."""
    found: dict[str, tuple[bytes, tuple[x509.Certificate, ...]]] = {}
    conflicts: list[PkiConflict] = []
    for host in cluster.hosts:
        read = _read(host, facts[host.name].file(cert_path(host, "ca")))
        if isinstance(read, PkiConflict):
            conflicts.append(read)
        elif read is not None:
            found[host.name] = read
    if authority is not None:
        conflicts += _differing(cluster, found, authority)
        return CaVerdict(authority.trusted or (authority.cert,), None, tuple(conflicts))
    if not found or conflicts:
        return CaVerdict((), None, tuple(conflicts))
    content, trusted = next(iter(found.values()))
    if len({frozenset(map(fingerprint, certificates)) for _, certificates in found.values()}) > 1:
        return CaVerdict((), None, (_disagreement(cluster, found),))
    if problem := authority_problem(trusted[0], now):
        name = next(iter(found))
        path = cert_path(cluster.host(name), "ca")
        return CaVerdict((), None, (PkiConflict(name, path, problem, "replace the CA on the hosts first"),))
    return CaVerdict(trusted, content)


def _differing(
    cluster: Cluster, found: Mapping[str, tuple[bytes, tuple[x509.Certificate, ...]]], authority: Authority
) -> list[PkiConflict]:
    return [
        PkiConflict(
            name,
            cert_path(cluster.host(name), "ca"),
            f"the host trusts {describe(certificates[0])}, the operator's CA is {describe(authority.cert)}",
            f"if the host's CA is the right one put its ca.crt and ca.key into {cluster.pki.state_dir}; "
            "else move the host's PKI directory away",
        )
        for name, (_, certificates) in found.items()
        if authority.cert not in certificates
    ]


def _disagreement(cluster: Cluster, found: Mapping[str, tuple[bytes, tuple[x509.Certificate, ...]]]) -> PkiConflict:
    each = "; ".join(f"{name} has {describe(certificates[0])}" for name, (_, certificates) in found.items())
    return PkiConflict(
        None,
        cert_path(cluster.hosts[0], "ca"),
        f"the hosts do not agree on a CA: {each}",
        f"put the right ca.crt and ca.key into {cluster.pki.state_dir} and move the others' PKI directories away",
    )


def judge_leaves(
    host: Host, cluster: Cluster, facts: HostFacts, trusted: Sequence[x509.Certificate], now: datetime
) -> tuple[Verdict | PkiConflict, ...]:
    """One verdict for each certificate that the host needs, or the conflict that stands in the way."""
    content = facts.file(marker_path(host)).content
    marker = read_marker(content)
    essential = _essential(host, cluster, facts)
    return tuple(
        _judge_leaf(host, leaf, facts, trusted, marker, essential.get(leaf.name, ()), now)
        for leaf in leaves_for(host, cluster)
    )


def _essential(host: Host, cluster: Cluster, facts: HostFacts) -> dict[str, tuple[str, ...]]:
    """SANs for whose sake a certificate is replaced.

    etcdadm puts extra names into the server's certificate only, and peers do not dial them: where the server's has
    them, the peer's is left as it is.
    """
    extra = cluster.pki.extra_sans
    read = _read(host, facts.file(cert_path(host, "server")))
    served = () if read is None or isinstance(read, PkiConflict) else sans_of(read[1][0])
    unserved = tuple(name for name in extra if canonical_san(name) not in served)
    return {"server": essential_sans(host, "server", extra), "peer": essential_sans(host, "peer", unserved)}


def _judge_leaf(
    host: Host,
    leaf: LeafSpec,
    facts: HostFacts,
    trusted: Sequence[x509.Certificate],
    marker: Mapping[str, str],
    essential: tuple[str, ...],
    now: datetime,
) -> Verdict | PkiConflict:
    cert, key = facts.file(cert_path(host, leaf.name)), facts.file(key_path(host, leaf.name))
    if key.kind not in ("absent", "file"):
        return _not_a_file(host, key)
    read = _read(host, cert)
    if isinstance(read, PkiConflict):
        return read
    if read is None:
        if key.present and leaf.name not in marker:
            remedy = f"put the certificate that belongs to it at {cert.path}, or move the key away"
            return PkiConflict(host.name, key.path, "there is a private key without its certificate", remedy)
        return Verdict(leaf, _CUT if leaf.name in marker else MISSING, _added(leaf))
    content, (certificate, *_) = read
    if not issued_by(certificate, trusted):
        return _foreign(host, cert.path, certificate, trusted)
    if marker.get(leaf.name, announced := hashlib.sha256(content).hexdigest()) != announced:
        return Verdict(leaf, _CUT, _added(leaf))
    return _judge_own(leaf, certificate, key, essential, now)


_CUT = "half-written: an earlier run was cut off"


def _judge_own(
    leaf: LeafSpec, certificate: x509.Certificate, key: FileFact, essential: tuple[str, ...], now: datetime
) -> Verdict:
    missing = [f"+ SAN {name}" for name in leaf.sans if name not in sans_of(certificate)]
    dropped = [f"- SAN {name}" for name in sans_of(certificate) if name not in leaf.sans]
    end = certificate.not_valid_after_utc
    reasons: list[tuple[bool, str, Iterable[str]]] = [
        (not key.size, "the private key is missing" if not key.present else "the private key is empty", _added(leaf)),
        (end <= now, f"expired on {when(end)}", _added(leaf)),
        (certificate.not_valid_before_utc > now + CLOCK_SKEW, "not valid yet", _added(leaf)),
        (renewal_due(certificate, now, EXPIRING), f"expires on {when(end)}", _added(leaf)),
        (
            not usages_of(certificate) >= set(leaf.usages),
            f"may not be used as {' and '.join(leaf.usages)}",
            _added(leaf),
        ),
        (
            any(name not in sans_of(certificate) for name in essential),
            "names or addresses are missing in it",
            [f"~ {leaf.name}.crt", *missing, *dropped],
        ),
    ]
    for applies, reason, changes in reasons:
        if applies:
            return Verdict(leaf, reason, tuple(changes))
    return Verdict(leaf)


def _added(leaf: LeafSpec) -> tuple[str, ...]:
    names = f" for {', '.join(leaf.sans)}" if leaf.sans else ""
    return (f"+ {leaf.name}.crt, {leaf.name}.key: CN={leaf.common_name}{names}",)


def _read(host: Host, fact: FileFact) -> tuple[bytes, tuple[x509.Certificate, ...]] | PkiConflict | None:
    """A certificate file: its content and certificates, None if absent, or why it can't be judged."""
    if not fact.present:
        return None
    if fact.kind != "file":
        return _not_a_file(host, fact)
    if fact.content is None:
        return PkiConflict(host.name, fact.path, "it is there but could not be read", "check its owner and mode")
    try:
        return fact.content, read_certificates(fact.content)
    except ValueError as error:
        return PkiConflict(host.name, fact.path, str(error), "repair it, or move it away to have it issued anew")


def _not_a_file(host: Host, fact: FileFact) -> PkiConflict:
    kind = {"link": "a symbolic link", "dir": "a directory"}.get(fact.kind, "not a regular file")
    return PkiConflict(host.name, fact.path, f"it is {kind}", "put a regular file there, or move it away")


def _foreign(host: Host, path: str, certificate: x509.Certificate, trusted: Sequence[x509.Certificate]) -> PkiConflict:
    ours = f"not by {describe(trusted[0])}" if trusted else "whose certificate is neither here nor on a host"
    return PkiConflict(
        host.name,
        path,
        f"{describe(certificate)} was signed by {certificate.issuer.rfc4514_string() or 'a nameless CA'}, {ours}",
        "put the ca.crt and ca.key that it belongs to into pki.state_dir, or move the certificate and its key away",
    )
