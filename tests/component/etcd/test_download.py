"""Releases from a web server that has bad days."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.cluster.spec import Release
from tasks.errors import ReleaseError
from tasks.etcd.release import fetch
from tasks.releases import sources
from tests.component.etcd.conftest import free_ports
from tests.unit.etcd.test_release import NAME, VERSION, pack, release_files, sha

pytestmark = pytest.mark.component
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


class Server:
    """Serves files; ``faults`` are taken one after the other before it serves properly."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Answer] = []
        self.asked: list[str] = []
        self.login: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        body = self.files.get(request.path)
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}" if self.login else None
        if wanted and request.headers.get("authorization") != wanted:
            return status(401)(request, b"")
        if body is None:
            return status(404)(request, b"")
        if request.path.endswith(".gz") and self.faults:
            return self.faults.pop(0)(request, body)
        return whole(request, body)


def whole(request: BaseHTTPRequestHandler, body: bytes, **headers: str) -> None:
    request.send_response(200)
    request.send_header("content-length", str(len(body)))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def status(code: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        del body
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("content-length", "0")
        request.end_headers()

    return answer


def cut(request: BaseHTTPRequestHandler, body: bytes) -> None:
    request.send_response(200)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])
    request.wfile.flush()
    request.connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server()
    tarball = pack(tmp_path / "made" / NAME, release_files())
    one.files[f"/v{VERSION}/{NAME}"] = tarball.read_bytes()
    one.files[f"/v{VERSION}/SHA256SUMS"] = f"{sha(tarball)}  {NAME}\n".encode()
    thread = threading.Thread(target=one.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FIRST_WAIT", 0.01)


def release(url: str, tmp_path: Path, sha256: str | None = None) -> Release:
    return Release(VERSION, url, sha256, tmp_path / "cache")


def test_a_mirror_and_then_nobody(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = fetch(release(server.url, tmp_path), "amd64", lambda done, total: seen.append((done, total)))
    size = len(server.files[f"/v{VERSION}/{NAME}"])
    assert seen[-1] == (size, size)
    server.files.clear()
    server.asked.clear()
    assert fetch(release(server.url, tmp_path), "amd64") == got
    assert server.asked == []


def test_a_flat_mirror(server: Server, tmp_path: Path) -> None:
    server.files = {f"/x/{path.rpartition('/')[2]}": body for path, body in server.files.items()}
    assert fetch(release(f"{server.url}/x/", tmp_path), "amd64").version == VERSION
    pinned = sha(tmp_path / "made" / NAME)
    server.files.pop("/x/SHA256SUMS")
    other = Release(VERSION, f"{server.url}/x", pinned, tmp_path / "cache2")
    assert fetch(other, "amd64").sha256 == pinned


def test_it_tries_again_when_that_may_help(server: Server, tmp_path: Path) -> None:
    server.faults = [status(503), cut, cut, status(429)]
    assert fetch(release(server.url, tmp_path), "amd64").binaries.keys() == {"etcd", "etcdctl", "etcdutl"}
    assert server.faults == []


def test_it_gives_up_with_advice(server: Server, tmp_path: Path) -> None:
    server.faults = [status(502)] * 9
    with pytest.raises(ReleaseError, match=r"answered 502 \(5 attempts\)") as caught:
        fetch(release(server.url, tmp_path), "amd64")
    assert "HTTPS_PROXY" in str(caught.value)
    assert len(server.faults) == 4


def test_it_does_not_try_again_when_that_can_not_help(server: Server, tmp_path: Path) -> None:
    server.faults = [status(403), status(403)]
    with pytest.raises(ReleaseError, match="403"):
        fetch(release(server.url, tmp_path), "amd64")
    assert len(server.faults) == 1


def test_a_tarball_called_gzip_encoded_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    server.faults = [lambda request, body: whole(request, body, content_encoding="x-gzip")]
    fetch(release(server.url, tmp_path), "amd64")
    assert server.faults == []


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.files["/elsewhere"] = server.files[f"/v{VERSION}/{NAME}"]
    server.faults = [status(302, location="/elsewhere")]
    fetch(release(server.url, tmp_path), "amd64")
    assert server.asked[-1] == "/elsewhere"


def test_the_mirrors_password_is_used_and_never_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server.login = "me:s3cret"
    url = server.url.replace("http://", "http://me:s3cret@")
    fetch(release(url, tmp_path), "amd64")
    server.login = "me:changed"
    (tmp_path / "cache").rename(tmp_path / "gone")
    with pytest.raises(ReleaseError, match="401") as caught:
        fetch(release(url, tmp_path), "amd64")
    assert "s3cret" not in str(caught.value) + caplog.text


def test_wrong_content_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files[f"/v{VERSION}/{NAME}"] += b"x"
    with pytest.raises(ReleaseError, match="is not what it should be"):
        fetch(release(server.url, tmp_path), "amd64")
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_no_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(ReleaseError, match=f"127.0.0.1:{port}/v{VERSION}/SHA256SUMS can't be downloaded"):
        fetch(release(f"http://127.0.0.1:{port}", tmp_path), "amd64")


def test_a_version_that_is_not_there(server: Server, tmp_path: Path) -> None:
    server.files.pop(f"/v{VERSION}/{NAME}")
    with pytest.raises(ReleaseError, match="does not exist") as caught:
        fetch(release(server.url, tmp_path), "amd64")
    assert "etcd.version" in str(caught.value)


def test_a_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    files = {f"http://mirror.invalid{path}": body for path, body in server.files.items()}
    server.files = files
    fetch(release("http://mirror.invalid", tmp_path), "amd64")
    assert server.asked[-1] == f"http://mirror.invalid/v{VERSION}/{NAME}"
