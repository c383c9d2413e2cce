"""README and the other pages promise only what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from deployments.cli import main
from tasks.cluster.load import parse_cluster
from tests.reader import blocks, put_program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}
TESTED = re.compile(r"<!-- tested -->\n```console\n(.*?)```", re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_it_shows_exists(page: str) -> None:
    text = PAGES[page]
    shown = {words for words in re.findall(r"(?<![\w./])etcd-flows ([a-z][a-z-]+)", text) if words not in _PROSE}
    assert shown <= set(main.commands) | {"demo"}
    options = {
        option
        for command in _commands(main)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    ours = set(re.findall(r"`(--[a-z-]+)", text)) | set(
        re.findall(r"^(?:\$ )?etcd-flows [^#\n]*?(--[a-z-]+)", text, re.M)
    )
    assert ours <= options | {"--version", "--help"} | _OTHERS


#: Words after the program's name in sentences, and options of other programs.
_PROSE = {"makes", "is"}
_OTHERS = {"--check", "--client-crl-file", "--retry", "--strict"}


def _commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from _commands(command)


def test_the_first_cluster_file_is_valid(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(name: prod-a\n.*?)```", README, re.DOTALL)
    assert text
    loaded = parse_cluster(text[1].encode(), tmp_path / "prod-a.yaml", {"HOME": str(tmp_path)})
    assert [host.address for host in loaded.cluster.hosts] == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", PAGES[page])):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(file.read_text()), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_project_that_it_names_are_there(page: str) -> None:
    for name in re.findall(r"`((?:tasks|flows|deployments|tests|docs)/[\w./-]+\.\w+)`", PAGES[page]):
        assert (ROOT / name).exists(), f"{page}: {name}"


def _anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    from docs.generate import pages

    for place, text in pages().items():
        assert place.exists(), f"{place}: run `make docs`, then write above the mark what the flow is for"
        assert place.read_text() == text, f"{place} is not what the code says: run `make docs`"


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if TESTED.search(text)])
def test_commands_marked_as_tested_do_what_is_shown(page: str, tmp_path: Path) -> None:
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGES[page], re.DOTALL):
        (tmp_path / name).write_text(content)
    path = f"{put_program(tmp_path).parent}:{os.environ['PATH']}"
    environ = {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    for block in TESTED.findall(PAGES[page]):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{page}: {command}: {done.stdout}"
            said = done.stdout.splitlines()
            for line in shown.splitlines():
                assert line == "..." or line in said, f"{page}: {command}: {line!r} is not in {done.stdout}"


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text)])
def test_marks_are_known_and_whoever_they_name_follows_the_page(page: str) -> None:
    for block in blocks(PAGES[page]):
        known = block.mark in ("", "tested") or block.file or block.mark.startswith("on a host: ") or block.tester
        assert known, f"{page}: <!-- {block.mark} -->"
        if block.tester:
            text = (ROOT / block.tester).read_text()
            assert f'"{page}"' in text, f"{block.tester} does not follow {page}"
            assert ".passed_over() == []" in text, f"{block.tester} does not look whether it passed something over"


UNITS = sorted((ROOT / "docs/units").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """Nothing in them is unknown to systemd, and what they start has these options."""
    text = unit.read_text()
    for words in re.findall(r"^ExecStart=/opt/etcd-flows/bin/etcd-flows (\S+)(.*)$", text, re.MULTILINE):
        options = {option for each in main.commands[words[0]].params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", words[1])) <= options
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT RUN: there is no systemd-analyze")
    copy = tmp_path / unit.name
    without_user = re.sub(r"^User=.*\n", "", text, flags=re.MULTILINE)  # who need not be on this machine
    copy.write_text(re.sub(r"/opt/etcd-flows/bin/\S+", "/bin/true", without_user))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False)
    about_it = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_it) == (0, []), done.stderr
