"""README promises only what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from deployments.cli import main
from tasks.cluster.load import parse_cluster
from tasks.cluster.schema import reference_markdown

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_reference_is_what_the_models_say() -> None:
    assert reference_markdown().strip() in README, "regenerate it from tasks.cluster.schema.reference_markdown"


def test_every_command_and_option_that_it_shows_exists() -> None:
    shown = set(re.findall(r"etcd-flows ([a-z][a-z-]+)", README))
    assert shown, "README shows no command"
    assert shown <= set(main.commands) | {"demo"}
    options = {
        option
        for command in _commands(main)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= options | {"--version", "--help"}


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
