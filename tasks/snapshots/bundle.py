"""What is needed besides a snapshot when every host and this machine are gone, in one encrypted file beside it.

It is a tar archive in the format of age, so that ``age -d -i KEY bundles/ID.age | tar xv`` opens it anywhere:

* ``README.txt``: what to do with it, and what it can't hold.
* ``cluster.yaml``: the cluster file as it was read. It holds no secrets, only where they were to be had.
* ``ca.crt`` and, if the state directory has it, ``ca.key``: as they lie there, so with ``pki.passphrase`` the key is
  encrypted once more. It leaves the state directory only inside age; without encryption there is no bundle.
* ``bundle.json``: facts, and the SHA-256 of the other files, signed like a manifest: whoever can write to a store can
  also encrypt for a public key.

The key that signs is not in it: who may read backups is not thereby one who may make them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tasks.cluster.references import secret_references
from tasks.cluster.spec import Cluster
from tasks.errors import DecryptionError, ManifestError, Refused, SnapshotError
from tasks.pki import store
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.codec import Codec, Encoder, decode
from tasks.snapshots.signing import SigningKey, Trust, public_key_text, seal, unseal

FORMAT = "etcd-flows-bundle/1"
FACTS = "bundle.json"
README = "README.txt"
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Args:
        facts: ``cluster``, ``cluster_uuid``, ``snapshot``, ``etcd_version``, ``etcd_source``, ``etcd_sha256``,
            ``made`` (UTC), ``tool_version``, ``signer``, ``secrets`` (references that have to be had elsewhere).
        files: By name; not shown, the CA's key may be among them.
        trust: Who made it, see :class:`tasks.snapshots.signing.Sealed`.
        signer: Public key that signed it.
    """

    facts: dict[str, Any]
    files: dict[str, bytes] = field(repr=False)
    trust: Trust
    signer: str


def bundle_key(snapshot_id: str) -> str:
    """Where the bundle of that snapshot is."""
    return f"bundles/{snapshot_id}.age"


def make_bundle(
    cluster: Cluster,
    locks: Locks | None,
    key: SigningKey,
    *,
    cluster_uuid: str,
    snapshot_id: str,
    etcd_version: str,
    tool_version: str,
    now: datetime,
) -> bytes:
    """The encrypted bundle of a snapshot.

    Args:
        locks: What it is encrypted with.
        etcd_version: That the members run, which may not be the cluster file's.

    Raises:
        Refused: Encryption is off.
        SnapshotError: The cluster file can't be read any more.
        PkiError: The CA's files can't be read.
    """
    if locks is None:
        raise Refused(
            "no bundle for total loss is made without encryption: it holds the CA",
            state="the snapshot itself is made",
            remedy="set snapshots.encryption.recipients, or keep cluster file and CA safe by other means",
        )
    facts = {
        "format": FORMAT,
        "cluster": cluster.name,
        "cluster_uuid": cluster_uuid,
        "snapshot": snapshot_id,
        "etcd_version": etcd_version,
        "etcd_source": _where_from(cluster.release.source),
        "etcd_sha256": cluster.release.sha256 or "" if etcd_version == cluster.release.version else "",
        "made": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tool_version": tool_version,
        "signer": public_key_text(key),
        "secrets": sorted({str(ref) for _, ref in secret_references(cluster)}),
    }
    files = _files(cluster)
    files[README] = _readme(facts, "ca.key" in files).encode()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[FACTS] = seal({**facts, "files": sums}, key, "bundle")
    encoder = Encoder(Codec("none", locks))
    return encoder.update(_archive(files, now)) + encoder.finish()


def open_bundle(data: bytes, keys: Keys | None, trusted: str | None = None) -> Bundle:
    """Decrypt and check a bundle.

    Args:
        trusted: Public key that is trusted; None if none is known, then it counts as ``foreign``.

    Raises:
        DecryptionError: Wrong key, or its bytes were changed.
        ManifestError: What is in it was changed or does not belong together.
    """
    if len(data) > MAX_BYTES:
        raise DecryptionError(f"{len(data):,} bytes are no bundle", remedy="see what lies there instead")
    files = _unpacked(b"".join(decode(iter([data]), "none", "age", keys)))
    sealed = unseal(files.pop(FACTS, b""), trusted, "bundle")
    facts = dict(sealed.payload)
    sums = facts.pop("files", None)
    if facts.pop("format", None) != FORMAT:
        raise ManifestError("this bundle is of a format that this version does not know", remedy="use a newer version")
    if sums != {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}:
        raise ManifestError(
            "the files in this bundle are not those that were signed",
            state="nothing in it can be believed",
            remedy="use the bundle of another snapshot",
        )
    return Bundle(facts, files, sealed.trust, sealed.signer)


def _files(cluster: Cluster) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if cluster.source is not None:
        try:
            files["cluster.yaml"] = cluster.source.read_bytes()
        except OSError as error:
            raise SnapshotError(
                f"the cluster file {cluster.source} can't be read any more ({error.strerror}), so there is no bundle",
                state="the snapshot itself is not touched by this",
                remedy="put it back; the next backup makes a bundle",
            ) from error
    if cluster.pki.state_dir.exists():
        for name, private in (("ca.crt", False), ("ca.key", True)):
            content = store.read(cluster.pki.state_dir / name, private=private)
            if content is not None:
                files[name] = content
    return files


def _archive(files: dict[str, bytes], now: datetime) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(files[name]), 0o600, int(now.timestamp())
            archive.addfile(entry, io.BytesIO(files[name]))
    return out.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                if content is None or "/" in entry.name or entry.name in files:
                    raise ValueError(f"{entry.name[:60]!r} is no plain file")
                files[entry.name] = content.read()
    except (tarfile.TarError, ValueError, KeyError, OSError) as error:
        raise ManifestError(f"this is not a bundle: {error}", remedy="use the bundle of another snapshot") from None
    return files


def _where_from(source: str) -> str:
    """The release's source for people; a mirror's URL without the name and password that may stand in it."""
    if source == "official":
        return "https://github.com/etcd-io/etcd/releases"
    parts = urlsplit(source)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme else source


def _readme(facts: dict[str, Any], ca_key: bool) -> str:
    secrets = "\n".join(f"    {reference}" for reference in facts["secrets"]) or "    (none)"
    pinned = f", SHA-256 {facts['etcd_sha256']}" if facts["etcd_sha256"] else ""
    ca = (
        "Put ca.crt and ca.key (0600) into the directory of pki.state_dir (0700)."
        if ca_key
        else "Put ca.crt, if it is here, into the directory of pki.state_dir (0700). The CA's key was not on the\n"
        "    machine that made this: without it no new certificates can be issued."
    )
    return f"""\
Everything but the data of the etcd cluster {facts["cluster"]!r}, as of {facts["made"]}.
Made by etcd-flows {facts["tool_version"]} beside snapshot {facts["snapshot"]}.

To bring the cluster back when all of its hosts are gone:

 1. Install etcd-flows on a machine that reaches the new hosts and the store.
 2. Put cluster.yaml there; set the hosts' new addresses in it, if they changed.
 3. {ca}
 4. Restore snapshot {facts["snapshot"]}, or a later one.

etcd is {facts["etcd_version"]} from {facts["etcd_source"]}{pinned}.
The cluster's UUID is {facts["cluster_uuid"] or "not known"}.
Manifests are signed by {facts["signer"]}.

What is NOT in here and has to be had from elsewhere:

 - What the cluster file only points to:
{secrets}
 - The key that signs manifests. For the restore pin its public half above (snapshots.signing.public_key); remove the
   pin afterwards, and the next backup makes a new key.
 - Kubernetes: the EncryptionConfiguration of the kube-apiservers with its keys, or access to their KMS. Without it
   the Secrets in this etcd can't be read by anyone. Also the cluster's own CA and service account keys
   (/etc/kubernetes/pki).
 - Login keys of the hosts and their operating systems.
"""
