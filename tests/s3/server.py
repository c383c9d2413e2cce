"""A real S3 server on loopback: Ceph's radosgw on one mon and one osd that keeps everything in memory.

It runs as the current user, from unpacked packages. Started in a second and a half; stopped by process.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.cluster.secrets import Secret
from tasks.cluster.spec import S3Settings
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_client import Credentials, make_client
from tests.component.etcd import pki
from tests.s3.packages import S3Unavailable, ceph, libraries

REGION = "us-east-1"
ENOUGH = 2 << 30  # bytes in the osd's memory; it frees those of removed objects late, so it is started afresh

_CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon}/0,v1:127.0.0.1:{mon_v1}/0]
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = true
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
mon_cluster_log_file = {home}/cluster.log
log_file = {home}/$name.log
admin_socket = {home}/$name.asok
run_dir = {home}
crash_dir = {home}
pid_file =
keyring = {home}/keyring
mon_data = {home}/mon
osd_data = {home}/osd
plugin_dir = {lib}/ceph
erasure_code_dir = {lib}/ceph/erasure-code
osd_class_dir = {lib}/rados-classes
compressor_dir = {lib}/ceph/compressor
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_tick_interval = 1
osd_heartbeat_interval = 2
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_max_pg_per_osd = 2000
mon_allow_pool_size_one = true
osd_max_pg_log_entries = 10
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 8589934592
memstore_page_set = false
osd_memory_target = 1073741824
rgw_enable_usage_log = false
[client.rgw.a]
rgw_data = {home}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} ssl_certificate={home}/pki/server.crt \
ssl_private_key={home}/pki/server.key
rgw_dns_name = localhost
rgw_thread_pool_size = 64
"""


def nowhere() -> S3Settings:
    """Settings of a server that is not there."""
    return S3Settings(
        bucket="nothing",
        prefix="",
        endpoint="http://127.0.0.1:1",
        region=REGION,
        ca=None,
        path_style=True,
        access_key=None,
        secret_key=None,
        session_token=None,
        profile=None,
        server_side_encryption="none",
        storage_class=None,
        tags=(),
        lock="none",
        lock_days=14.0,
    )


@dataclass(frozen=True)
class User:
    """Somebody whom the server knows."""

    access_key: str
    secret_key: str
    uid: str = "owner"

    @property
    def credentials(self) -> Credentials:
        return Credentials(Secret(self.access_key), Secret(self.secret_key), None)


class S3Server:
    """Started with :meth:`start`; all in it is gone after :meth:`stop`."""

    def __init__(self) -> None:
        self._root = ceph()
        self._home = Path()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._http = self._https = 0
        self._client: Any = None
        self.owner = User("AKOWNER", "SK" + secrets.token_hex(16))

    @property
    def endpoint(self) -> str:
        """Plain HTTP."""
        return f"http://127.0.0.1:{self._http}"

    @property
    def tls_endpoint(self) -> str:
        """HTTPS; the certificate comes from :attr:`ca`."""
        return f"https://127.0.0.1:{self._https}"

    @property
    def ca(self) -> Path:
        """File with the CA."""
        return self._home / "pki" / "ca.crt"

    # --- for tests ---

    def make_bucket(self, *, lock: bool = False) -> str:
        """A new, empty bucket of the owner; tells its name."""
        name = f"test-{secrets.token_hex(5)}"
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name

    def settings(self, bucket: str, **changes: Any) -> S3Settings:
        """What a cluster file would say of it, over TLS."""
        ours: dict[str, Any] = {"bucket": bucket, "endpoint": self.tls_endpoint, "ca": self.ca}
        return replace(nowhere(), **ours | changes)

    def store(
        self, bucket: str | None = None, cluster: str = "prod-a", user: User | None = None, **changes: Any
    ) -> S3Store:
        """A store of ours in a bucket, a new one unless told."""
        settings = self.settings(bucket or self.make_bucket(), **changes)
        return S3Store("offsite", settings, cluster, (user or self.owner).credentials)

    def client(self) -> Any:
        """A client of boto3, to look at things past our own code."""
        if self._client is None:
            self._client = make_client(self.settings("none"), self.owner.credentials, 8)
        return self._client

    def make_user(self) -> User:
        """Somebody who owns nothing there."""
        name = secrets.token_hex(5)
        user = User(f"AK{name.upper()}", "SK" + secrets.token_hex(16), f"user-{name}")
        self._add(user)
        return user

    # --- running ---

    def start(self) -> None:
        """Start all three processes and wait until it answers.

        Raises:
            S3Unavailable: It does not.
        """
        self._home = Path(tempfile.mkdtemp(prefix="etcd-flows-s3-"))
        self._client = None
        try:
            self._configure()
            self._keys()
            self._begin("mon", "ceph-mon", "-i", "a")
            disk = str(uuid.uuid4())
            self._ceph("osd", "new", disk)
            self._run("ceph-osd", "-i", "0", "--osd-uuid", disk, "--mkfs")
            self._begin("osd", "ceph-osd", "-i", "0")
            self._begin("rgw", "radosgw", "-n", "client.rgw.a")
            self._wait()
            self._add(self.owner)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it at once: radosgw told to end nicely waits for the others, minutes if they are gone."""
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        self._running.clear()
        if self._home != Path():
            shutil.rmtree(self._home, ignore_errors=True)

    def spare_memory(self) -> None:
        """Start afresh if the osd holds a lot. Buckets are gone then, so only between tests."""
        status = Path(f"/proc/{self._running['osd'].pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        if resident * 1024 > ENOUGH:
            self.stop()
            self.start()

    def _configure(self) -> None:
        for folder in ("mon", "osd", "rgw"):
            (self._home / folder).mkdir()
        pki.make(self._home / "pki")
        mon, mon_v1, self._http, self._https = _free_ports(4)
        library, _ = libraries(self._root)
        text = _CONF.format(
            fsid=uuid.uuid4(), home=self._home, lib=library, mon=mon, mon_v1=mon_v1, http=self._http, https=self._https
        )
        (self._home / "ceph.conf").write_text(text)
        self._mon_address = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]"

    def _keys(self) -> None:
        ring = self._home / "keyring"
        rights = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
            "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx"},
        }
        for number, (name, caps) in enumerate(rights.items()):
            words = [word for kind, right in caps.items() for word in ("--cap", kind, right)]
            create = ["--create-keyring"] if number == 0 else []
            self._run("ceph-authtool", *create, str(ring), "--gen-key", "-n", name, *words)
        monmap = str(self._home / "monmap")
        fsid = next(line.split()[2] for line in (self._home / "ceph.conf").read_text().splitlines() if "fsid" in line)
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", self._mon_address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", str(ring))

    def _argv(self, program: str, *args: str) -> list[str]:
        library, linker = libraries(self._root)
        path = f"{library}:{library}/ceph:{library}/blas:{library}/lapack"
        binary = str(self._root / "usr/bin" / program)
        return [str(linker), "--library-path", path, "--argv0", program, binary, *args]

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "CEPH_CONF": str(self._home / "ceph.conf"), "HOME": str(self._home)}

    def _run(self, program: str, *args: str, **environ: str) -> None:
        argv = self._argv(program, *args)
        done = subprocess.run(
            argv, env=self._environment() | environ, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            raise S3Unavailable(f"{program} failed: {(done.stderr or done.stdout).strip()[-400:]}")

    def _ceph(self, *args: str) -> None:
        python = next(path.name for path in sorted((self._root / "usr/bin").glob("python3.??")))
        modules = {
            "PYTHONHOME": str(self._root / "usr"),
            "PYTHONPATH": str(self._root / "usr/lib/python3/dist-packages"),
        }
        self._run(python, str(self._root / "usr/bin/ceph"), "--connect-timeout", "20", *args, **modules)

    def _begin(self, name: str, program: str, *args: str) -> None:
        # It ends with the thread that started it (prctl(2), PR_SET_PDEATHSIG), whatever becomes of the tests.
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *self._argv(program, *args, "-f")]
        with (self._home / f"{name}.out").open("wb") as out:
            self._running[name] = subprocess.Popen(argv, env=self._environment(), stdout=out, stderr=out)

    def _wait(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise S3Unavailable(f"{name} ended: {(self._home / f'{name}.out').read_text()[-400:]}")
            try:
                urllib.request.urlopen(self.endpoint, timeout=2).close()  # noqa: S310 - ours
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.03)
        raise S3Unavailable(f"radosgw does not answer after {seconds:.0f} s")

    def _add(self, user: User) -> None:
        keys = (f"--access-key={user.access_key}", f"--secret={user.secret_key}")
        self._run(
            "radosgw-admin",
            "-n",
            "client.rgw.a",
            "user",
            "create",
            f"--uid={user.uid}",
            f"--display-name={user.uid}",
            *keys,
        )


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
