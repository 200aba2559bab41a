"""Waits: they end when it is so, and say what they saw last when it never is."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actions.bench import action, do
from sloth_runner.core.errors import ParamError, TaskTimedOut

FAST = {"timeout": 5, "interval": "20ms"}
BRIEF = {"timeout": "200ms", "interval": "20ms"}


@contextmanager
def later(seconds: float, act: Any) -> Iterator[None]:
    """Does something on this machine while the block waits for it."""
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.fixture
def port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


class Page(http.server.BaseHTTPRequestHandler):
    """Answers 503 until told otherwise, and redirects from /moved."""

    status = 503
    asked: int = 0

    def do_GET(self) -> None:
        Page.asked += 1
        moved = self.path == "/moved"
        self.send_response(302 if moved else Page.status)
        if moved:
            self.send_header("Location", "/")
        self.end_headers()
        self.wfile.write(b"all systems nominal \xff")

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a page that answers 503 at first."""
    Page.status, Page.asked = 503, 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    with later(0.15, path.touch):
        answer = do(action("wait.file", path=str(path), **FAST))
    assert answer["success"] is True
    assert 0.1 < answer["waited"] < 2
    with later(0.15, path.unlink):
        do(action("wait.file", path=str(path), state="absent", **FAST))
    assert not path.exists()


def test_a_link_to_nothing_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(TaskTimedOut, match="it is not there"):
        do(action("wait.file", path=str(tmp_path / "link"), **BRIEF))


def test_all_of_the_time_is_waited_even_where_an_interval_is_longer(tmp_path: Path) -> None:
    path = tmp_path / "late"
    with later(0.1, path.touch):
        answer = do(action("wait.file", path=str(path), timeout="300ms", interval="5s"))
    assert 0.1 <= answer["waited"] < 5
    began = time.monotonic()
    with pytest.raises(TaskTimedOut):
        do(action("wait.file", path=str(tmp_path / "never"), timeout="100ms", interval="5s"))
    assert 0.1 <= time.monotonic() - began < 5


def test_a_file_that_never_comes_is_given_up_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TaskTimedOut, match=r"waited 0\.2 s for .*never to be present"):
        do(action("wait.file", path=str(tmp_path / "never"), **BRIEF))
    assert time.monotonic() - began < 2


def test_a_port_is_waited_for_until_it_opens_and_until_it_closes(port: int) -> None:
    opened: list[socket.socket] = []
    with later(0.15, lambda: opened.append(socket.create_server(("127.0.0.1", port)))):
        do(action("wait.port", port=port, **FAST))
    assert opened
    with later(0.15, opened[0].close):
        do(action("wait.port", port=port, state="closed", **FAST))


def test_a_port_that_stays_closed_is_told_with_the_reason(port: int) -> None:
    with pytest.raises(TaskTimedOut, match=rf"127\.0\.0\.1:{port} to be open: Connection refused"):
        do(action("wait.port", port=port, **BRIEF))


def test_a_name_that_nobody_knows_is_told_as_such() -> None:
    with pytest.raises(TaskTimedOut, match=r"Name or service not known|[Nn]ame resolution"):
        do(action("wait.port", host="no-such-host.invalid", port=1, **BRIEF))


def test_a_page_is_waited_for_until_it_answers_as_it_should(site: str) -> None:
    def heal() -> None:
        Page.status = 200

    with later(0.15, heal):
        do(action("wait.http", url=f"{site}/", contains="nominal", **FAST))
    assert Page.asked > 1


def test_a_page_that_answers_otherwise_is_told_with_its_answer(site: str) -> None:
    with pytest.raises(TaskTimedOut, match="it answered 503 Service Unavailable"):
        do(action("wait.http", url=f"{site}/", **BRIEF))
    Page.status = 200
    with pytest.raises(TaskTimedOut, match="does not contain 'green'"):
        do(action("wait.http", url=f"{site}/", contains="green", **BRIEF))


def test_a_redirect_is_an_answer_of_its_own(site: str) -> None:
    do(action("wait.http", url=f"{site}/moved", status=302, **FAST))


def test_a_page_that_cannot_be_reached_is_told_with_the_reason(port: int) -> None:
    with pytest.raises(TaskTimedOut, match="Connection refused"):
        do(action("wait.http", url=f"http://127.0.0.1:{port}/", **BRIEF))


def test_its_title_tells_no_secret() -> None:
    made = action("wait.http", url="https://me:hunter2@example.org/path?token=hunter3")
    assert made.title == "https://example.org/path"


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("wait.port", {}),
        ("wait.port", {"port": 0}),
        ("wait.port", {"port": 65536}),
        ("wait.http", {"url": "ftp://example.org/"}),
        ("wait.http", {"url": "file:///etc/passwd"}),
        ("wait.http", {"url": "http://a\nb/"}),
        ("wait.http", {"url": "http://a/", "status": 99}),
        ("wait.file", {"path": "relative"}),
        ("wait.file", {"path": "/x", "interval": 0}),
    ],
)
def test_what_cannot_be_waited_for_is_refused(function: str, given: dict[str, Any]) -> None:
    with pytest.raises(ParamError):
        action(function, **given)


def test_it_changes_nothing() -> None:
    made = action("wait.file", path="/")
    assert made.waits_only
    assert made.predictable == {"success": True, "waited": 0}
