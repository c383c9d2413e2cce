"""docs/tutorial.md and the README's first steps, as somebody would follow them: on real hosts, by a login with sudo.

The tests go on where the last ended.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import Product, etcdctl
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.reader import Reader, put_program
from tests.s3.fixtures import running_s3
from tests.s3.server import S3Server

__all__ = ["running_s3"]

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
TESTER = "tests/e2e/test_tutorial.py"


@dataclass
class Newcomer:
    """Somebody with a machine, three hosts, and the pages."""

    product: Product
    hosts: list[LabHost]
    readme: Reader
    tutorial: Reader

    @property
    def here(self) -> Path:
        return self.product.directory


@pytest.fixture(scope="module")
def newcomer(lab: Lab, make_product: MakeProduct, running_s3: S3Server, etcd_release_dir: Path) -> Iterator[Newcomer]:
    missing = [tool for tool in ("age-keygen", "jq", "curl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"NOT RUN: {' '.join(missing)} is not installed; as root, `make test-tools` installs it")
    product, hosts = make_product(), lab.fresh(3)
    for host in hosts:
        host.add_user("ubuntu")
    here = product.directory
    (here / ".ssh").mkdir(mode=0o700)
    (here / "backups").mkdir()
    shutil.copy(lab.client_key, here / ".ssh/id_ed25519")
    user = running_s3.owner
    keys = {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}
    environ = product.environment(PATH=f"{put_program(here).parent}:/usr/local/bin:/usr/bin:/bin", **keys)
    readers = [Reader(page, TESTER, here, environ) for page in ("README.md", "docs/tutorial.md")]
    login = "ssh: {user: ubuntu}\n"
    bucket = f"bucket: {running_s3.make_bucket(lock=True)}, endpoint: {running_s3.tls_endpoint}, ca: {running_s3.ca}"
    for reader in readers:
        for host in hosts:
            reader.replace(f"10.0.0.1{host.number}", host.address)
        # The hosts' network is shut, and nothing is downloaded.
        reader.replace(login, f"{login}etcd: {{release: {{source: {etcd_release_dir}, cache: {product.cache}}}}}\n")
        reader.replace("/srv/backups", str(here / "backups"))
        reader.replace("bucket: etcd-backups, endpoint: https://s3.example.com", bucket)
        reader.learn(KEY, r"ublic key: (\S+)")
    made = Newcomer(product, hosts, *readers)
    yield made
    for reader in readers:
        reader.leave()


def test_the_first_cluster_and_a_backup_in_a_bucket(newcomer: Newcomer) -> None:
    """The README's; then all is removed again."""
    said = newcomer.readme.follow("Your first real cluster in five minutes")
    assert "prod-a: done" in said
    newcomer.readme.type("age-keygen -o age.key")
    said = newcomer.readme.follow("Backups", then={"snapshots.yaml": "cat snapshots.yaml >>prod-a.yaml"})
    assert [line.split()[1] for line in said.splitlines() if line.startswith(("local ", "offsite "))][:2] == [
        "stored"
    ] * 2
    newcomer.tutorial.type("rm age.key")


def test_from_the_first_cluster_to_the_first_restore(newcomer: Newcomer) -> None:
    reader, hosts = newcomer.tutorial, newcomer.hosts
    newcomer.readme.type("etcd-flows destroy-cluster prod-a.yaml --confirm prod-a --delete-data")
    reader.follow("1")
    assert "0 errors" in reader.follow("2")
    built = reader.follow("3")
    assert "prod-a: done" in built
    assert "prod-a: healthy" in built
    assert "nothing to do" in reader.type("etcd-flows bootstrap-cluster prod-a.yaml")
    etcdctl(hosts[0], "put greeting hello")

    assert "stored" in reader.follow("4")
    assert "restored" in reader.type("etcd-flows snapshots list with-backups.yaml")

    for host in hosts:
        host.exec("systemctl stop etcd; rm -r /var/lib/etcd/member")
    said = reader.follow("5")
    assert "etcd is inactive" in said
    assert "exit code 1" in said
    assert "clients could write" in said
    assert etcdctl(hosts[2], "get greeting --print-value-only").strip() == "hello"


def test_it_runs_by_itself_and_a_restore_by_the_api(newcomer: Newcomer) -> None:
    """On what the last test left; the same call again is the same run."""
    readme, tutorial, hosts = newcomer.readme, newcomer.tutorial, newcomer.hosts
    for reader in (readme, tutorial):
        del reader.environ["PREFECT_API_URL"], reader.environ["PREFECT_HOME"]
    assert "completed: prod-a: snapshot" in tutorial.follow("6")
    etcdctl(hosts[0], "put greeting changed")
    # So soon after a restore one has to say that it is meant.
    readme.replace('"confirm": "prod-a",', '"confirm": "prod-a", "again": true,')
    chapter = "UI, schedules and API"
    start, look = [block.text for block in readme.chapter(chapter) if block.language == "bash"][:2]  # then approvals
    run = readme.type(start, "echo $RUN").split()[-1]
    until = time.monotonic() + 300
    while (said := readme.type(start, look, "echo $RUN").split())[0] in ("SCHEDULED", "PENDING", "RUNNING"):
        assert time.monotonic() < until, said
        time.sleep(1)
    assert (said[0], said[-1]) == ("COMPLETED", run), said
    assert etcdctl(hosts[1], "get greeting --print-value-only").strip() == "hello"
    typed = [
        each
        for block in readme.chapter(chapter)
        if block.tester and block.language == "console"
        for each in block.commands
    ]
    assert "exit code 3" in [readme.type(each) for each in typed][-1]
    assert tutorial.leave() == 0
    tutorial.follow("7")
    assert hosts[0].exec("ls /var/lib/etcd 2>/dev/null", check=False) == ""


def test_nothing_that_is_marked_was_passed_over(newcomer: Newcomer) -> None:
    assert newcomer.readme.passed_over() == []
    assert newcomer.tutorial.passed_over() == []
