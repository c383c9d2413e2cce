"""What enable-monitoring needs from the worker beside the cluster file: the operator's own rules, secrets' sums."""

from __future__ import annotations

import hashlib

import yaml

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster
from tasks.errors import InputError
from tasks.monitoring.alertmanager import secret_files
from tasks.monitoring.wanted import Inputs, watch_of

_LARGEST = 1 << 20


def read_inputs(cluster: Cluster) -> Inputs:
    """Read them. Of secrets only the sums are kept, to compare them with what is on the monitoring host.

    Raises:
        InputError: A rule file or a secret can't be read; nothing was touched.
    """
    watch = watch_of(cluster)
    secrets = {
        secret.path: hashlib.sha256(resolve(secret.ref).reveal().encode()).hexdigest()
        for secret in secret_files(cluster, watch)
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
    return Inputs(rules, secrets)


def _unusable(path: str, reason: str) -> InputError:
    return InputError(
        f"the rule file {path} can't be used: {reason}",
        state="nothing was touched",
        remedy="correct it, or leave it out of `monitoring.rules`; `promtool check rules` tells more",
    )
