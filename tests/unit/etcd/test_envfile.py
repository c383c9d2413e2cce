import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.etcd.envfile import diff_env, parse_env, quote, render

NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,12}\Z")
VALUES = st.text(
    st.one_of(
        st.sampled_from(" \t'\"\\$`#;=%!*~&<>|(){}[]?^"),
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]),
    ).filter(lambda char: char != "\t"),
    max_size=40,
)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    assert parse_env(render(values.items())) == values


@settings(max_examples=40)
@given(st.lists(VALUES, min_size=1, max_size=30))
def test_a_real_shell_reads_the_same(values: list[str]) -> None:
    named = {f"ETCD_X{n}": value for n, value in enumerate(values)}
    script = "set -a\n" + render(named.items()) + "env -0\n"
    out = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"})
    pairs = (entry.decode().partition("=") for entry in out.stdout.split(b"\0") if entry)
    assert {name: value for name, _, value in pairs if name.startswith("ETCD_X")} == named


@given(st.text(alphabet=" \t\n\r'\"\\$`#;=Aa1_", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    parse_env(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("  A = b  \n", {"A": "b"}),
        ("# A=b\n; B=c\nC=d\n", {"C": "d"}),
        ("A=b # no comment\n", {"A": "b # no comment"}),
        ("A='b c'\n", {"A": "b c"}),
        ("A='a\\b'\n", {"A": "a\\b"}),
        ('A="b\\"c\\$d\\\\e\\f"\n', {"A": 'b"c$d\\e\\f'}),
        ('A="one\ntwo"\nB=c\n', {"A": "one\ntwo", "B": "c"}),
        ("A=one\\\ntwo\nB=c\n", {"A": "onetwo", "B": "c"}),
        ('A="b" "c"\n', {"A": "bc"}),
        ('A=b"c"\n', {"A": 'b"c"'}),
        ("A=b\\ \n", {"A": "b "}),
        ("A=\nB=c\n", {"A": "", "B": "c"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("junk\nA=b\n", {"A": "b"}),
        ("1A=b\n-=c\nB=d", {"B": "d"}),
        ("A=b\r\nB=c\r\n", {"A": "b", "B": "c"}),
        ("export A=b\n", {}),
    ],
)
def test_systemds_rules(text: str, expected: dict[str, str]) -> None:
    assert parse_env(text) == expected


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\x1b[0m", "a\rb", "\x7f"])
def test_control_characters_are_refused(value: str) -> None:
    with pytest.raises(InputError):
        quote(value)


def test_plain_values_stay_unquoted() -> None:
    assert (
        quote("a=https://[fd00::1]:2380,b=https://10.0.0.1:2380") == "a=https://[fd00::1]:2380,b=https://10.0.0.1:2380"
    )


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(InputError):
        render([("A B", "c")])


def test_diff_ignores_order_and_comments() -> None:
    assert diff_env("# x\nA=1\nB=2\n", 'B="2"\n# y\nA=1\n') == ()
    assert diff_env("A=1\nB=2\n", "B=3\nC=4\n") == ("- A=1", "- B=2", "+ B=3", "+ C=4")


def test_etcdadm_files_are_read(tmp_path: Path) -> None:
    text = "ETCD_NAME=node-1\n\n# Peer configuration\nETCD_INITIAL_CLUSTER=node-1=https://10.0.0.1:2380\nGOMAXPROCS=4\n"
    assert parse_env(text)["ETCD_INITIAL_CLUSTER"] == "node-1=https://10.0.0.1:2380"
