from hypothesis import given
from hypothesis import strategies as st

from tasks.etcd.hostsfile import hosts_block, merge_hosts, remove_hosts
from tests import etcd_specs as specs

BLOCK = hosts_block(specs.cluster())
LINES = st.sampled_from(
    [
        "127.0.0.1\tlocalhost",
        "",
        "# BEGIN etcd-flows prod-a",
        "# END etcd-flows prod-a",
        "# BEGIN etcd-flows prod-ab",
        "# END etcd-flows prod-ab",
        "10.9.9.9 old",
        "10.0.0.11\tetcd-01",
    ]
)
FILES = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINES, max_size=12), st.sampled_from(["", "\n"]))


def test_the_block() -> None:
    assert BLOCK == (
        "# BEGIN etcd-flows prod-a\n"
        "10.0.0.11\tetcd-01\n10.0.0.12\tetcd-02\n10.0.0.13\tetcd-03\n"
        "# END etcd-flows prod-a\n"
    )


def test_members_addressed_by_name_are_left_out() -> None:
    mixed = specs.cluster(specs.host("a", "etcd-a.example"), specs.host("b", "fd00::2"))
    assert hosts_block(mixed).splitlines()[1:-1] == ["fd00::2\tb"]


@given(FILES)
def test_merging_twice_is_merging_once(existing: str) -> None:
    once = merge_hosts(existing, BLOCK)
    assert once.count(BLOCK) == 1
    assert merge_hosts(once, BLOCK) == once


@given(FILES)
def test_merging_then_removing_leaves_what_removing_leaves(existing: str) -> None:
    left = remove_hosts(merge_hosts(existing, BLOCK), "prod-a")
    assert left.rstrip("\n") == remove_hosts(existing, "prod-a").rstrip("\n")
    assert "etcd-flows prod-a\n" not in left


@given(st.text(alphabet="a1. #\n\té", max_size=80))
def test_other_lines_are_kept_as_they_are(existing: str) -> None:
    assert merge_hosts(existing, BLOCK).startswith(existing)
    assert remove_hosts(existing, "prod-a") == existing


def test_the_block_is_replaced_in_its_place() -> None:
    before = "127.0.0.1 localhost\n# BEGIN etcd-flows prod-a\n10.1.1.1 gone\n# END etcd-flows prod-a\n10.3.3.3 mine\n"
    assert merge_hosts(before, BLOCK) == f"127.0.0.1 localhost\n{BLOCK}10.3.3.3 mine\n"


def test_a_begin_without_end_does_not_swallow_the_rest() -> None:
    before = "# BEGIN etcd-flows prod-a\n10.3.3.3 mine\n"
    assert merge_hosts(before, BLOCK) == f"{BLOCK}10.3.3.3 mine\n"


def test_a_begin_without_end_does_not_swallow_another_clusters_block() -> None:
    other = "# BEGIN etcd-flows b\n10.4.4.4 x\n# END etcd-flows b\n"
    before = f"# BEGIN etcd-flows prod-a\n{other}# END etcd-flows prod-a\n"
    assert merge_hosts(before, BLOCK) == BLOCK + other
