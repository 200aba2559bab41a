"""``file_ops.download``."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.bench import Bench, snapshot
from sloth_runner.core.errors import HostError, ParamError, Refused
from sloth_runner.core.forms import build
from sloth_runner.resources.download import Download

BODY = b"tool \xff\0\n"
DIGEST = hashlib.sha256(BODY).hexdigest()


class Served(http.server.BaseHTTPRequestHandler):
    """Answers ``/tool`` with the body, counts, and knows nothing else."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        known = self.path == "/tool"
        if self.path == "/private":
            known = self.headers["Authorization"] == "Basic Ym9iOnB3QHg="
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Served.asked = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def download(url: str, path: Path | str, **params: Any) -> Download:
    given = {"url": url, "path": str(path), **params}
    made: Download = build(Download, given, function="file_ops.download")
    return made


def test_a_file_is_downloaded_once_and_goes_again(here: Path, local: Bench, site: str) -> None:
    wanted = download(f"{site}/tool", here / "tool", sha256=DIGEST.upper(), mode="0755")
    assert local.observe(wanted) is None
    origin = local.converge(wanted)
    assert (here / "tool").read_bytes() == BODY
    assert oct((here / "tool").stat().st_mode)[-4:] == "0755"
    assert local.changes(wanted) == []
    local.revert(wanted, origin)
    local.destroy(wanted)
    assert not (here / "tool").exists()
    assert Served.asked == 1


def test_drift_names_exactly_what_was_disturbed(here: Path, local: Bench, site: str) -> None:
    wanted = download(f"{site}/tool", here / "tool", sha256=DIGEST, mode="0755")
    local.converge(wanted)
    (here / "tool").write_text("other")
    assert local.changes(wanted) == ["content"]
    local.converge(wanted)
    (here / "tool").chmod(0o700)
    assert local.changes(wanted) == ["mode"]
    local.converge(wanted)
    assert Served.asked == 2


def test_without_a_checksum_only_a_missing_file_is_downloaded(
    here: Path, local: Bench, site: str
) -> None:
    wanted = download(f"{site}/tool", here / "tool")
    (here / "tool").write_text("mine")
    assert local.changes(wanted) == []
    (here / "tool").unlink()
    local.converge(wanted)
    assert (here / "tool").read_bytes() == BODY


def test_other_bytes_than_asked_for_never_reach_the_path(
    here: Path, local: Bench, site: str
) -> None:
    (here / "tool").write_text("old")
    before = snapshot(here)
    with pytest.raises(HostError, match="SHA-256"):
        local.converge(download(f"{site}/tool", here / "tool", sha256="0" * 64))
    with pytest.raises(HostError, match="404"):
        local.converge(download(f"{site}/none", here / "new"))
    assert {key: value for key, value in snapshot(here).items() if key != str(here)} == {
        key: value for key, value in before.items() if key != str(here)
    }


def test_the_old_file_comes_back(here: Path, local: Bench, site: str) -> None:
    (here / "tool").write_text("old")
    (here / "tool").chmod(0o600)
    before = snapshot(here)
    wanted = download(f"{site}/tool", here / "tool", sha256=DIGEST, mode="0755")
    origin = local.converge(wanted)
    local.revert(wanted, origin)
    assert snapshot(here) == before


def test_a_directory_in_the_way_is_refused_in_the_preview(here: Path, local: Bench) -> None:
    with pytest.raises(Refused, match="is a directory"):
        local.preview(download("http://localhost/x", here, sha256=DIGEST))


@pytest.mark.parametrize(
    ("url", "params", "message"),
    [
        ("ftp://x/y", {}, "only http"),
        ("file:///etc/passwd", {}, "only http"),
        ("-oProxyCommand=x", {}, "only http"),
        ("http:///x", {}, "only http"),
        ("http://[::1/f", {}, "no URL"),
        ("http://x:abc/f", {}, "no URL"),
        ("http://x/a b", {}, "neither spaces"),
        ("http://x/\u00fc", {}, "neither spaces"),
        ("http://x/y", {"sha256": "abc"}, "64 hexadecimal"),
    ],
)
def test_wrong_parameters_are_named(url: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError, match=message):
        download(url, "/x", **params)


def test_a_url_with_a_password_is_sensitive() -> None:
    assert download("https://me:secret@x/y", "/x").sensitive == {"url"}
    assert download("https://x/y?at=@", "/x").sensitive == frozenset()


def test_the_account_of_a_url_is_used_and_never_shown(here: Path, local: Bench, site: str) -> None:
    private = site.replace("http://", "http://bob:pw%40x@") + "/private"
    wanted = download(private, here / "tool", sha256=DIGEST)
    local.converge(wanted)
    assert (here / "tool").read_bytes() == BODY
    with pytest.raises(HostError) as caught:
        local.converge(download(private.replace("pw", "no"), here / "other"))
    assert "bob" not in str(caught.value)
