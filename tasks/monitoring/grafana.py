"""What Grafana is given: our dashboards, and files by which it finds them and Prometheus at its start. Pure.

The dashboards are made by the package ``dashboards`` and shipped as they are, the same for every cluster: one is
chosen in them. Provisioning: grafana.com/docs/grafana/latest/administration/provisioning.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from tasks.errors import InputError
from tasks.etcd.unit import HEAD

#: Grafana whose format the dashboards have; newer ones take it over by themselves.
OLDEST_GRAFANA = "11.6"
#: How often Prometheus asks where nothing says, as Grafana has it; the dashboards do well up to a minute.
GUESSED_INTERVAL = "15s"
#: Its name and uid in Grafana.
DATASOURCE = "etcd-flows"
#: Below the directory that is written to.
DASHBOARDS = "grafana/dashboards"
PROVISIONING = "grafana/provisioning"


def dashboards() -> dict[str, str]:
    """All dashboards, by file name."""
    folder = importlib.resources.files("tasks.monitoring").joinpath("dashboards")
    found = {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".json")}
    return dict(sorted(found.items()))


def grafana_files(directory: str, prometheus: str | None, interval: str) -> dict[str, str]:
    """Dashboards and provisioning, by path below a directory.

    Args:
        directory: Where that is on Grafana's machine.
        prometheus: URL at which Grafana reaches Prometheus; None if Grafana knows it already.
        interval: How often Prometheus asks the members, in its notation.

    Raises:
        InputError: The URL is none, or has a password in it.
    """
    found = {f"{DASHBOARDS}/{name}": text for name, text in dashboards().items()}
    found[f"{PROVISIONING}/dashboards/etcd-flows.yaml"] = provider(f"{directory}/{DASHBOARDS}")
    if prometheus is not None:
        found[f"{PROVISIONING}/datasources/{DATASOURCE}.yaml"] = datasource(_checked(prometheus), interval, {})
    return found


def provider(directory: str) -> str:
    """The file that tells Grafana where the dashboards are."""
    entry = {
        "name": "etcd-flows",
        "folder": "etcd",
        "type": "file",
        "allowUiUpdates": False,
        # Grafana fills in environment variables after a dollar sign
        "options": {"path": directory.replace("$", "$$")},
    }
    return _dump("Where the dashboards are", "providers", entry)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{url!r} is no URL of a Prometheus", state="nothing was written", remedy="like http://10.0.0.21:9090"
        )
    if parts.username or parts.password:
        raise InputError(
            "the URL of Prometheus has a login in it, and the file would show it to everybody",
            state="nothing was written",
            remedy="give the URL alone, and the login to Grafana: `basicAuth` and `secureJsonData` of the data source",
        )
    return url


def datasource(url: str, interval: str, more: Mapping[str, Any]) -> str:
    """The file that tells Grafana of Prometheus.

    Args:
        interval: How often Prometheus asks the members.
        more: Further keys of the data source; ``jsonData`` is added to.
    """
    entry = {
        "name": DATASOURCE,
        "uid": DATASOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": url.replace("$", "$$"),
        **more,
        "jsonData": {"timeInterval": interval, "httpMethod": "POST", **more.get("jsonData", {})},
    }
    return _dump("The Prometheus that scrapes the members", "datasources", entry)


def _dump(what: str, key: str, entry: Mapping[str, object]) -> str:
    data = {"apiVersion": 1, key: [dict(entry)]}
    return f"# {what}.\n# {HEAD}\n" + yaml.safe_dump(data, sort_keys=False, width=10_000, allow_unicode=True)
