"""Which certificate files of a host may go when its cluster is destroyed."""

from __future__ import annotations

from cryptography import x509

from tasks.cluster.spec import Cluster, Host
from tasks.errors import PkiError
from tasks.hosts.facts import FileFact, HostFacts
from tasks.pki.authority import load_authority
from tasks.pki.certificates import issued_by, read_certificates
from tasks.pki.judge import cert_path, key_path, marker_path, read_marker
from tasks.pki.leaves import LEAF_NAMES


def removable(cluster: Cluster, host: Host, facts: HostFacts) -> tuple[str, ...]:
    """Pairs that the host's own CA signed, pairs a cut-off run left behind, the marker, and last of all ca.crt.

    What another CA signed and lone keys stay. The copy of the CA's key that ``pki.ca_key: hosts`` made goes only if the
    state directory holds the key of that CA. Any other ca.key may be the only one there is: it stays, with its ca.crt.
    """
    trusted = _certificates(facts.file(cert_path(host, "ca")))
    marker = read_marker(facts.file(marker_path(host)).content)
    paths: list[str] = []
    for name in LEAF_NAMES:
        cert, key = facts.file(cert_path(host, name)), facts.file(key_path(host, name))
        found = _certificates(cert)
        if issued_by(found[0], trusted) if found else name in marker and not cert.present:
            paths += [fact.path for fact in (key, cert) if fact.kind == "file"]
    paths += [marker_path(host)] if facts.file(marker_path(host)).kind == "file" else []
    key_there = facts.file(key_path(host, "ca")).present
    if key_there and not (cluster.pki.ca_key == "hosts" and _kept(cluster, trusted)):
        return tuple(paths)
    paths += [key_path(host, "ca")] if key_there else []
    return (*paths, cert_path(host, "ca")) if trusted else tuple(paths)


def _certificates(fact: FileFact) -> tuple[x509.Certificate, ...]:
    try:
        return read_certificates(fact.content or b"") if fact.kind == "file" else ()
    except ValueError:
        return ()


def _kept(cluster: Cluster, trusted: tuple[x509.Certificate, ...]) -> bool:
    try:
        authority = load_authority(cluster.pki, with_key=False)
    except PkiError:
        return False
    return authority is not None and authority.key_here and authority.cert in trusted
