"""A place to try a resource on this machine: what the engine does with one, spelled out."""

import asyncio
import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sloth_runner.core.host import ReadOnlyHost
from sloth_runner.core.resource import Origin, Resource
from sloth_runner.core.values import State
from sloth_runner.hosts.local import LocalHost

Snapshot = dict[str, tuple[Any, ...]]
USER, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
"""Whose the files are that a test makes."""


class Bench:
    """This machine, seen through its own ``Host``; ``saved`` keeps the pre-images."""

    def __init__(self, host: LocalHost, saved: Path) -> None:
        self.host = host
        self.saved = saved

    def observe(self, resource: Resource) -> State | None:
        """Looks, with no leave to do anything else."""
        return asyncio.run(resource.observe(ReadOnlyHost(self.host)))

    def preview(self, resource: Resource) -> dict[str, str]:
        """Asks everything that a preview asks, and returns the text diffs."""
        return asyncio.run(self._preview(resource))

    def converge(self, resource: Resource) -> Origin:
        """Makes it match, as a run does; returns what was there before."""
        return asyncio.run(self._converge(resource))

    def destroy(self, resource: Resource) -> None:
        """Removes it."""
        asyncio.run(resource.destroy(self.host))

    def revert(self, resource: Resource, origin: Origin) -> None:
        """Brings back what was there before."""
        asyncio.run(resource.revert(self.host, origin))

    def changes(self, resource: Resource) -> list[str]:
        """The names of the properties that differ now."""
        return [change.property for change in resource.diff(self.observe(resource)).changes]

    async def _preview(self, resource: Resource) -> dict[str, str]:
        looking = ReadOnlyHost(self.host)
        seen = await resource.observe(looking)
        change = resource.diff(seen)
        if not change:
            return {}
        resource.plan_check(seen)
        await resource.preview_check(looking, seen, change)
        return dict(await resource.text_diff(looking, change))

    async def _converge(self, resource: Resource) -> Origin:
        looking = ReadOnlyHost(self.host)
        seen = await resource.observe(looking)
        change = resource.diff(seen)
        if not change:
            return Origin(actual=seen)
        resource.plan_check(seen)
        await resource.preview_check(looking, seen, change)
        saved = {}
        for number, path in enumerate(resource.saves(seen)):
            place = self.saved / f"{len(list(self.saved.iterdir()))}-{number}"
            saved[path] = await looking.fetch(path, str(place))
        [error] = await type(resource).apply_many(self.host, [(resource, change)])
        if error is not None:
            raise error
        after = await resource.observe(looking)
        assert not resource.diff(after), (resource.desired(), after)
        return Origin(actual=seen, saved=saved)


@contextmanager
def bench(saved: Path) -> Iterator[Bench]:
    """Gives a bench whose pre-images lie in the folder ``saved``."""
    host = LocalHost()
    try:
        yield Bench(host, saved)
    finally:
        host.close()


def snapshot(top: Path) -> Snapshot:
    """Everything at and below ``top`` that an undo must bring back."""
    if not top.exists() and not top.is_symlink():
        return {}
    return {str(path): _facts(path) for path in [top, *sorted(top.rglob("*"))]}


def _facts(path: Path) -> tuple[Any, ...]:
    stat = path.lstat()
    owned = (oct(stat.st_mode), stat.st_uid, stat.st_gid)
    if path.is_symlink():
        return (*owned, path.readlink())
    return (*owned, path.read_bytes()) if path.is_file() else owned
