"""The programs on a monitoring host: what they are released as, and where everything of theirs is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.spec import Release, bracket
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY, Watch
from tasks.releases.product import Product

#: e_machine (elf.h) of those architectures of Prometheus's releases that etcd is released for, too.
_MACHINES = {"amd64": 62, "arm64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}


def _product(name: str, programs: tuple[str, ...]) -> Product:
    return Product(
        name=name,
        key=f"monitoring.{name}",
        page=f"https://github.com/prometheus/{name}/releases/download",
        tree="v{version}",
        stem=name + "-{version}.linux-{arch}",
        sums="sha256sums.txt",
        programs=programs,
        machines=_MACHINES,
    )


@dataclass(frozen=True, eq=False)
class Program:
    """One program.

    Args:
        service: Name of its unit without the ending, of its system user, and of its directories.
        title: For people, and in the unit.
    """

    product: Product
    service: str
    title: str

    @property
    def unit(self) -> str:
        """Its unit's name."""
        return f"{self.service}.service"

    @property
    def unit_file(self) -> str:
        """Path of its unit."""
        return f"/etc/systemd/system/{self.unit}"

    @property
    def etc(self) -> str:
        """Its configuration's directory."""
        return f"/etc/{self.service}"

    @property
    def clusters(self) -> str:
        """In it, a directory with files that belong to one cluster each."""
        return f"{self.etc}/clusters"

    @property
    def data(self) -> str:
        """Its data's directory, which it alone may write to."""
        return f"/var/lib/{self.service}"

    def home(self, version: str) -> str:
        """Where its binaries of a version are."""
        return f"{INSTALLED}/{self.product.name}-{version}"

    def receipt(self, version: str) -> str:
        """The file there that says what was installed."""
        return f"{self.home(version)}/release.json"


#: All releases of ours on the monitoring host.
INSTALLED = "/opt/etcd-flows"
#: What we note about the programs.
NOTES = "/var/lib/etcd-flows/monitoring"

PROMETHEUS = Program(_product("prometheus", ("prometheus", "promtool")), "prometheus", "Prometheus")
ALERTMANAGER = Program(_product("alertmanager", ("alertmanager", "amtool")), "alertmanager", "Alertmanager")
NODE_EXPORTER = Program(_product("node_exporter", ("node_exporter",)), "node_exporter", "node_exporter")
#: In the order in which they are set up.
PROGRAMS = (NODE_EXPORTER, ALERTMANAGER, PROMETHEUS)


def program(name: str) -> Program:
    """The program of that product's name.

    Raises:
        KeyError: There is none.
    """
    return {one.product.name: one for one in PROGRAMS}[name]


def note(one: Program) -> str:
    """The file that says that the running program does not know its present configuration yet."""
    return f"{NOTES}/{one.service}.pending"


def release_of(watch: Watch, one: Program) -> Release:
    """Which version of it the cluster file wants, and where from."""
    if one is PROMETHEUS:
        return watch.prometheus.release
    return watch.alertmanager.release if one is ALERTMANAGER else watch.node_exporter.release


def listening(watch: Watch, one: Program) -> str:
    """``address:port`` that it listens on; node_exporter on loopback always, since Prometheus is beside it."""
    if one is NODE_EXPORTER:
        return f"127.0.0.1:{watch.node_exporter.port}"
    port = watch.prometheus.port if one is PROMETHEUS else watch.alertmanager.port
    return f"{bracket(watch.listen_address)}:{port}"


def reached(watch: Watch, one: Program) -> str:
    """``address:port`` at which it is reached on its own host."""
    address, _, port = listening(watch, one).rpartition(":")
    everywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - told by the cluster file
    return f"{everywhere.get(address, address)}:{port}"


@dataclass(frozen=True)
class Access:
    """How a program is asked on its own host, by the tool of its release.

    Args:
        client: Path of the tool's file about TLS and login; empty where there is neither.
    """

    tool: str
    url: str
    client: str

    def words(self, *command: str, **flags: str) -> tuple[str, ...]:
        """A command of the tool, with its flags in the place that both tools take them in."""
        client = (f"--http.config.file={self.client}",) if self.client else ()
        return (self.tool, *command, *client, *(f"--{name.replace('_', '.')}={value}" for name, value in flags.items()))

    def orders(self, *command: str) -> tuple[str, ...]:
        """A command of amtool to the running Alertmanager."""
        return self.words(*command, alertmanager_url=self.url)


def access(watch: Watch, one: Program) -> Access:
    """How Prometheus or Alertmanager is asked."""
    tool = "promtool" if one is PROMETHEUS else "amtool"
    scheme = "https" if watch.web.certificate else "http"
    client = f"{PROMETHEUS.etc}/client.yml" if watch.web.wanted else ""
    return Access(f"{one.home(release_of(watch, one).version)}/{tool}", f"{scheme}://{reached(watch, one)}", client)


def arguments(watch: Watch, one: Program) -> tuple[str, ...]:
    """What it is started with."""
    where: tuple[str, ...] = (f"--web.listen-address={listening(watch, one)}",)
    if one is NODE_EXPORTER:
        only = ("--collector.disable-defaults", "--collector.textfile")
        return (*only, f"--collector.textfile.directory={TEXTFILE_DIRECTORY}", *where)
    if watch.web.wanted:
        where += (f"--web.config.file={one.etc}/web.yml",)
    if one is ALERTMANAGER:
        return (
            f"--config.file={one.etc}/alertmanager.yml",
            f"--storage.path={one.data}",
            "--cluster.listen-address=",  # alone: no other Alertmanager is to be found
            "--enable-feature=receiver-name-in-metrics",  # by which a test alert proves its receiver; from 0.27 on
            *where,
        )
    kept = watch.prometheus
    size = (f"--storage.tsdb.retention.size={kept.retention_size}B",) if kept.retention_size else ()
    return (
        f"--config.file={one.etc}/prometheus.yml",
        f"--storage.tsdb.path={one.data}",
        f"--storage.tsdb.retention.time={kept.retention_time}",
        *size,
        *where,
    )
