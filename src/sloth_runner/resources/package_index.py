"""``pkg.update``: refreshes what the host knows of its package sources."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from sloth_runner.core.errors import TaskError
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.resource import Action, Function, declare
from sloth_runner.core.schema import Content, Doc, Seconds
from sloth_runner.core.values import Value
from sloth_runner.resources import _aptget

_LISTS = "/var/lib/apt/lists"
# Where apt's own timer notes that it has succeeded, see apt.conf(5), APT::Periodic.
_STAMPS = "/var/lib/apt/periodic"
_STAMP = f"{_STAMPS}/update-success-stamp"
_SOURCES = "/etc/apt/sources.list"
_SOURCES_FOLDER = "/etc/apt/sources.list.d"
_SECOND = 1_000_000_000


@declare(
    "package_index",
    Function(
        name="pkg.update",
        doc="Refreshes the package index, at most once in a run.",
        first="cache_valid_time",
    ),
)
class PackageIndex(Action, frozen=True, kw_only=True):
    """The refresh of the package index (``apt-get update``), which installs nothing.

    It fails unless every source answered. It is not done where the index is younger than
    ``cache_valid_time`` and no source has changed since.
    """

    cache_valid_time: Annotated[
        Seconds | None, Doc("How old the index may be without being refreshed.")
    ] = None
    lock_timeout: Annotated[
        Seconds, Doc("How long to wait while others use the package system.")
    ] = _aptget.LOCK_TIMEOUT

    once_per_run: ClassVar[bool] = True
    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({}, {"cache_valid_time": "1h"})

    @property
    def title(self) -> str:
        return "apt"

    @property
    def predictable(self) -> Mapping[str, Value]:
        return {"updated": True}

    async def guarded(self, host: Host) -> str | None:
        """Says how old the index is where that is young enough."""
        if self.cache_valid_time is None:
            return None
        refreshed = await _newest(host, [_STAMP, _LISTS])
        names = await host.ask("list", path=_SOURCES_FOLDER) or []
        folder = [f"{_SOURCES_FOLDER}/{name}" for name in names]
        changed = await _newest(host, [_SOURCES, _SOURCES_FOLDER, *folder])
        if not refreshed or changed > refreshed or await _is_empty(host):
            return None
        # The clock of the host, not that of the controller, is what its files go by.
        now = int((await host.command("date", "+%s")).stdout)
        age = now - refreshed // _SECOND
        if age >= self.cache_valid_time:
            return None
        return f"the package index is {max(0, age)} s old"

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Refreshes the index; raises TaskError unless all of it arrived."""
        await _aptget.query(host, ())
        await _aptget.refresh(host, (), self.lock_timeout)
        # apt leaves its own times alone where the servers had nothing new.
        if await host.stat(_STAMPS, follow=True) is not None:
            await host.write(_STAMP, Content.of(""), mode="0644")
        return {"updated": True}


async def _newest(host: Host, paths: list[str]) -> int:
    """Returns the latest modification time of those of ``paths`` that exist, in nanoseconds."""
    answers = await host.perform(
        [Request("stat", {"path": path, "follow": True, "digest": False}) for path in paths]
    )
    for answer in answers:
        if isinstance(answer, TaskError):
            raise answer
    stats = [FileStat(**answer) for answer in answers if answer is not None]
    return max((stat.mtime_ns for stat in stats), default=0)


async def _is_empty(host: Host) -> bool:
    """Whether no index has ever been fetched, or it has been cleaned away."""
    names = await host.ask("list", path=_LISTS) or []
    return not set(names) - {"lock", "partial", "auxfiles"}
