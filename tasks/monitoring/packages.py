"""The programs as the host's distribution packages them: Debian 13 or newer, and what is made of it.

A package brings a unit of its own, started as it is installed with a configuration of its own. What runs is our unit
with our files all the same: the units of the packages are masked before they are installed, so that they never run,
and our main file has a name that no package has. Prometheus's unit bears the package's name, and stands before it
(systemd.unit(5), unit file load path): so the package's upgrades restart it.

Debian 12 has Prometheus 2.42 and Alertmanager 0.25, which lack ``scrape_config_files`` and metrics by receiver.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.cluster.spec import Host
from tasks.cluster.spec_monitoring import Watch
from tasks.errors import CommandFailed, EtcdFlowsError, Refused
from tasks.hosts.shell import Shell
from tasks.monitoring.actions import InstallPackages
from tasks.monitoring.programs import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS, Program

_SECONDS = 900.0
_NO_APT, _TOO_OLD, _UNKNOWN = 61, 62, 63  # exit codes


@dataclass(frozen=True)
class Package:
    """A package, and the oldest version that serves: numbers of upstream's."""

    name: str
    oldest: tuple[int, int]

    @property
    def unit(self) -> str:
        """The unit that comes with it."""
        return f"{self.name}.service"


@dataclass(frozen=True)
class PackageFact:
    """A package on the host: versions, empty for none."""

    installed: str = ""
    candidate: str = ""


PACKAGES: Mapping[Program, Package] = {
    NODE_EXPORTER: Package("prometheus-node-exporter", (1, 0)),
    ALERTMANAGER: Package("prometheus-alertmanager", (0, 27)),
    PROMETHEUS: Package("prometheus", (2, 43)),
}
#: A package of its own from Debian 13 on; before, it came with Prometheus.
PROMTOOL = "promtool"
NAMES = (*(package.name for package in PACKAGES.values()), PROMTOOL)


def too_old(version: str, package: Package) -> bool:
    """Whether a version of the package does not serve; what can't be read is left to the program itself."""
    numbers = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < package.oldest


def refusals(watch: Watch, facts: Mapping[str, PackageFact], active: Mapping[str, bool]) -> tuple[EtcdFlowsError, ...]:
    """What speaks against taking them there.

    Args:
        active: Units of the packages that are loaded, and whether they run or would at boot.
    """
    if not watch.packages:
        return ()
    found: list[EtcdFlowsError] = []
    for one, package in PACKAGES.items():
        fact = facts.get(package.name, PackageFact())
        version = fact.installed or fact.candidate
        if too_old(version, package):
            found.append(_too_old(watch.host, one.title, f"{package.name} {version}", package))
        if active.get(package.unit) and one is ALERTMANAGER:
            found.append(
                Refused(
                    f"there is a {package.unit} in use that etcd-flows did not make",
                    host=watch.host.name,
                    state="nothing was changed",
                    remedy=f"choose another machine, or `systemctl disable --now {package.unit}` if nobody needs it",
                )
            )
    return tuple(found)


def _too_old(host: Host, title: str, what: str, package: Package) -> Refused:
    oldest = ".".join(map(str, package.oldest))
    return Refused(
        f"the distribution's {what} is too old: {title} {oldest} or newer is needed",
        host=host.name,
        state="nothing was changed",
        remedy="take releases (monitoring.host.packages: false), Debian 13 or newer, or packages from backports",
    )


def missing(facts: Mapping[str, PackageFact]) -> tuple[str, ...]:
    """Packages to be installed; promtool's only where there is one."""
    unknown = PackageFact()
    absent = [name for name in NAMES if not facts.get(name, unknown).installed]
    return tuple(name for name in absent if name != PROMTOOL or facts.get(name, unknown).candidate)


#: Shell function for looking at a host: one line for each package.
LOOK = """
look_packages() {
  command -v dpkg-query >/dev/null 2>&1 || return 0
  for name; do
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Version}' "$name" 2>/dev/null) || installed=
    case $installed in 'installed '*) installed=${installed#installed } ;; *) installed= ;; esac
    candidate=
    [ -n "$installed" ] || candidate=$(apt-cache policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    [ "$candidate" != '(none)' ] || candidate=
    printf 'package\\t%s\\t%s\\t%s\\n' "$name" "$installed" "$candidate"
  done
}
"""

_INSTALL = """
exec 2>&1
umask 022
command -v apt-get >/dev/null || exit 61
export DEBIAN_FRONTEND=noninteractive
for unit in $mask; do
  at=/etc/systemd/system/$unit
  if [ -e "$at" ] || [ -L "$at" ] || [ -e "/usr/lib/systemd/system/$unit" ] || [ -e "/lib/systemd/system/$unit" ]; then
    continue
  fi
  ln -s /dev/null "$at"
done
systemctl daemon-reload
lock='-o DPkg::Lock::Timeout=300'
apt-get -q $lock update || echo "apt-get update failed: going on with what is known"
if apt-cache show promtool >/dev/null 2>&1; then set -- "$@" promtool; fi
for name; do
  version=$(apt-cache policy "$name" | sed -n 's/^ *Candidate: //p')
  if [ -z "$version" ] || [ "$version" = '(none)' ]; then echo "there is no package $name"; exit 63; fi
  case $oldest in *"$name="*) least=${oldest#*"$name="}; least=${least%% *} ;; *) continue ;; esac
  if dpkg --compare-versions "${version#*:}" lt "$least"; then echo "$name $version"; exit 62; fi
done
apt-get -q -y $lock --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \\
  install "$@"
"""


def install_packages(shell: Shell, host: Host, action: InstallPackages) -> None:
    """Have the packages installed, and their units never started.

    Raises:
        Refused: They are too old; none was installed.
        CommandFailed: The host has no apt, no such packages, or apt failed.
    """
    oldest = " ".join(f"{one.name}={'.'.join(map(str, one.oldest))}" for one in PACKAGES.values())
    values = {"mask": " ".join(action.mask), "oldest": oldest}
    prologue = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    what = "installing the distribution's packages"
    script = f"{prologue}set -- {shlex.join(action.names)}\n{_INSTALL}"
    output = shell.run(script, timeout=_SECONDS, check=False, what=what)
    if output.ok:
        return
    said = [line for line in output.text.splitlines() if line.strip()] or ["it said nothing"]
    if output.code == _TOO_OLD:
        by_name = {one.name: (program.title, one) for program, one in PACKAGES.items()}
        title, package = by_name[said[-1].partition(" ")[0]]
        raise _too_old(host, title, said[-1], package)
    reasons = {_NO_APT: "there is no apt on it", _UNKNOWN: said[-1]}
    raise CommandFailed(
        f"{what} failed: {reasons.get(output.code, ' | '.join(said[-4:])[:900])}",
        host=host.name,
        state="what was installed before is in place",
        remedy="see that apt works there (`apt-get update`), or take releases (monitoring.host.packages: false)",
    )
