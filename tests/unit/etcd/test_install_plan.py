import json

import pytest

from tasks.etcd.install import InstallRelease, OtherVersion, binary_paths, install_paths, plan_install, receipt_path
from tasks.hosts.facts import DataDirFact, FileFact, HostFacts, ServiceFact
from tasks.plan import Step
from tests import etcd_specs as specs

HOST = specs.host()


def facts(
    installed: str | None = "3.6.16", data: str = "empty", receipt: object = None, missing: tuple[str, ...] = ()
) -> HostFacts:
    files = {
        path: FileFact(path, "absent" if path in missing else "file", 0o755, "root", "root", 1, "aa")
        for path in binary_paths(HOST)
    }
    place = receipt_path(HOST)
    content = receipt if isinstance(receipt, bytes) else json.dumps(receipt).encode()
    files[place] = FileFact(place, "file", content=content) if receipt is not None else FileFact(place, "absent")
    return HostFacts(
        host=HOST.name,
        hostname="h",
        arch="arm64",
        machine="aarch64",
        os_id="debian",
        os_version="12",
        kernel="6",
        systemd=252,
        login_user="root",
        cpus=2,
        memory_bytes=1,
        clock_offset=0.0,
        clock_error=0.0,
        missing_tools=(),
        etcd_version=installed,
        etcd_user=True,
        service=ServiceFact(True),
        data_dir=DataDirFact(data, (), "etcd", 0o700, False, 1),  # type: ignore[arg-type]
        files=files,
    )


def plan(seen: HostFacts) -> Step | OtherVersion | None:
    return plan_install(specs.cluster(HOST), HOST, seen)


def test_nothing_installed() -> None:
    step = plan(facts(None, missing=binary_paths(HOST)))
    assert isinstance(step, Step)
    assert step.action == InstallRelease("3.6.16", "arm64")
    assert step.why == "etcd is not installed"


def test_the_right_version_with_and_without_receipt() -> None:
    assert plan(facts()) is None
    same = {"version": "3.6.16", "binaries": {"etcd": "aa", "etcdctl": "aa", "etcdutl": "aa"}}
    assert plan(facts(receipt=same)) is None


@pytest.mark.parametrize("receipt", [b"", b"junk", b"[]", b"{}", {"binaries": []}, {"binaries": {}}])
def test_a_receipt_that_says_nothing_is_no_reason(receipt: object) -> None:
    assert plan(facts(receipt=receipt)) is None


def test_one_program_missing() -> None:
    step = plan(facts(missing=("/opt/bin/etcdutl",), data="etcd"))
    assert isinstance(step, Step)
    assert step.why == "/opt/bin/etcdutl is missing"


def test_another_version_without_data() -> None:
    step = plan(facts("3.5.16"))
    assert isinstance(step, Step)
    assert step.why == "etcd 3.5.16 is installed, 3.6.16 is wanted"


@pytest.mark.parametrize("installed", ["3.5.35", "3.6.15", "3.7.3"])
def test_another_version_on_data_is_an_upgrade(installed: str) -> None:
    found = plan(facts(installed, data="etcd"))
    assert isinstance(found, OtherVersion)
    assert installed in found.reason
    assert "upgrade-cluster" in found.remedy


def test_the_receipt_speaks_when_the_program_is_gone() -> None:
    found = plan(facts(None, data="etcd", receipt={"version": "3.5.35"}, missing=("/opt/bin/etcd",)))
    assert found == OtherVersion("etcd-01", "3.5.35", "3.6.16")


def test_a_changed_program() -> None:
    step = plan(facts(receipt={"version": "3.6.16", "binaries": {"etcd": "bb"}}))
    assert isinstance(step, Step)
    assert step.why == "/opt/bin/etcd is not what was installed"


def test_a_program_that_does_not_run() -> None:
    step = plan(facts(None))
    assert isinstance(step, Step)
    assert step.why == "/opt/bin/etcd does not run"


def test_paths_that_were_not_looked_at_are_never_taken_for_absent() -> None:
    seen = facts()
    seen.files.pop(receipt_path(HOST))
    with pytest.raises(KeyError):
        plan(seen)
    hashed, contents = install_paths(HOST)
    assert hashed == set(binary_paths(HOST))
    assert contents == {receipt_path(HOST)}
