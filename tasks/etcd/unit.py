"""What keeps etcd running, and what makes root's ``etcdctl`` just work: unit, supervisor configuration, wrapper.

The unit was run on Debian 12 (systemd 252) and Debian 13 (systemd 257): as its own user, data dir as a mount point,
with directories made inside it later. ``systemd-analyze security`` rates it 1.4 ("OK") on both.
"""

from __future__ import annotations

import shlex

from tasks.cluster.spec import Cluster, Host, bracket
from tasks.errors import InputError
from tasks.etcd.versions import traits
from tasks.hosts.confined import confined

_SOCKET_LIMIT = 100  # sun_path holds 108 bytes (unix(7)); supervisor appends a process number while it makes the socket

HEAD = (
    "Written by etcd-flows from the cluster file, and written again on its next run: change the cluster file instead."
)


def _word(text: str) -> str:
    """A path as one word of a unit file: quoted if needed, percent signs doubled (systemd.unit(5), specifiers)."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(char in text for char in " \t\"'\\;") else escaped


def _below(path: str, *roots: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def render_unit(cluster: Cluster, host: Host) -> str:
    """``etcd.service``.

    Started without limit of time, since readiness means quorum and the first member of a restored cluster waits for the
    second. Restarted five seconds after a failure, for ever. The data dir is mounted before, and nothing
    else is writable. CPU and IO priority as etcd's tuning guide says (nice, ``ionice -c2 -n0``).
    """
    paths = host.paths
    touched = (paths.data_dir, paths.install_dir, paths.env_file, paths.pki_dir)
    private_tmp = not any(_below(path, "/tmp", "/var/tmp") for path in touched)  # noqa: S108
    hidden_home = not any(_below(path, "/home", "/root", "/run/user") for path in touched)
    data = _word(paths.data_dir)
    return f"""# {HEAD}
[Unit]
Description=etcd member {host.name.replace("%", "%%")} of cluster {cluster.name.replace("%", "%%")}
Documentation=https://etcd.io/docs/
Wants=network-online.target
After=network-online.target time-sync.target nss-lookup.target
RequiresMountsFor={data}
Conflicts=etcd-member.service etcd2.service
StartLimitIntervalSec=0

[Service]
Type=notify
User={cluster.etcd.user}
Group={cluster.etcd.user}
EnvironmentFile={paths.env_file.replace("%", "%%")}
ExecStart={_word(paths.install_dir + "/etcd")}
TimeoutStartSec=infinity
Restart=on-failure
RestartSec=5s
LimitNOFILE=65536

Nice=-10
IOSchedulingClass=best-effort
IOSchedulingPriority=0
MemoryLow={cluster.etcd.memory_low}
OOMScoreAdjust=-900

UMask=0077
{confined(data, home=hidden_home, private_tmp=private_tmp)}
[Install]
WantedBy=multi-user.target
"""


def supervisor_conf(host: Host) -> str:
    """Where the supervisor's configuration of this member is."""
    return f"{host.paths.prefix}/etc/supervisord.conf"


def supervisor_socket(host: Host) -> str:
    """The unix socket on which that supervisor is told what to do."""
    return f"{host.paths.prefix}/run/supervisor.sock"


def render_supervisor(cluster: Cluster, host: Host) -> str:
    """``supervisord.conf`` (supervisor 4.3) for a member without systemd and without root.

    etcd reads the same environment file as under systemd, from a shell that replaces itself; the environment of whoever
    started the supervisor does not reach it.

    Raises:
        InputError: The prefix is too long for a unix socket below it.
    """
    prefix, paths = host.paths.prefix, host.paths
    socket = supervisor_socket(host)
    if len(socket.encode()) > _SOCKET_LIMIT:
        raise InputError(
            f"{socket} is too long for a unix socket ({len(socket.encode())} bytes, {_SOCKET_LIMIT} are possible)",
            host=host.name,
            remedy="choose a shorter directory",
        )
    script = f"set -a; . {shlex.quote(paths.env_file)}; set +a; exec {shlex.quote(paths.install_dir + '/etcd')}"
    command = shlex.join(["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", script])

    def literal(text: str) -> str:
        return text.replace("%", "%%")  # supervisor expands %(name)s

    return f"""; {HEAD}
; Member {literal(host.name)} of cluster {literal(cluster.name)}.
[supervisord]
logfile={literal(prefix)}/var/log/supervisord.log
pidfile={literal(prefix)}/run/supervisord.pid
childlogdir={literal(prefix)}/var/log
directory={literal(prefix)}
umask=077
minfds=1024
silent=true

[unix_http_server]
file={literal(socket)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{literal(socket)}

[program:etcd]
command={literal(command)}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs=60
redirect_stderr=true
stdout_logfile={literal(prefix)}/var/log/etcd.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def _client_files(host: Host) -> tuple[str, str, str]:
    pki = host.paths.pki_dir
    return f"{pki}/ca.crt", f"{pki}/etcdctl-etcd-client.crt", f"{pki}/etcdctl-etcd-client.key"


def render_etcdctl_env(cluster: Cluster, host: Host) -> str:
    """``etcdctl.env`` as etcdadm writes it, for scripts that source it; nothing of ours does."""
    ca, cert, key = _client_files(host)
    rows = [("CACERT", ca), ("CERT", cert), ("KEY", key), ("DIAL_TIMEOUT", "3s")]
    if traits(cluster.release.version).etcdctl_api:
        rows.insert(0, ("API", "3"))
    return f"# {HEAD}\n" + "".join(f"export ETCDCTL_{name}={shlex.quote(value)}\n" for name, value in rows)


def render_etcdctl(cluster: Cluster, host: Host) -> str:
    """Root's ``etcdctl``: adds this member's endpoint and client certificate where the caller gave none of that kind.

    Settings exported for everybody would break scripts that pass flags, since etcdctl refuses the same setting by flag
    and by environment.
    """
    ca, cert, key = (shlex.quote(path) for path in _client_files(host))
    endpoint = f"https://{bracket(host.loopback)}:{host.client_port}"
    return f"""#!/bin/sh
# {HEAD}
# etcdctl of member {host.name} of cluster {cluster.name}: what the caller says by flag or ETCDCTL_* stays as it is.
real={shlex.quote(host.paths.install_dir + "/etcdctl")}
tls=${{ETCDCTL_CACERT-}}${{ETCDCTL_CERT-}}${{ETCDCTL_KEY-}}${{ETCDCTL_INSECURE_TRANSPORT-}}
where=${{ETCDCTL_ENDPOINTS-}}${{ETCDCTL_DISCOVERY_SRV-}}
if [ "${{ETCDCTL_API-}}" = 3 ]; then unset ETCDCTL_API; fi # the default for long; etcdctl 3.6 warns of it
for word in "$@"; do
  case $word in
    --) break ;;
    --cacert | --cacert=* | --cert | --cert=* | --key | --key=*) tls=own ;;
    --insecure-transport | --insecure-transport=*) tls=own ;;
    --endpoints | --endpoints=* | --discovery-srv | --discovery-srv=* | -d | -d=*) where=own ;;
  esac
done
if [ -z "$where" ]; then set -- --endpoints={shlex.quote(endpoint)} "$@"; fi
if [ -z "$tls" ]; then
  if [ -r {key} ]; then
    set -- --cacert={ca} --cert={cert} --key={key} "$@"
  else
    echo "etcdctl: {key} can't be read by $(id -un): run it as root, or give --cacert, --cert and --key" >&2
  fi
fi
exec "$real" "$@"
"""
