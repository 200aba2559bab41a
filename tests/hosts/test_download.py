"""Downloads: checked, whole, and by http and https only."""

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.asking import ask, leftovers, names_in, refusal
from sloth_runner.core.host import Host

BODY = bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    def do_GET(self) -> None:
        """Answers one request."""
        name = self.path.partition("?")[0].strip("/")
        if name in ("to-file", "to-ftp", "again"):
            target = {"to-file": "file:///etc/passwd", "to-ftp": "ftp://localhost/x"}
            self.send_response(302)
            self.send_header("Location", target.get(name, "/whole"))
            self.end_headers()
            return
        if name == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if name == "slow":
            self.wfile.write(BODY[:10])
            self.wfile.flush()
            time.sleep(0.8)
            return
        self.wfile.write(BODY[:5000] if name == "short" else BODY)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A web server on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["whole", "again"])
def test_a_download_is_checked_and_put_in_place(
    host: Host, tmp_path: Path, site: str, name: str
) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    answer = ask(
        host, "download", url=f"{site}/{name}", path=str(tmp_path / "f"), sha256=digest, mode="0750"
    )
    assert (tmp_path / "f").read_bytes() == BODY
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o750
    assert answer["sha256"] == digest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "answered 404"),
        ("short", "broke off after 5000 of 1024000 bytes"),
        ("to-file", "answered 302"),
        ("to-ftp", "cannot be reached"),
    ],
)
def test_a_failed_download_leaves_the_old_file(
    host: Host, tmp_path: Path, site: str, name: str, said: str
) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    refused = refusal(host, "download", url=f"{site}/{name}?token=hidden", path=str(file))
    assert said in refused.detail
    assert f"{site}/{name}" in refused.detail
    assert "hidden" not in str(refused)
    assert file.read_text() == "old"
    assert names_in(tmp_path) == ["f"]


def test_another_content_than_expected_is_refused(host: Host, tmp_path: Path, site: str) -> None:
    refused = refusal(
        host, "download", url=f"{site}/whole", path=str(tmp_path / "f"), sha256="0" * 64
    )
    assert refused.errno_name == "EBADMSG"
    assert names_in(tmp_path) == []


def test_a_server_that_stalls_is_given_up(host: Host, tmp_path: Path, site: str) -> None:
    refused = refusal(host, "download", url=f"{site}/slow", path=str(tmp_path / "f"), timeout=0.2)
    assert refused.errno_name == "ETIMEDOUT"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "-o/tmp/x", "", "http://", "x y"]
)
def test_only_http_and_https_are_fetched(host: Host, tmp_path: Path, url: str) -> None:
    assert refusal(host, "download", url=url, path=str(tmp_path / "f")).errno_name == "EINVAL"
    assert names_in(tmp_path) == []


def test_nothing_listening_is_a_clear_error(host: Host, tmp_path: Path) -> None:
    refused = refusal(host, "download", url="http://127.0.0.1:9/x", path=str(tmp_path / "f"))
    assert refused.errno_name == "ECONNREFUSED"
    assert "http://127.0.0.1:9/x" in refused.detail
