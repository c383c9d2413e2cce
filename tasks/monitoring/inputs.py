"""What enable-monitoring needs from the worker beside the cluster file: the operator's own rules, secrets' sums."""

from __future__ import annotations

import hashlib
import json

import yaml

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import InputError
from tasks.monitoring.alertmanager import secret_files
from tasks.monitoring.grafana_password import kept_password
from tasks.monitoring.wanted import Inputs, watch_of, web_secrets
from tasks.monitoring.web import WebInputs, hashed, kept_hash
from tasks.pki import store
from tasks.pki.certificates import read_certificates, sans_of

_LARGEST = 1 << 20


def read_inputs(cluster: Cluster) -> Inputs:
    """Read them. Of secrets only the sums are kept, to compare them with what is on the monitoring host.

    Raises:
        InputError: A rule file or a secret can't be read; nothing was touched.
    """
    watch = watch_of(cluster)
    secrets = {
        secret.path: hashlib.sha256(resolve(secret.ref).reveal().encode()).hexdigest()
        for secret in (*secret_files(cluster, watch), *web_secrets(watch))
    }
    rules = {}
    for path in watch.rules:
        try:
            text = path.read_text()
            groups = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
            raise _unusable(str(path), reason or "unreadable") from error
        if not isinstance(groups, dict) or "groups" not in groups or len(text) > _LARGEST:
            raise _unusable(str(path), "it is not a rule file of Prometheus")
        rules[str(path)] = text
    return Inputs(rules, secrets, _web(cluster, watch), _grafana_password(cluster, watch))


def _grafana_password(cluster: Cluster, watch: Watch) -> str:
    if watch.grafana is None:
        return ""
    if watch.web.password and "$" in resolve(watch.web.password).reveal():
        raise InputError(
            "Grafana can't log in to Prometheus with this password: it takes what follows a $ for a variable",
            state="nothing was touched",
            remedy="give `monitoring.host.web` a password without $",
        )
    kept = kept_password(cluster)
    return hashlib.sha256(kept).hexdigest() if kept else ""


def _web(cluster: Cluster, watch: Watch) -> WebInputs:
    certificate, name = b"", ""
    if watch.web.certificate:
        try:
            certificate = watch.web.certificate.read_bytes()
            names = sans_of(read_certificates(certificate)[0])
        except (OSError, ValueError) as error:
            raise _no_certificate(watch, str(getattr(error, "strerror", None) or error)) from error
        if not names:
            raise _no_certificate(watch, "it names no host (subjectAltName)")
        name = names[0]
    return WebInputs(certificate, name, _login(cluster, watch))


def _no_certificate(watch: Watch, reason: str) -> InputError:
    return InputError(
        f"the certificate {watch.web.certificate} can't be used: {reason}",
        state="nothing was touched",
        remedy="correct `monitoring.host.web.certificate`",
    )


def _login(cluster: Cluster, watch: Watch) -> str:
    """The password's hash; kept in the state directory, so that it stays the same."""
    if not watch.web.user or not watch.web.password:
        return ""
    directory, path = cluster.pki.state_dir, cluster.pki.state_dir / "monitoring-login.json"
    store.prepare_directory(directory)
    with store.locked(directory):
        kept = kept_hash((store.read(path, private=True) or b"{}").decode(errors="replace"), watch.web.user)
        found = hashed(resolve(watch.web.password).reveal(), kept)
        if found != kept:
            store.write(path, json.dumps({watch.web.user: found}).encode(), 0o600)
    return found


def _unusable(path: str, reason: str) -> InputError:
    return InputError(
        f"the rule file {path} can't be used: {reason}",
        state="nothing was touched",
        remedy="correct it, or leave it out of `monitoring.rules`; `promtool check rules` tells more",
    )
