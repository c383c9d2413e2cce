"""The operator's own keys of a cluster: its CA, the signing key of its snapshots, and age's keys that open them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from deployments.doctor.asking import as_finding
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.findings import Finding
from tasks.pki.authority import Authority, load_authority
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.signing import key_is_here, trusted_key

#: Days before the end of the CA's life: all clients have to be given another one by then.
CA_WARNING = 180


def check_keys(name: str, cluster: Cluster) -> Iterator[Finding]:
    """CA, signing key, age."""
    try:
        yield authority_finding(name, cluster, load_authority(cluster.pki, with_key=False), datetime.now(UTC))
        if cluster.snapshots.stores:
            yield signing_finding(name, cluster)
    except EtcdFlowsError as error:
        yield as_finding(error, "state directory", name)
    if cluster.snapshots.stores:
        yield age_finding(name, cluster)


def authority_finding(name: str, cluster: Cluster, authority: Authority | None, now: datetime) -> Finding:
    """Whether the CA is here, whole, and for long enough. Pure."""
    place = cluster.pki.state_dir
    if authority is None:
        text = f"no CA in {place}: bootstrap-cluster makes one; if there is one elsewhere, bring it here first"
        return Finding("ok", "state directory", text, name)
    ends = authority.cert.not_valid_after_utc
    days = (ends - now).days
    text = f"the CA in {place} ends {ends:%Y-%m-%d}, in {days} days"
    if days < CA_WARNING:
        return Finding("warning", "state directory", text, name, "plan its replacement: it touches every client")
    if not authority.can_issue:
        remedy = "bring ca.key (0600) for runs that issue certificates; all others need only ca.crt"
        return Finding("warning", "state directory", f"{text}; its key is not here", name, remedy)
    return Finding("ok", "state directory", text, name)


def signing_finding(name: str, cluster: Cluster) -> Finding:
    """Whether manifests can be checked, and signed.

    Raises:
        PkiError, InputError: A key is there, but can't be used.
    """
    trusted = trusted_key(cluster)
    if trusted is None:
        text = "no signing key is here: the first backup makes one; without the right one no snapshot is trusted"
        remedy = f"if there are backups, bring {cluster.pki.state_dir} or pin snapshots.signing.public_key"
        return Finding("warning", "signing key", text, name, remedy)
    if not key_is_here(cluster):
        text = f"{trusted} is trusted, but its private key is not here: backups and verifications can't be signed"
        return Finding("warning", "signing key", text, name, "fine where snapshots are only read; else bring the key")
    return Finding("ok", "signing key", f"{trusted}, with its private key", name)


def age_finding(name: str, cluster: Cluster) -> Finding:
    """Whether snapshots are encrypted, and whether this machine can open them again."""
    settings = cluster.snapshots
    if not settings.encrypted:
        text = "snapshots are stored in clear: whoever reads a store has every secret of the cluster"
        return Finding(
            "warning", "encryption", text, name, "set snapshots.encryption.recipients; age-keygen makes a key"
        )
    if settings.passphrase is None and settings.identity is None:
        text = "this machine can make backups and not read them: no snapshots.encryption.identity"
        remedy = "fine as long as you know where the secret key is; verify, drill and restore need it"
        return Finding("warning", "encryption", text, name, remedy)
    try:
        keys = keys_of(settings)
    except InputError as error:
        text = f"{error.message}; without it nothing can be verified, drilled or restored here"
        return Finding("warning", "encryption", text, name, error.remedy or "")
    if keys is not None and settings.recipients and not set(keys.public) & set(settings.recipients):
        text = "snapshots.encryption.identity opens none of what is encrypted for snapshots.encryption.recipients"
        return Finding("error", "encryption", text, name, f"name the key of {', '.join(settings.recipients)}")
    return Finding("ok", "encryption", "snapshots are encrypted, and the key that opens them is here", name)
