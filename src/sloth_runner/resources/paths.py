"""Looks at paths of a host: nothing is recorded."""

from typing import Annotated

from sloth_runner.core.host import Host
from sloth_runner.core.resource import Function, Query, declare
from sloth_runner.core.schema import Doc, Path
from sloth_runner.core.values import State, Value

LIMIT = 64 * 1024 * 1024
"""``file_ops.read`` takes files of up to this many bytes."""


@declare(
    "stat",
    Function(
        name="file_ops.stat",
        doc="Returns what is known of a path as a table, or nil where nothing is.",
        first="path",
    ),
)
class Stat(Query, frozen=True, kw_only=True):
    """Returns a table with ``kind`` (file, directory, link, other), ``mode``, ``owner``,
    ``group``, ``uid``, ``gid``, ``size`` in bytes, ``mtime`` in seconds since 1970, ``links``,
    and for a link its ``target``; nil for a path that does not exist.

    ```lua
    local stat = file_ops.stat("/etc/passwd")
    print(stat.kind, stat.mode, stat.size)
    ```
    """

    path: Annotated[Path, Doc("What to look at.", key=True)]
    follow: Annotated[bool, Doc("Describe what a link points to instead of the link.")] = False

    async def ask(self, host: Host) -> Value:
        stat = await host.stat(self.path, follow=self.follow)
        if stat is None:
            return None
        table: dict[str, Value] = {
            name: getattr(stat, name)
            for name in ("kind", "mode", "owner", "group", "uid", "gid", "size", "links")
        }
        table["mtime"] = stat.mtime_ns / 1_000_000_000
        if stat.target is not None:
            table["target"] = stat.target
        return table

    def predict(self, desired: State | None, content: str | None) -> Value:
        if desired is None:
            return None
        raise LookupError(self.path)


@declare(
    "exists",
    Function(
        name="file_ops.exists",
        doc="Returns whether a path exists, following links.",
        first="path",
    ),
)
class Exists(Query, frozen=True, kw_only=True):
    """Returns true or false. A link whose target is missing does not exist.

    ```lua
    if file_ops.exists("/etc/passwd") then print("found") end
    ```
    """

    path: Annotated[Path, Doc("What to look for.", key=True)]

    async def ask(self, host: Host) -> bool:
        return await host.stat(self.path, follow=True) is not None

    def predict(self, desired: State | None, content: str | None) -> bool:
        if desired is not None and "target" in desired:
            raise LookupError(self.path)
        return desired is not None


@declare(
    "read",
    Function(
        name="file_ops.read",
        doc="Returns the content of a file as text, or nil where there is none.",
        first="path",
    ),
)
class Read(Query, frozen=True, kw_only=True):
    """Returns the bytes of a file of up to 64 MiB, following links; nil where none exists.

    ```lua
    local text = file_ops.read("/etc/hostname")
    ```
    """

    path: Annotated[Path, Doc("The file to read.", key=True)]

    async def ask(self, host: Host) -> str | None:
        return await host.read(self.path, follow=True, limit=LIMIT)

    def predict(self, desired: State | None, content: str | None) -> str | None:
        if desired is None:
            return None
        if content is None:
            raise LookupError(self.path)
        return content


@declare(
    "checksum",
    Function(
        name="compute_checksum",
        doc="Returns the SHA-256 of a file of the host, or nil where there is none.",
        first="path",
    ),
)
class Checksum(Query, frozen=True, kw_only=True):
    """Returns the SHA-256 of a file in hexadecimal, following links; nil where none exists.

    ```lua
    print(compute_checksum("/etc/passwd") == compute_checksum("/etc/group"))
    ```
    """

    path: Annotated[Path, Doc("The file.", key=True)]

    async def ask(self, host: Host) -> str | None:
        stat = await host.stat(self.path, follow=True, digest=True)
        return None if stat is None else stat.sha256

    def predict(self, desired: State | None, content: str | None) -> str | None:
        if desired is None:
            return None
        kind, _, digest = str(desired.get("content", "")).partition(":")
        if kind != "sha256":
            raise LookupError(self.path)
        return digest
