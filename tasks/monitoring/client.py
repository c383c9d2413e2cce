"""Prometheus's client certificate for members that show metrics over https (rule: its own, from the cluster's CA).

The key is made on the worker and goes to the monitoring host alone. Its content is never fetched from there: what was
written is noted beside it by its sum, so that a pair half replaced by a run that was killed is seen and issued anew.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from tasks.cluster.spec import Cluster
from tasks.hosts.facts import FileFact
from tasks.hosts.shell import FileWrite, Shell
from tasks.monitoring.actions import IssueClient
from tasks.pki.authority import Authority
from tasks.pki.certificates import issued_by, read_certificates, renewal_due
from tasks.pki.client import RENEW_BEFORE
from tasks.pki.leaves import LeafSpec


def client_due(key: FileFact, cert: FileFact, noted: FileFact, authority: Authority, now: datetime) -> str:
    """Why the certificate has to be issued; empty if it serves as it is. Pure."""
    if not key.present or cert.content is None:
        return "it is not there"
    try:
        sums = json.loads(noted.content or b"{}")
        certificate = read_certificates(cert.content)[0]
    except ValueError:
        return "it can't be read"
    if sums != {"key": key.sha256, "cert": cert.sha256}:
        return "key and certificate were not written together"
    if not issued_by(certificate, authority.trusted or (authority.cert,)):
        return "another CA has signed it"
    if certificate.not_valid_before_utc > now or renewal_due(certificate, now, RENEW_BEFORE):
        return "it expires soon"
    return ""


def issue_client(shell: Shell, action: IssueClient, cluster: Cluster, authority: Authority, now: datetime) -> None:
    """Issue and write: key, certificate, then the note that they belong together.

    Raises:
        PkiError: The CA's key is not here.
        HostError: The host could not be reached or refused.
    """
    leaf = LeafSpec("client", action.common_name, None, ("client",), (), cluster.pki.key_type, cluster.pki.leaf_days)
    made = authority.issue(leaf, now)
    sums = {"key": hashlib.sha256(made.key_pem).hexdigest(), "cert": hashlib.sha256(made.cert_pem).hexdigest()}
    shell.write_files(
        [
            FileWrite(f"{action.folder}/client.key", made.key_pem, 0o640, "root", action.group),
            FileWrite(f"{action.folder}/client.crt", made.cert_pem, 0o644),
            FileWrite(f"{action.folder}/client.json", json.dumps(sums).encode(), 0o644),
        ]
    )
