"""Grafana's releases: where they are, what they look like, how they are checked; and what is asked of a running one."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster.spec import Release
from tasks.errors import ReleaseError
from tasks.monitoring.actions import ProveGrafana
from tasks.monitoring.grafana_proof import WrongPasswordError, missing
from tasks.monitoring.programs import GRAFANA
from tasks.releases.fetch import fetch_product
from tasks.releases.sources import candidates
from tests.lab.releases import arch

NAME = f"grafana-12.4.2.linux-{arch()}.tar.gz"


def release(folder: Path, top: str = "grafana-v12.4.2", program: str = "bin/grafana", name: str = NAME) -> Path:
    """A tarball of upstream's shape, with the sum beside it as upstream has it: bare."""
    tree = folder / "tree" / top
    for path in (program, "conf/defaults.ini", "public/grafana"):  # the last is no program
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(Path("/bin/true").read_bytes() if path == program else b"")
    tarball = folder / name
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(tree, top)
    (folder / f"{name}.sha256").write_text(hashlib.sha256(tarball.read_bytes()).hexdigest())
    return tarball


def wanted(tmp_path: Path, source: str) -> Release:
    return Release(version="12.4.2", source=source, sha256=None, cache=tmp_path / "cache")


def test_the_official_place_has_all_versions_side_by_side() -> None:
    (found,) = candidates(GRAFANA.product, "official", "12.4.2", "amd64")
    assert found.tarball == "https://dl.grafana.com/oss/release/grafana-12.4.2.linux-amd64.tar.gz"
    assert found.sums == f"{found.tarball}.sha256"


@pytest.mark.parametrize("top", ["grafana-v12.4.2", "grafana-12.4.2"])
def test_a_release_in_a_directory(tmp_path: Path, top: str) -> None:
    release(tmp_path, top)
    local = fetch_product(GRAFANA.product, wanted(tmp_path, str(tmp_path)), arch())
    assert local.binaries["grafana"].member == f"{top}/bin/grafana"


def test_a_tarball_whose_name_has_a_build_number(tmp_path: Path) -> None:
    tarball = release(tmp_path, name="grafana_12.4.2_17949786146_linux_amd64.tar.gz")
    assert fetch_product(GRAFANA.product, wanted(tmp_path, str(tarball)), arch()).version == "12.4.2"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [({"top": "grafana-v12.4.1"}, "holds grafana-v12.4.1"), ({"program": "grafana"}, "has no grafana in it")],
)
def test_what_is_no_such_release_is_refused(tmp_path: Path, shape: dict[str, str], reason: str) -> None:
    release(tmp_path, **shape)
    with pytest.raises(ReleaseError, match=reason):
        fetch_product(GRAFANA.product, wanted(tmp_path, str(tmp_path)), arch())


def test_a_release_that_was_changed_is_refused(tmp_path: Path) -> None:
    tarball = release(tmp_path)
    tarball.write_bytes(tarball.read_bytes() + b"\0")
    with pytest.raises(ReleaseError, match="is not what it should be"):
        fetch_product(GRAFANA.product, wanted(tmp_path, str(tmp_path)), arch())


PROOF = ProveGrafana("http://127.0.0.1:3000", b"", "", "etcd-flows", ("a", "b"), "reset", "/note", 1.0)
GOOD: dict[tuple[str, bool], tuple[int, Any]] = {
    ("/api/health", False): (200, {"database": "ok"}),
    ("/api/org", False): (401, {}),
    ("/api/user", True): (200, {"isGrafanaAdmin": True}),
    ("/api/datasources/uid/etcd-flows/health", True): (200, {"status": "OK"}),
    ("/api/search?type=dash-db&limit=5000", True): (200, [{"uid": "a"}, {"uid": "b"}, {"uid": "own"}]),
}


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/api/health", (503, {"database": "failing"}), "is not ready"),
        ("/api/org", (200, {}), "lets in whoever has no login"),
        ("/api/user", (200, {"isGrafanaAdmin": False}), "is not its administrator"),
        ("/api/datasources/uid/etcd-flows/health", (400, {"message": "refused"}), "no answer of Prometheus"),
        ("/api/search?type=dash-db&limit=5000", (200, [{"uid": "a"}]), "does not have the dashboards b"),
    ],
)
def test_each_thing_that_is_not_as_it_is_to_be_is_said(path: str, answer: tuple[int, Any], said: str) -> None:
    def get(asked: str, logged_in: bool) -> tuple[int, Any]:
        return answer if asked == path else GOOD[asked, logged_in]

    (found,) = missing(get, PROOF)
    assert said in found


def test_a_refused_password_is_not_tried_again_and_a_good_one_proves_all() -> None:
    assert missing(lambda path, logged_in: GOOD[path, logged_in], PROOF) == ()
    with pytest.raises(WrongPasswordError):
        missing(lambda path, logged_in: (401, {}) if logged_in else GOOD[path, logged_in], PROOF)
