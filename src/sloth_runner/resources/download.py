"""A file that is fetched from the network by the host itself."""

import hashlib
import re
import urllib.parse
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Doc, Mode, Path, Seconds
from sloth_runner.core.values import State
from sloth_runner.resources import _files
from sloth_runner.resources._files import SAMPLES, described, set_only


@declare(
    "download",
    Function(
        name="file_ops.download",
        doc="Downloads a file over HTTP or HTTPS, on the host.",
        rename={"dest": "path"},
        first="url",
    ),
)
class Download(Resource, frozen=True, kw_only=True):
    """Keeps a file with what a URL once gave.

    With ``sha256``, the file is compared with it and downloaded whenever it differs.
    Without, the file is downloaded only when it is missing: what the network holds later is
    never asked for again.

    ```lua
    file_ops.download({ url = "http://localhost/", dest = "/tmp/sloth-sample/index.html" })
    ```
    """

    url: Annotated[str, Doc("What to download: `http://` or `https://`.")]
    path: Annotated[Path, Doc("Where the file is kept.", key=True)]
    sha256: Annotated[str | None, Doc("SHA-256 that the file must have, in hexadecimal.")] = None
    mode: Annotated[Mode | None, Doc('Permission bits. A new file without: "0644".')] = None
    owner: Annotated[Account | None, Doc("Owner, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group, by name or number.")] = None
    timeout: Annotated[
        Seconds | None, Doc("How long the download may take; 10 minutes by default.")
    ] = None

    samples: ClassVar = (
        {"url": "http://sloth-sample.example/tool", "path": f"{SAMPLES}/tool", "mode": "0755"},
        {
            "url": "http://sloth-sample.example/tool",
            "path": f"{SAMPLES}/old",
            "sha256": hashlib.sha256(b"tool\n").hexdigest(),
        },
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/served/tool": "tool\n",
        f"{SAMPLES}/old": "was here\n",
    }

    def check(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            parts.port  # noqa: B018 - it is read when it is asked for
        except ValueError as error:
            raise ParamError(f"parameter 'url': it is no URL: {error}") from None
        if not all(" " < char < "\x7f" for char in self.url):
            raise ParamError(
                "parameter 'url': a URL holds neither spaces nor other than ASCII characters",
                hint="write them as %XX",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ParamError(
                "parameter 'url': only http:// and https:// with a host are downloaded"
            )
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise ParamError("parameter 'sha256': expected 64 hexadecimal digits")

    @property
    def sensitive(self) -> frozenset[str]:
        """The URL, where it carries a password."""
        return frozenset({"url"} if "@" in urllib.parse.urlsplit(self.url).netloc else ())

    @property
    def part_of_file(self) -> bool:
        return False

    @property
    def observation_key(self) -> Hashable:
        return (self.path, self.sha256 is None, _files.numbers(self.owner, self.group))

    @property
    def needs_parent(self) -> bool:
        return True

    def desired(self) -> State:
        content = None if self.sha256 is None else f"sha256:{self.sha256.lower()}"
        managed = set_only(content=content, mode=self.mode, owner=self.owner, group=self.group)
        return {"kind": "file", **managed}

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        answers = await host.stats(
            [{"path": r.path, "follow": False, "digest": r.sha256 is not None} for r in resources],
        )
        return [
            answer if isinstance(answer, Exception) else resource._seen(answer)
            for resource, answer in zip(resources, answers, strict=True)
        ]

    def _seen(self, stat: FileStat | None) -> State | None:
        if stat is None:
            return None
        content = {} if stat.sha256 is None else {"content": f"sha256:{stat.sha256}"}
        return {
            "kind": stat.kind,
            **content,
            **_files.attributes_of(stat, self.owner, self.group),
        }

    def plan_check(self, actual: State | None) -> None:
        kind = (actual or {}).get("kind", "file")
        if kind != "file":
            raise Refused(
                f"{self.path} is a {kind}, not a file", hint="remove it first with file_ops.remove"
            )

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        private = _files.is_private((actual or {}).get("mode"))
        return self.sensitive | _files.SAVED if private else self.sensitive

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return () if actual is None else (self.path,)

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        attributes = {"mode": self.mode, "owner": self.owner, "group": self.group}
        if change.kind != "create" and "content" not in change:
            return (Request("attributes", {"path": self.path, **attributes}),)
        source = {
            "url": self.url,
            "sha256": None if self.sha256 is None else self.sha256.lower(),
            "timeout": 600.0 if self.timeout is None else self.timeout,
        }
        return (Request("download", {"path": self.path, **attributes, **source}),)

    async def apply(self, host: Host, change: Diff) -> None:
        [request] = await self.rehearsal(host, change)
        await host.ask(request.verb, **request.arguments)

    async def destroy(self, host: Host) -> None:
        stat = await host.stat(self.path)
        if stat is None:
            return
        if stat.kind != "file":
            raise _files.wrong_kind(
                self.path, described(stat), "the file that was managed", "remove it by hand"
            )
        await host.ask("remove", path=self.path)

    async def revert(self, host: Host, origin: Origin) -> None:
        if origin.actual is None:
            return await self.destroy(host)
        attributes = _files.restored(origin.actual)
        saved = origin.saved.get(self.path)
        if saved is not None:
            await host.write(self.path, saved, **attributes)
        elif self.sha256 is None:
            await host.ask("attributes", path=self.path, **attributes)
        else:
            raise Refused(f"the old content of {self.path} was not kept, so it cannot be put back")
        return None
