"""Which Prefect API the command line talks to, and with what credentials.

Prefect's own settings (PREFECT_API_URL, a profile) come first. Without them it is the server that ``etcd-flows serve``
runs on this machine, whose address and credentials lie in its directory.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import EtcdFlowsError, InputError, PkiError
from tasks.pki.store import write


class ApiError(EtcdFlowsError):
    """Prefect's API could not be reached, or refused what was asked."""


@dataclass(frozen=True)
class Served:
    """The server of ``etcd-flows serve`` on this machine.

    Args:
        directory: Its database, credentials and logs (0700).
    """

    directory: Path

    @classmethod
    def of(cls, environ: Mapping[str, str], directory: Path | None = None) -> Served:
        """The usual place: $XDG_STATE_HOME/etcd-flows.server, beside the state of clusters and out of their way."""
        state = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local/state")
        return cls(directory or Path(state) / "etcd-flows.server")

    @property
    def auth_file(self) -> Path:
        """Holds ``admin:PASSWORD``, 0600."""
        return self.directory / "auth"

    @property
    def url_file(self) -> Path:
        """Holds where it listens, for other commands on this machine."""
        return self.directory / "url"

    def credentials(self) -> tuple[str, bool]:
        """What the API asks for, and whether it was made just now.

        Raises:
            InputError: The directory can't be written.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Empty: the power went while an earlier version wrote it. Prefect takes no password for "everybody may".
            if self.auth_file.exists() and (there := self.auth_file.read_text().strip()):
                return there, False
            made = f"admin:{secrets.token_urlsafe(24)}"
            write(self.auth_file, f"{made}\n".encode(), 0o600)
        except (OSError, PkiError) as error:
            what = f"{self.directory} can't be used: {error.strerror if isinstance(error, OSError) else error}"
            raise InputError(what, remedy="give another directory with --state") from error
        return made, True

    def announce(self, url: str) -> None:
        """Let other commands on this machine find the server."""
        self.url_file.write_text(url + "\n")

    def environment(self) -> dict[str, str]:
        """Prefect's settings to reach it; empty if it was never started here."""
        try:
            url, auth = self.url_file.read_text().strip(), self.auth_file.read_text().strip()
        except OSError:
            return {}
        return {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": auth}


def turn_to_api(environ: MutableMapping[str, str] = os.environ) -> str:
    """See to it that Prefect's client, imported afterwards, knows its API.

    Returns:
        The API's URL.

    Raises:
        InputError: None is set and none was ever served here.
    """
    environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if not environ.get("PREFECT_API_URL"):
        environ.update(Served.of(environ).environment())
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    if not url:
        raise InputError(
            "no Prefect API is known",
            state="nothing was done",
            remedy="start one here with `etcd-flows serve`, or set PREFECT_API_URL (and PREFECT_API_AUTH_STRING)",
        )
    return url


@contextmanager
def api_errors(url: str) -> Iterator[None]:
    """Turn what Prefect's client raises into errors for people.

    Raises:
        InputError: The API refused what was asked, and says why.
        ApiError: It does not answer, or wants other credentials.
    """
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        yield
    except PrefectHTTPStatusError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise ApiError(
                f"the Prefect API at {url} refuses these credentials",
                state="nothing was done",
                remedy="set PREFECT_API_AUTH_STRING; where it is served it is in the file `auth` of its directory",
            ) from error
        raise InputError(
            f"the Prefect API says no: {_detail(error)}",
            state="nothing was started",
            remedy="correct the parameters; `etcd-flows trigger --help` and the form in the UI say what there is",
        ) from error
    except httpx.HTTPError as error:
        raise ApiError(
            f"the Prefect API at {url} does not answer ({type(error).__name__})",
            state="nothing is known of what it did",
            remedy="look after it; flows run without it from the command line: etcd-flows FLOW CLUSTER",
        ) from error


def _detail(error: Exception) -> str:
    response = getattr(error, "response", None)
    try:
        found = json.loads(response.text)["detail"] if response is not None else ""
    except (ValueError, KeyError, TypeError):
        found = ""
    return str(found or error)
