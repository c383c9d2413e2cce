"""Errors as the command line prints them."""

from __future__ import annotations

import json

import click

from tasks.errors import EtcdFlowsError, Several


def error_json(error: EtcdFlowsError) -> dict[str, str | None]:
    """One error for ``--json``; keys are stable."""
    return {"message": error.message, "host": error.host, "state": error.state, "remedy": error.remedy}


def show_error(error: EtcdFlowsError, *, as_json: bool) -> int:
    """Print an error for people (stderr) or machines (stdout); return its exit code."""
    if as_json:
        each = error.errors if isinstance(error, Several) else (error,)
        record = {"ok": False, "error": type(error).__name__, "errors": [error_json(one) for one in each]}
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo(f"{click.style('failed', fg='red', bold=True)}: {error}", err=True)
    return error.exit_code
