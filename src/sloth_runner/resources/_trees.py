"""Archives on a host: those that were saved of a removed directory, and those to unpack."""

import posixpath
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sloth_runner.core.errors import Refused
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Origin
from sloth_runner.core.schema import Content
from sloth_runner.core.values import Value, raw, text


async def put_back(
    host: Host, path: str, origin: Origin, attributes: Mapping[str, Value], *, whole: bool
) -> None:
    """Makes a removed directory again, with what was saved of it.

    ``whole`` says that it was removed with its content, which then must have been saved.
    """
    saved = origin.saved.get(path)
    if whole and saved is None:
        raise Refused(f"what {path} contained was not kept, so it cannot be put back")
    await host.ask("mkdir", path=path, **attributes)
    if saved is not None:
        async with on_host(host, saved, beside=path) as archive:
            await host.ask("unpack", path=archive, dest=path, preserve=True)


@asynccontextmanager
async def on_host(host: Host, content: Content, *, beside: str) -> AsyncIterator[str]:
    """Gives a path on ``host`` that holds ``content``, for as long as the block lasts."""
    if content.path is not None and host.controller is host:
        yield content.path
        return
    import secrets  # hardly a run moves a tree

    folder = posixpath.dirname(beside)
    path = posixpath.join(folder, f".{secrets.token_hex(8)}.tar")
    await host.write(path, content, mode="0600")
    try:
        yield path
    finally:
        await host.ask("remove", path=path)


def packed(files: Mapping[str, str]) -> str:
    """Returns a plain tar archive (POSIX ustar) of some small files, for samples."""
    blocks = []
    for name, content in files.items():
        body = raw(content)
        head = name.encode().ljust(100, b"\0")
        head += b"0000644\0" + b"0000000\0" * 2 + f"{len(body):011o}\0".encode() + b"0" * 11 + b"\0"
        head += b" " * 8 + b"0" + b"\0" * 100 + b"ustar\x0000"
        head = head.ljust(512, b"\0")
        head = head[:148] + f"{sum(head):06o}\0 ".encode() + head[156:]
        blocks += [head, body + b"\0" * (-len(body) % 512)]
    return text(b"".join(blocks) + b"\0" * 1024)
