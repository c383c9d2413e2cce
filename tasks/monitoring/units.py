"""Units of the programs on a monitoring host. Pure."""

from __future__ import annotations

import hashlib

from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY, Watch
from tasks.etcd.unit import HEAD
from tasks.hosts.confined import confined
from tasks.monitoring.programs import GRAFANA, NODE_EXPORTER, RELOADING, Program, arguments, executable

#: By this variable a running process tells from which unit it was started: a marker that a reboot can't take away.
MARKER = "ETCD_FLOWS_UNIT"


def render_unit(watch: Watch, one: Program) -> str:
    """The unit; only its data directory can be written to, and no privilege is left.

    Grafana may make code in memory, as its own unit lets it: what its plugins need is not known.
    """
    command = " ".join((executable(watch, one, one.service), *arguments(watch, one)))
    writable = one.data if one is not NODE_EXPORTER else ""
    reads = TEXTFILE_DIRECTORY if one is NODE_EXPORTER else one.data
    # The others would end, or take nothing up.
    reload = "ExecReload=/bin/kill -HUP $MAINPID\n" if one in RELOADING else ""
    text = f"""# {HEAD}
[Unit]
Description={one.title}, set up by etcd-flows
Wants=network-online.target
After=network-online.target time-sync.target nss-lookup.target
RequiresMountsFor={reads}
StartLimitIntervalSec=0

[Service]
Type=exec
User={one.service}
Group={one.service}
Environment={MARKER}=
ExecStart={command}
{reload}Restart=on-failure
RestartSec=5s
TimeoutStopSec=60s
LimitNOFILE=65536

UMask=0027
{confined(writable, code_in_memory=one is GRAFANA)}
[Install]
WantedBy=multi-user.target
"""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return text.replace(f"Environment={MARKER}=\n", f"Environment={MARKER}={digest}\n")


def marker_in(unit: str) -> str:
    """The value of :data:`MARKER` in a unit."""
    return unit.partition(f"Environment={MARKER}=")[2].partition("\n")[0]
