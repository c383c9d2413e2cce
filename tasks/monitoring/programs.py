"""The programs on a monitoring host: what they are released as, and where everything of theirs is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.cluster.spec import Release, bracket
from tasks.cluster.spec_monitoring import (
    TEXTFILE_DIRECTORY,
    AlertmanagerSettings,
    GrafanaSettings,
    NodeExporterSettings,
    PrometheusSettings,
    Watch,
)
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


#: Grafana's own page has no listing, and from 12.1 on links to names with a build number; these are served beside them.
_GRAFANA = Product(
    name="grafana",
    key="monitoring.grafana",
    page="https://dl.grafana.com/oss/release",
    tree="",
    stem="grafana-{version}.linux-{arch}",
    sums="{tarball}.sha256",
    programs=("grafana",),
    machines={"amd64": 62, "arm64": 183},
    whole=True,
    tops=("grafana-v{version}", "grafana-{version}"),
    folder="bin",
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

    def binary(self, version: str, name: str) -> str:
        """Path of one of its binaries of a version."""
        return "/".join(part for part in (self.home(version), self.product.folder, name) if part)

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
GRAFANA = Program(_GRAFANA, "grafana", "Grafana")
#: In the order in which they are set up; Grafana only where it is asked for.
PROGRAMS = (NODE_EXPORTER, ALERTMANAGER, PROMETHEUS, GRAFANA)

#: Their tools, which check a configuration and ask the running program.
TOOLS = {ALERTMANAGER: "amtool", PROMETHEUS: "promtool"}
#: Those that take their configuration up when they are told to; others are restarted.
RELOADING = (ALERTMANAGER, PROMETHEUS)


def programs_of(watch: Watch) -> tuple[Program, ...]:
    """Those that the cluster file asks for."""
    return tuple(one for one in PROGRAMS if one is not GRAFANA or watch.grafana is not None)


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
    return settings_of(watch, one).release


_Settings = PrometheusSettings | AlertmanagerSettings | NodeExporterSettings | GrafanaSettings


def settings_of(watch: Watch, one: Program) -> _Settings:
    """The cluster file's settings of it.

    Raises:
        KeyError: It is not asked for.
    """
    found: dict[Program, _Settings | None] = {
        PROMETHEUS: watch.prometheus,
        ALERTMANAGER: watch.alertmanager,
        NODE_EXPORTER: watch.node_exporter,
        GRAFANA: watch.grafana,
    }
    settings = found[one]
    if settings is None:
        raise KeyError(one.title)
    return settings


#: Where Debian's packages have them.
_PACKAGED = {
    "prometheus": "/usr/bin/prometheus",
    "promtool": "/usr/bin/promtool",
    "alertmanager": "/usr/bin/prometheus-alertmanager",
    "amtool": "/usr/bin/amtool",
    "node_exporter": "/usr/bin/prometheus-node-exporter",
}


def packaged(watch: Watch, one: Program) -> bool:
    """Whether it is the distribution's; Grafana never is."""
    return watch.packages and one is not GRAFANA


def main_config(watch: Watch, one: Program) -> str:
    """Path of its main file; one that no package has, where there are packages."""
    if one is GRAFANA:
        return f"{one.etc}/grafana.ini"
    return f"{one.etc}/{'etcd-flows' if packaged(watch, one) else one.service}.yml"


def executable(watch: Watch, one: Program, name: str) -> str:
    """Path of a binary of the program, as the cluster file wants it."""
    if packaged(watch, one):
        return _PACKAGED[name]
    return one.binary(release_of(watch, one).version, name)


def listening(watch: Watch, one: Program) -> str:
    """``address:port`` that it listens on; node_exporter on loopback always, since Prometheus is beside it."""
    address = "127.0.0.1" if one is NODE_EXPORTER else bracket(watch.listen_address)
    return f"{address}:{settings_of(watch, one).port}"


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
    client = f"{PROMETHEUS.etc}/client.yml" if watch.web.wanted else ""
    return Access(executable(watch, one, TOOLS[one]), url(watch, one), client)


def url(watch: Watch, one: Program) -> str:
    """Where it is reached on its own host."""
    return f"{'https' if watch.web.certificate else 'http'}://{reached(watch, one)}"


def arguments(watch: Watch, one: Program) -> tuple[str, ...]:
    """What it is started with."""
    if one is GRAFANA:
        home = one.home(release_of(watch, one).version)
        return ("server", f"--homepath={home}", f"--config={main_config(watch, one)}")
    where: tuple[str, ...] = (f"--web.listen-address={listening(watch, one)}",)
    if one is NODE_EXPORTER:
        only = ("--collector.disable-defaults", "--collector.textfile")
        return (*only, f"--collector.textfile.directory={TEXTFILE_DIRECTORY}", *where)
    if watch.web.wanted:
        where += (f"--web.config.file={one.etc}/web.yml",)
    if one is ALERTMANAGER:
        return (
            f"--config.file={main_config(watch, one)}",
            f"--storage.path={one.data}",
            "--cluster.listen-address=",  # alone: no other Alertmanager is to be found
            "--enable-feature=receiver-name-in-metrics",  # by which a test alert proves its receiver; from 0.27 on
            *where,
        )
    kept = watch.prometheus
    size = (f"--storage.tsdb.retention.size={kept.retention_size}B",) if kept.retention_size else ()
    return (
        f"--config.file={main_config(watch, one)}",
        f"--storage.tsdb.path={one.data}",
        f"--storage.tsdb.retention.time={kept.retention_time}",
        *size,
        *where,
    )
