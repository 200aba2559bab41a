"""``wait.port``, ``wait.file`` and ``wait.http``: look again and again until it is so."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, ClassVar, Literal

from sloth_runner.core.errors import ParamError, TaskTimedOut
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Action, Function, declare
from sloth_runner.core.schema import Doc, Path, Seconds
from sloth_runner.core.values import Value

_TIMEOUT = Seconds(60.0)
_INTERVAL = Seconds(1.0)
_LOOK = 5.0
"""How long one look may take, in seconds: a host that drops packets never answers."""

_BODY = 1 << 20
"""Bytes of an answer that are searched."""


class _Wait(Action, frozen=True, kw_only=True):
    """What all waits share."""

    timeout: Annotated[Seconds, Doc("How long to wait before giving up.")] = _TIMEOUT
    interval: Annotated[Seconds, Doc("How long to wait between two looks.")] = _INTERVAL

    def check(self) -> None:
        """Refuses to look without a pause."""
        if self.interval < 0.01:
            raise ParamError("parameter 'interval' is at least 10ms")

    @property
    def waits_only(self) -> bool:
        return True

    @property
    def predictable(self) -> Mapping[str, Value]:
        return {"success": True, "waited": 0}

    async def until(self, what: str, look: Callable[[], Awaitable[str | None]]) -> dict[str, Value]:
        """Looks until ``look`` answers None; raises TaskTimedOut with its last answer."""
        began = time.monotonic()
        while True:
            why_not = await look()
            waited = time.monotonic() - began
            if why_not is None:
                return {"success": True, "waited": round(waited, 3)}
            if waited >= self.timeout:
                raise TaskTimedOut(
                    f"waited {self.timeout:g} s for {what}: {why_not}",
                    hint="give a longer timeout, or look at what it should have done",
                )
            await asyncio.sleep(min(self.interval, self.timeout - waited))


@declare(
    "wait_port",
    Function(name="wait.port", doc="Waits until a TCP port answers.", first="host"),
)
class WaitPort(_Wait, frozen=True, kw_only=True):
    """Waits until a TCP port can be connected to, as seen from the host of the task.

    ```lua
    wait.port({ port = 22, timeout = "10s" })
    ```
    """

    port: Annotated[int, Doc("The number of the port.")]
    host: Annotated[str, Doc("The name or address to connect to.")] = "127.0.0.1"
    state: Annotated[
        Literal["open", "closed"], Doc('"open": it answers; "closed": nothing listens.')
    ] = "open"

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"port": 1, "state": "closed"},)

    def check(self) -> None:
        """Refuses what is no port."""
        _Wait.check(self)
        if not 0 < self.port < 65536:
            raise ParamError(f"parameter 'port': {self.port} is not between 1 and 65535")

    @property
    def title(self) -> str:
        return f"{self.host}:{self.port}"

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Waits; raises TaskTimedOut with why the last attempt failed."""

        async def look() -> str | None:
            closed: str | None = await host.ask(
                "connect", host=self.host, port=self.port, timeout=min(_LOOK, self.timeout)
            )
            if self.state == "open":
                return closed
            return "something listens there" if closed is None else None

        return await self.until(f"port {self.title} to be {self.state}", look)


@declare(
    "wait_file",
    Function(name="wait.file", doc="Waits until a path exists, or does not.", first="path"),
)
class WaitFile(_Wait, frozen=True, kw_only=True):
    """Waits until something is at a path, or until nothing is.

    ```lua
    wait.file({ path = "/run/sloth-sample.pid", state = "absent", timeout = 5 })
    ```
    """

    path: Annotated[Path, Doc("The path; a link to nothing does not exist.")]
    state: Annotated[Literal["present", "absent"], Doc("What to wait for.")] = "present"

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"path": "/"},)

    @property
    def title(self) -> str:
        return self.path

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Waits; raises TaskTimedOut."""

        async def look() -> str | None:
            there = await host.stat(self.path, follow=True) is not None
            if there == (self.state == "present"):
                return None
            return "it is there" if there else "it is not there"

        return await self.until(f"{self.path} to be {self.state}", look)


@declare(
    "wait_http",
    Function(name="wait.http", doc="Waits until a URL answers as it should.", first="url"),
)
class WaitHttp(_Wait, frozen=True, kw_only=True):
    """Waits until a URL answers with a status, and with a text if one is given.

    It is asked from the host of the task; redirects are answers, not followed. Certificates
    of https are checked.

    ```lua
    wait.http({ url = "http://127.0.0.1/", status = 200, contains = "nginx" })
    ```
    """

    url: Annotated[str, Doc("What to ask for: http or https.")]
    status: Annotated[int, Doc("The status that it should answer with.")] = 200
    contains: Annotated[str | None, Doc("Text that must be in the first MiB of the answer.")] = None

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"url": "http://127.0.0.1/"},)

    def check(self) -> None:
        """Refuses what is no address of the web."""
        _Wait.check(self)
        if not self.url.startswith(("http://", "https://")) or not self.url.isprintable():
            raise ParamError("parameter 'url' begins with http:// or https://")
        if not 100 <= self.status < 600:
            raise ParamError(f"parameter 'status': {self.status} is not a status of HTTP")

    @property
    def title(self) -> str:
        return re.sub("//[^/@]*@", "//", self.url.partition("?")[0])

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Waits; raises TaskTimedOut with the last answer."""

        async def look() -> str | None:
            answer = await host.ask(
                "get", url=self.url, timeout=min(_LOOK, self.timeout), limit=_BODY
            )
            if answer["status"] is None:
                return str(answer["reason"])
            if answer["status"] != self.status:
                return f"it answered {answer['status']} {answer['reason']}".rstrip()
            if self.contains is not None and self.contains not in answer["body"]:
                return f"its answer does not contain {self.contains!r}"
            return None

        return await self.until(f"{self.title} to answer {self.status}", look)
