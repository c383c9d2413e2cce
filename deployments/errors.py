"""Errors as the command line prints them."""

from __future__ import annotations

import json

import click

from tasks.errors import EtcdFlowsError, Several


def show_error(error: EtcdFlowsError, *, as_json: bool) -> int:
    """Print an error for people (stderr) or machines (stdout); return its exit code."""
    if as_json:
        each = error.errors if isinstance(error, Several) else (error,)
        records = [{"message": e.message, "host": e.host, "state": e.state, "remedy": e.remedy} for e in each]
        click.echo(json.dumps({"ok": False, "error": type(error).__name__, "errors": records}, indent=2))
    else:
        click.echo(f"{click.style('failed', fg='red', bold=True)}: {error}", err=True)
    return error.exit_code
