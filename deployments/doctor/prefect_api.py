"""Prefect's API: which one is meant, whether it answers, lets us in, and is of a version that fits."""

from __future__ import annotations

import json
import os
import stat
import time
import urllib.error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from packaging.version import InvalidVersion, Version

from deployments.api import Served
from deployments.api_asking import Way
from tasks.cluster.spec import SecretRef
from tasks.findings import Finding

CHECK = "prefect api"
#: Seconds that the API has to answer.
TIMEOUT = 5.0
#: Seconds that two clocks may differ: schedules and the order of a run's lines go by both.
SKEW = 30.0
_LOOPBACK = ("127.", "localhost", "[::1]")


@dataclass(frozen=True)
class Api:
    """An API and how to log in to it.

    Args:
        url: May hold a password; see :attr:`shown`.
        auth: ``user:password``, empty for none.
        source: Who says so, for people.
        ca: File with the CA of its certificate; empty for those that the system trusts.
        unverified: Whether its certificate is not looked at.
    """

    url: str
    auth: str = field(repr=False)
    source: str
    ca: str = ""
    unverified: bool = False

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))

    @property
    def near(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.url).netloc.rpartition("@")[2].startswith(_LOOPBACK)


@dataclass(frozen=True)
class Answer:
    """What came back.

    Args:
        code: HTTP status, 0 if nothing came.
        why: Why nothing came.
        skew: Seconds that its clock is ahead of ours, None if it did not tell.
    """

    code: int
    body: str = ""
    why: str = ""
    skew: float | None = None


def configured(environ: Mapping[str, str], here: Path) -> Api | None:
    """The API that flows and ``trigger`` talk to, None if there is none.

    Prefect's settings can stand in files too; Prefect, which takes seconds to import, is asked only if one of them
    speaks of an API.
    """
    if url := environ.get("PREFECT_API_URL"):
        skip = environ.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in ("1", "true", "yes")
        ca = environ.get("PREFECT_API_SSL_CERT_FILE", "")
        return Api(url, environ.get("PREFECT_API_AUTH_STRING", ""), "PREFECT_API_URL", ca, skip)
    if any(_speaks_of_an_api(path) for path in _settings_files(environ, here)):
        from prefect.settings import get_current_settings

        settings = get_current_settings().api
        auth = settings.auth_string.get_secret_value() if settings.auth_string else ""
        if found := settings.url:
            source, skip = "Prefect's profile or settings file", settings.tls_insecure_skip_verify
            return Api(found, auth, source, settings.ssl_cert_file or "", skip)
    served = Served.of(environ).environment()
    if not served:
        return None
    return Api(served["PREFECT_API_URL"], served["PREFECT_API_AUTH_STRING"], "`etcd-flows serve` on this machine")


def _settings_files(environ: Mapping[str, str], here: Path) -> list[Path]:
    home = Path(environ.get("PREFECT_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".prefect")
    profiles = Path(environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    return [profiles, *(here / name for name in (".env", "prefect.toml", "pyproject.toml"))]


def _speaks_of_an_api(path: Path) -> bool:
    try:
        text = path.read_text(errors="replace").upper()
    except OSError:
        return False
    return "PREFECT_API_URL" in text or ("PREFECT" in text and "API" in text and "URL" in text)


def check_api(api: Api | None, blocks: Iterable[SecretRef] = ()) -> list[Finding]:
    """Ask it.

    Args:
        blocks: Secrets that cluster files keep in its blocks; whether they are there is asked, never what is in them.
    """
    if api is None:
        text = "none is set: each flow starts one of its own, which takes 10 to 20 s, and no UI shows the run"
        found = [Finding("ok", CHECK, f"{text}; `etcd-flows serve` starts one that stays")]
        return found + [missing_block(ref, "no Prefect API is set, and the blocks are in it") for ref in blocks]
    if not api.url.startswith(("http://", "https://")):
        remedy = "it looks like http://127.0.0.1:4200/api"
        return [Finding("error", CHECK, f"{api.source} is not an http(s) URL: {api.shown}", None, remedy)]
    version = _get(api, "/admin/version")
    found = [*api_findings(api, version, installed=metadata.version("prefect")), *served_findings(os.environ)]
    if version.code != 200:
        return found + [missing_block(ref, f"{api.shown} could not be asked") for ref in blocks]
    if api.auth and _get(replace(api, auth=""), "/admin/version").code == 200:
        found.append(open_api(api))
    for ref in blocks:
        kind, name = ref.name.rpartition("/")[::2]
        place = f"/block_types/slug/{quote(kind or 'secret')}/block_documents/name/{quote(name)}"
        if _get(api, place).code != 200:
            found.append(missing_block(ref, f"{api.shown} has none of that name"))
    return found


def api_findings(api: Api, version: Answer, installed: str) -> list[Finding]:
    """What its answer to a question for its version says. Pure.

    Args:
        installed: Version of Prefect here.
    """
    where = f"{api.shown} (by {api.source})"
    if version.code in (401, 403):
        remedy = (
            "set PREFECT_API_AUTH_STRING=user:password; where it is served it is in the file `auth` of its directory"
        )
        return [Finding("error", CHECK, f"{where} refuses these credentials", None, remedy)]
    if version.code != 200:
        why = version.why or f"status {version.code}"
        remedy = "look after it, or unset it; flows run without it from the command line, schedules do not"
        return [Finding("warning", CHECK, f"{where} does not answer as Prefect does: {why}", None, remedy)]
    found = [_fits(where, version.body, installed)]
    if not api.auth:
        found.append(open_api(api))
    if not api.near and not api.url.startswith("https://"):
        text = f"{where} is asked in clear: its password, all parameters and reports can be read on the way"
        found.append(Finding("warning", CHECK, text, None, "put a reverse proxy with TLS before it"))
    if version.skew is not None and abs(version.skew) > SKEW:
        text = f"its clock is {abs(version.skew):.0f} s {'ahead of' if version.skew > 0 else 'behind'} this machine's"
        found.append(Finding("warning", "clock", text, None, "let both follow the same time servers"))
    return found


def open_api(api: Api) -> Finding:
    """A finding that it asks nobody for a password."""
    text = f"{api.shown} asks for no password: whoever reaches it can start a restore, and read all secrets in blocks"
    remedy = "set PREFECT_SERVER_API_AUTH_STRING for the server; `etcd-flows serve` does that by itself"
    return Finding("warning", CHECK, text, None, remedy)


def missing_block(ref: SecretRef, why: str) -> Finding:
    """A finding that a secret's block is not to be had."""
    return Finding("error", "secrets", f"the block of {ref}: {why}", None, "create it in Prefect's UI: Blocks, Secret")


def served_findings(environ: Mapping[str, str]) -> list[Finding]:
    """Whether the password of the server that ``serve`` runs here is for its user alone."""
    file = Served.of(environ).auth_file
    if file.is_file() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"others may read {file}, which holds the API's password"
        return [Finding("error", CHECK, text, None, f"chmod 600 {file}; then remove it and restart for a new one")]
    return []


def _fits(where: str, body: str, installed: str) -> Finding:
    try:
        there, here = Version(str(json.loads(body))), Version(installed)
    except (ValueError, InvalidVersion):
        return Finding("warning", CHECK, f"{where} does not tell its version", None, "is it Prefect's API?")
    text = f"{where} answers; Prefect {there} there, {here} here"
    if (there.major, there.minor) < (here.major, here.minor):
        return Finding(
            "warning", CHECK, text, None, "an older server may not know what a newer client asks: upgrade it"
        )
    return Finding("ok", CHECK, text)


def _get(api: Api, path: str) -> Answer:
    way = Way(api.auth, api.ca, api.unverified)
    try:
        with way.open(api.url.rstrip("/") + path, TIMEOUT) as response:
            return Answer(response.status, response.read(1 << 16).decode(errors="replace"), "", _skew(response.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code)
    except (OSError, ValueError) as error:
        return Answer(0, "", str(getattr(error, "reason", error)))


def _skew(headers: Message) -> float | None:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (KeyError, TypeError, ValueError):
        return None
