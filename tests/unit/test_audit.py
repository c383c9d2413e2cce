"""What the continuous integration makes of pip-audit's report."""

from __future__ import annotations

from tests.audit import judge

# As pip-audit 2.10 writes it.
GOOD = {"name": "pyyaml", "version": "6.0.3", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"], "aliases": ["CVE-2014-0012"], "description": "..."}],
}
UNKNOWN = {"name": "etcd3", "skip_reason": "Dependency not found on PyPI and could not be audited: etcd3 (0.12.0)"}


def test_a_known_vulnerability_fails() -> None:
    code, lines = judge({"dependencies": [GOOD, BAD], "fixes": []})
    assert code == 1
    assert lines == ["2 packages looked up, 1 known vulnerabilities", "jinja2 2.4.1: PYSEC-2014-8, mended in 2.7.2"]


def test_what_could_not_be_looked_up_is_told_and_is_no_pass() -> None:
    code, lines = judge({"dependencies": [GOOD, UNKNOWN], "fixes": []})
    assert code == 0
    assert lines[0].startswith("1 packages looked up, 0")
    assert "1 of 2 packages could not be looked up" in lines[1]
