"""README and the other pages promise only what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from deployments.cli import main
from tasks.cluster.load import parse_cluster
from tasks.cluster.schema import reference_markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def test_the_reference_is_what_the_models_say() -> None:
    assert reference_markdown().strip() in README, "regenerate it from tasks.cluster.schema.reference_markdown"


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
_OTHERS = {"--client-crl-file", "--strict"}


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
