import pytest

from tasks.errors import InputError
from tasks.etcd.versions import DEFAULT_VERSION, NEWEST, parse_version, traits


def test_the_default_is_the_newest_3_6() -> None:
    assert NEWEST["3.6"] == DEFAULT_VERSION


@pytest.mark.parametrize("version", NEWEST.values())
def test_newest_of_each_line_has_no_known_faults(version: str) -> None:
    assert traits(version).notes == ()
    assert traits(version).tls_min_version
    assert traits(version).bump_revision


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("3.5.1", ["ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK"]),
        (
            "3.5.35",
            ["ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED"],
        ),
        ("3.6.16", ["ETCD_FEATURE_GATES"]),
        ("3.7.3", ["ETCD_FEATURE_GATES"]),
    ],
)
def test_corruption_checks_by_version(version: str, names: list[str]) -> None:
    assert [name for name, _ in traits(version).corruption_checks] == names


@pytest.mark.parametrize(
    ("feature", "without", "having"),
    [
        ("tls_min_version", "3.5.7", "3.5.8"),
        ("bump_revision", "3.5.9", "3.5.10"),
        ("readyz", "3.5.10", "3.5.11"),
        ("etcdutl_hashkv", "3.5.35", "3.6.0"),
        ("feature_gates", "3.5.35", "3.6.0"),
        ("experimental_flags", "3.7.0", "3.6.16"),
        ("etcdctl_restore", "3.6.0", "3.5.35"),
        ("v2_api", "3.6.0", "3.5.35"),
    ],
)
def test_feature_borders(feature: str, without: str, having: str) -> None:
    assert not getattr(traits(without), feature)
    assert getattr(traits(having), feature)


def test_bad_versions_are_noted_with_a_source() -> None:
    assert any("13766" in note.source for note in traits("3.5.1").notes)
    assert not any("13766" in note.source for note in traits("3.5.3").notes)
    assert any("20650" in note.source for note in traits("3.6.4").notes)
    assert not any("20650" in note.source for note in traits("3.6.5").notes)


@pytest.mark.parametrize("text", ["", "3", "3.6", "3.6.x", "latest", "3.6.16 ", "３.6.1", "3.6.1\n", "99999.1.1"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(InputError):
        parse_version(text)


def test_prefix_and_prerelease() -> None:
    assert parse_version("v3.7.0-rc.0") == (3, 7, 0)
    assert traits("v3.6.16").version == "3.6.16"


@pytest.mark.parametrize("version", ["3.4.34", "3.8.0", "2.3.8"])
def test_other_lines_are_refused_with_the_supported_ones(version: str) -> None:
    with pytest.raises(InputError, match=r"3\.5, 3\.6, 3\.7"):
        traits(version)
