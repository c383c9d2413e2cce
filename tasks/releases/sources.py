"""Where releases come from: the project's own download site, a mirror over http(s), a directory, a tarball."""

from __future__ import annotations

import random
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import certifi
import httpx

from tasks.errors import ReleaseError
from tasks.releases.product import Product

_ATTEMPTS = 5
_FIRST_WAIT = 0.5  # seconds; doubled each time
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)  # seconds without a byte; a slow download may take as long as it takes
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 18
_SUMS_LIMIT = 1 << 20
_BARE_SUM = re.compile(r"[0-9a-fA-F]{64}")  # the whole of a file of sums that belongs to one tarball
_SUM_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+[*]?(\S+)")


@dataclass(frozen=True)
class Candidate:
    """One place where a release may be.

    Args:
        tarball: URL or path.
        sums: URL or path of the file of sums that goes with it.
        local: Whether these are paths.
        key: Where the cluster file speaks of it.
        login: User and password from the mirror's URL; sent to that host, never shown.
    """

    tarball: str
    sums: str
    local: bool
    key: str
    login: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """File name of the tarball, as the file of sums calls it."""
        return self.tarball.rpartition("/")[2]

    @property
    def shown_tarball(self) -> str:
        """For messages: without a query, which may hold a token."""
        return self.tarball.partition("?")[0]

    @property
    def shown_sums(self) -> str:
        """For messages, likewise."""
        return self.sums.partition("?")[0]


def candidates(product: Product, source: str, version: str, arch: str) -> tuple[Candidate, ...]:
    """Places to look at, in order: the project's own tree (``v3.6.16/<tarball>``), then all in one directory.

    Args:
        source: ``official``, an http(s) URL of a mirror or of one tarball, a directory, or a tarball's path.
        version: Without the v.
        arch: As in the tarball's name.

    Raises:
        ReleaseError: A path that is not there.
    """
    name = product.tarball(version, arch)
    login = None
    local = not source.startswith(("http://", "https://")) and source != "official"
    base = product.page if source == "official" else source.rstrip("/")
    if local:
        base = source.removeprefix("file://").rstrip("/") or "/"
        if not Path(base).exists():
            raise ReleaseError(
                f"the release source {base} does not exist",
                state="no host was touched",
                remedy=f"correct {product.key}.release.source in the cluster file: official, a URL, a directory or a "
                "tarball",
            )
    else:
        base, login = _without_login(base)
    if base.endswith((".tar.gz", ".tgz")):
        place, _, own = base.rpartition("/")
        return (Candidate(base, f"{place}/{product.sums_of(own)}", local, product.key, login),)
    places = product.places(base, version)[: 1 if source == "official" else None]
    sums = product.sums_of(name)
    return tuple(Candidate(f"{place}/{name}", f"{place}/{sums}", local, product.key, login) for place in places)


def _without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare), (httpx.URL(url).username, httpx.URL(url).password)


def read_sums(candidate: Candidate) -> dict[str, str] | None:
    """SHA-256 by file name, or None if there is no such file.

    Raises:
        ReleaseError: The source can't be read.
    """
    if candidate.local:
        path = Path(candidate.sums)
        if not path.is_file():
            return None
        try:
            content = path.read_bytes()[:_SUMS_LIMIT]
        except OSError as error:
            raise _unreadable(candidate.sums, candidate.key, error) from error
    else:
        pieces: list[bytes] = []
        try:
            for chunk, _ in _download(candidate.sums, candidate):
                pieces = [] if chunk is None else [*pieces, chunk]
        except _NotThereError:
            return None
        content = b"".join(pieces)
    lines = content.decode(errors="replace").splitlines()
    if len(lines) == 1 and _BARE_SUM.fullmatch(lines[0].strip()):
        return {candidate.name: lines[0].strip().lower()}
    matches = (_SUM_LINE.fullmatch(line.strip()) for line in lines)
    return {match[2].rpartition("/")[2]: match[1].lower() for match in matches if match}


def open_source(candidate: Candidate) -> Iterator[tuple[bytes | None, int | None]]:
    """The tarball in chunks, each with the size of the whole; ``(None, ...)`` means that it starts over.

    Raises:
        MissingError: It is not there.
        ReleaseError: It can't be read, or the download broke off too often.
    """
    if not candidate.local:
        try:
            yield from _download(candidate.tarball, candidate)
        except _NotThereError as error:
            raise _missing(candidate) from error
        return
    if not Path(candidate.tarball).is_file():
        raise _missing(candidate)
    try:
        with Path(candidate.tarball).open("rb") as file:
            total = Path(candidate.tarball).stat().st_size
            while chunk := file.read(_CHUNK):
                yield chunk, total
    except OSError as error:
        raise _unreadable(candidate.tarball, candidate.key, error) from error


def _missing(candidate: Candidate) -> MissingError:
    return MissingError(
        f"{candidate.shown_tarball} does not exist",
        state="no host was touched",
        remedy=f"check {candidate.key}.version and {candidate.key}.release.source in the cluster file; the tarball "
        "belongs there under that name",
    )


def _unreadable(path: str, key: str, error: OSError) -> ReleaseError:
    return ReleaseError(
        f"{path} can't be read: {error.strerror or error}",
        state="no host was touched",
        remedy=f"put the release there, or correct {key}.release.source and {key}.version in the cluster file",
    )


class MissingError(ReleaseError):
    """There is no such tarball at this place."""


class _NotThereError(Exception):
    """The server says 404 or 410."""


class _PassingError(Exception):
    """May work the next time; says why it did not."""


def _download(url: str, candidate: Candidate) -> Iterator[tuple[bytes | None, int | None]]:
    shown = url.partition("?")[0]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            yield from _attempt(url, candidate, shown)
        except _PassingError as error:
            if attempt == _ATTEMPTS:
                raise ReleaseError(
                    f"{shown} can't be downloaded: {error} ({attempt} attempts)",
                    state="no host was touched",
                    remedy="check the network from this machine, and the proxy where there is one (HTTPS_PROXY, "
                    f"NO_PROXY); or give {candidate.key}.release.source a mirror, a directory or a tarball",
                ) from error
            yield None, None
            # Jitter, so that workers that were cut off together do not come back together.
            time.sleep(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
        else:
            return


def _attempt(url: str, candidate: Candidate, shown: str) -> Iterator[tuple[bytes | None, int | None]]:
    # "identity", and bytes as they come: servers that call a .tar.gz "gzip encoded" must not have it unpacked here.
    headers = {"accept-encoding": "identity", "user-agent": "etcd-flows"}
    try:
        with (
            httpx.Client(
                verify=_trust(), timeout=_TIMEOUT, follow_redirects=True, headers=headers, auth=candidate.login
            ) as client,
            client.stream("GET", url) as response,
        ):
            _judge(response.status_code, shown)
            length = response.headers.get("content-length", "")
            total = int(length) if length.isdigit() else None
            for chunk in response.iter_raw(_CHUNK):
                yield chunk, total
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ReleaseError(
                f"the certificate of {urlsplit(url).hostname} is not trusted by this machine",
                state="no host was touched",
                remedy="add its CA to the machine's trust store, or name it in SSL_CERT_FILE",
            ) from error
        raise _PassingError(f"{type(error).__name__}: {error}".rstrip(": ")) from error
    except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
        raise ReleaseError(
            f"{shown} can't be downloaded: {type(error).__name__}",
            remedy=f"correct {candidate.key}.release.source",
        ) from error


def _judge(status: int, shown: str) -> None:
    if status in (404, 410):
        raise _NotThereError
    if status in _PASSING:
        raise _PassingError(f"the server answered {status}")
    if status in (401, 403, 407):
        raise ReleaseError(
            f"{shown} can't be downloaded: the server answered {status}",
            state="no host was touched",
            remedy="check user and password in the mirror's URL, and the proxy's",
        )
    if status != 200:
        raise ReleaseError(
            f"{shown} can't be downloaded: the server answered {status}",
            state="no host was touched",
            remedy="set etcd.release.source to a mirror or a directory that has it",
        )


def _trust() -> ssl.SSLContext:
    """The machine's trust store, with the site's own CA if it has one; SSL_CERT_FILE and SSL_CERT_DIR replace it."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not context.get_ca_certs():
        context.load_verify_locations(certifi.where())  # a machine without any, such as a bare container
    return context
