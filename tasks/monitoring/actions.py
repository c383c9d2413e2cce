"""What steps on a monitoring host do. Pure; they hold no secret, only where it is to be had."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from tasks.cluster.spec import SecretRef
from tasks.monitoring.programs import Access


@dataclass(frozen=True)
class InstallProgram:
    """Install a release beside the ones that are there."""

    name: str
    version: str
    arch: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"install {self.name} {self.version} {self.arch}"


@dataclass(frozen=True)
class InstallPackages:
    """Install packages of the distribution.

    Args:
        mask: Units that come with them and are not to run.
    """

    names: tuple[str, ...]
    mask: tuple[str, ...]

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"packages {self.names} {self.mask}"


@dataclass(frozen=True)
class ConfigFile:
    """A file to be written.

    Args:
        content: None for one whose content is a secret.
        secret: Where that is to be had.
        group: Of the file; root owns it.
    """

    path: str
    content: bytes | None = field(repr=False)
    mode: int = 0o644
    group: str = "root"
    secret: SecretRef | None = None

    def fingerprint(self) -> str:
        """Equal for files that would be the same, as far as can be told without the secret."""
        what = hashlib.sha256(self.content).hexdigest() if self.content is not None else str(self.secret)
        return f"{self.path} {self.mode:o} {self.group} {what}"


@dataclass(frozen=True)
class IssueClient:
    """Issue Prometheus's client certificate for a cluster's metrics over https.

    Args:
        folder: Where it goes.
        group: Who may read the key.
    """

    folder: str
    group: str
    common_name: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"issue {self.folder} {self.group} {self.common_name}"


@dataclass(frozen=True)
class Configure:
    """Check a program's new configuration with its own tool, then put it in place of the old one.

    Args:
        name: Of the program's product.
        main: Path of its main file.
        tool: Path of its tool that checks; empty where it has none.
        files: Those that differ.
        remove: Files of this cluster that are not wanted any more.
        dirs: Directories to be there: path, and who owns it.
        note: Path of the note that the running program does not know this configuration yet.
    """

    name: str
    main: str
    tool: str
    files: tuple[ConfigFile, ...]
    remove: tuple[str, ...]
    dirs: tuple[tuple[str, str], ...]
    note: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        files = "\0".join(file.fingerprint() for file in self.files)
        return f"configure {self.name} {self.tool} {files} {self.remove} {self.dirs}"


@dataclass(frozen=True)
class RunProgram:
    """Have the program run with its present configuration: reload it if that is enough.

    Args:
        home: Its binaries' directory; those of other versions are removed. Empty if it is a package's.
        marker: What the process's environment says if it was started from the present unit.
        ready: Words of a command that succeeds once it serves; empty if there is none.
    """

    name: str
    home: str
    marker: str
    ready: tuple[str, ...]
    note: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"run {self.name} {self.home} {self.marker}"


@dataclass(frozen=True)
class ProveTargets:
    """See that Prometheus knows its configuration and gets metrics of all members.

    Args:
        members: Name, and where it is scraped.
        seconds: For all of that.
    """

    cluster: str
    members: tuple[tuple[str, str], ...]
    prometheus: Access
    notes: tuple[str, ...]
    seconds: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"prove {self.cluster} {self.members}"


@dataclass(frozen=True)
class ProveReceivers:
    """Send a test alert to each receiver, and see that it took it.

    Args:
        receivers: Name in the cluster file, and in Alertmanager.
        record: File that keeps what was proven.
        proven: Its content afterwards.
    """

    cluster: str
    receivers: tuple[tuple[str, str], ...]
    prometheus: Access
    alertmanager: Access
    record: str
    proven: str
    seconds: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"tell {self.cluster} {self.receivers} {self.proven}"


@dataclass(frozen=True)
class RemovePrograms:
    """Stop programs and remove what is ours of them.

    Args:
        paths: Files and directories.
        mask: Units of packages, which would come to light behind ours.
        homes: Patterns of directories of releases.
        folders: Directories that go if nothing is left in them, in this order.
    """

    units: tuple[str, ...]
    paths: tuple[str, ...]
    mask: tuple[str, ...]
    homes: tuple[str, ...]
    folders: tuple[str, ...]

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"remove {self.units} {self.paths} {self.mask} {self.homes} {self.folders}"


@dataclass(frozen=True)
class KeepPassword:
    """Have Grafana's secrets on the host, and its password with the operator too. What the host has counts.

    Args:
        new: Whether there is none yet, neither there nor here.
    """

    path: str
    secret_key: str
    group: str
    new: bool

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"keep {self.path} {self.new}"


@dataclass(frozen=True)
class ProveGrafana:
    """See that Grafana takes the password and nothing less, gets answers of Prometheus, and has the dashboards.

    Args:
        url: At which it is reached on its host.
        certificate: PEM that it shows, empty for plain http; and a name in it.
        dashboards: Their uids.
        reset: Command there that makes the kept password Grafana's again.
        seconds: For all of that.
    """

    url: str
    certificate: bytes
    name: str
    datasource: str
    dashboards: tuple[str, ...]
    reset: str
    note: str
    seconds: float

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"prove {self.url} {self.name} {self.dashboards}"
