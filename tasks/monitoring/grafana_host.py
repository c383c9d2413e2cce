"""Grafana on a monitoring host: its configuration, and what it finds there at its start. Pure.

Settings: grafana.com/docs/grafana/latest/setup-grafana/configure-grafana. Secrets are in files that only Grafana reads
(``$__file{}``, which works in its provisioning too). The dashboards are the same for all clusters of the host, and so
is the data source: a cluster is chosen in them.
"""

from __future__ import annotations

from tasks.cluster.spec_monitoring import Watch
from tasks.etcd.unit import HEAD
from tasks.monitoring.grafana import DATASOURCE, dashboards, datasource, provider
from tasks.monitoring.programs import GRAFANA, PROMETHEUS, url

#: Who the password is for.
USER = "admin"
PASSWORD = f"{GRAFANA.etc}/admin.password"
#: Grafana encrypts with it what it keeps of data sources' logins.
SECRET_KEY = f"{GRAFANA.etc}/secret.key"
INI = f"{GRAFANA.etc}/grafana.ini"
DASHBOARDS = f"{GRAFANA.etc}/dashboards"
_PROVISIONING = f"{GRAFANA.etc}/provisioning"
#: All files without secrets that any version of us has put there, and the directories that they are in.
OWN_FILES = (
    INI,
    f"{_PROVISIONING}/dashboards/etcd-flows.yaml",
    f"{_PROVISIONING}/datasources/{DATASOURCE}.yaml",
    *(f"{DASHBOARDS}/{name}" for name in dashboards()),
)
OWN_FOLDERS = (f"{_PROVISIONING}/dashboards", f"{_PROVISIONING}/datasources", _PROVISIONING, DASHBOARDS)
#: What is looked at beside the files that are wanted now.
WEB_FILES = tuple(f"{GRAFANA.etc}/{name}" for name in ("web.crt", "web.key", "web.password"))


def ini(watch: Watch) -> str:
    """``grafana.ini``: nobody gets in without a login, and nothing is sent or fetched."""
    tls = watch.web.certificate is not None
    loopback = watch.listen_address in ("127.0.0.1", "::1")
    sections: dict[str, dict[str, str]] = {
        "paths": {
            "data": GRAFANA.data,
            "logs": f"{GRAFANA.data}/log",
            "plugins": f"{GRAFANA.data}/plugins",
            "provisioning": _PROVISIONING,
        },
        "server": {
            "protocol": "https" if tls else "http",
            "http_addr": watch.listen_address,
            "http_port": str(watch.grafana.port if watch.grafana else 0),
            "domain": "localhost" if loopback else watch.host.address,
            **({"cert_file": WEB_FILES[0], "cert_key": WEB_FILES[1]} if tls else {}),
        },
        "security": {
            "admin_user": USER,
            "admin_password": f"$__file{{{PASSWORD}}}",
            "secret_key": f"$__file{{{SECRET_KEY}}}",
            "disable_gravatar": "true",
            "cookie_secure": str(tls).lower(),
            "cookie_samesite": "strict",
        },
        "users": {"allow_sign_up": "false", "allow_org_create": "false"},
        "auth.anonymous": {"enabled": "false"},
        "analytics": {
            "reporting_enabled": "false",
            "check_for_updates": "false",
            "check_for_plugin_updates": "false",
            "feedback_links_enabled": "false",
        },
        "news": {"news_feed_enabled": "false"},
        "snapshots": {"external_enabled": "false"},
        "public_dashboards": {"enabled": "false"},
        "plugins": {
            "plugin_admin_enabled": "false",
            "preinstall_disabled": "true",
            "public_key_retrieval_disabled": "true",
        },
        "metrics": {"enabled": "false"},
        "log": {"mode": "console"},
    }
    lines = [f"# {HEAD}"]
    for section, keys in sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {value}" for key, value in keys.items())]
    return "\n".join([*lines, ""])


def files(watch: Watch, name: str) -> dict[str, str]:
    """Its files without secrets, by path.

    Args:
        name: In the certificate that Prometheus shows; empty without one.
    """
    found = {f"{DASHBOARDS}/{file}": text for file, text in dashboards().items()}
    found[f"{_PROVISIONING}/dashboards/etcd-flows.yaml"] = provider(DASHBOARDS)
    more: dict[str, object] = {"editable": False, "isDefault": True}
    secure: dict[str, str] = {}
    if watch.web.certificate:
        more["jsonData"] = {"tlsAuthWithCACert": True, **({"serverName": name} if name else {})}
        secure["tlsCACert"] = f"$__file{{{WEB_FILES[0]}}}"
    if watch.web.user:
        more |= {"basicAuth": True, "basicAuthUser": watch.web.user}
        secure["basicAuthPassword"] = f"$__file{{{WEB_FILES[2]}}}"
    if secure:
        more["secureJsonData"] = secure
    text = datasource(url(watch, PROMETHEUS), watch.prometheus.interval, more)
    found[f"{_PROVISIONING}/datasources/{DATASOURCE}.yaml"] = text
    found[INI] = ini(watch)
    return found


def taken_up(path: str) -> bool:
    """Whether Grafana looks at that file again by itself, within seconds."""
    return path.startswith(f"{DASHBOARDS}/")
