"""Sees the machines, with as few questions as possible (DESIGN, section 9).

What the record knows of a host is looked at, one batch for each type, before the workflow
asks; a call waits for its own type only. An observation serves for ``max_age`` seconds and only
while nothing that may touch it has been started since. After that, a miss fetches a window
of the recorded order, which doubles with each hit.
"""

import asyncio
import contextlib
import math
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import SlothError
from sloth_runner.core.host import FileStat, Host, ReadOnlyHost, Request
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.resource import Resource, Touches
from sloth_runner.core.values import State
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.touched import Touched

FIRST_WINDOW = 8
Seen = State | Exception | None


class _Kept(Struct):
    """What was seen of ``resource``, by a look that began at ``at``, after ``began`` operations."""

    resource: Resource
    seen: Seen
    at: float
    began: int


class Observations:
    """The observations of one run."""

    def __init__(
        self,
        machines: Machines,
        *,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machines = machines
        self._max_age = max_age
        self._clock = clock
        self._recorded: dict[Address, Resource] = {}
        self._order: dict[str, list[Address]] = {}
        self._place: dict[Address, int] = {}
        self._kept: dict[Address, _Kept] = {}
        self._sources: dict[str, tuple[FileStat | None, float, int]] = {}
        self._count = 0
        self._touched: dict[str, Touched] = {}
        self._distrusted: dict[str, Touched] = {}
        self._real: dict[tuple[str, str], str] = {}
        self._linked = False
        self._window: dict[str, int] = {}
        self._ahead_of_calls: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._sources_ahead: asyncio.Task[None] | None = None

    def start(self, order: Iterable[Address], sources: Sequence[str]) -> None:
        """Says in which order things were recorded; looks at the controller's files they are of."""
        for address in order:
            known = self._order.setdefault(address.host, [])
            self._place[address] = len(known)
            known.append(address)
        if sources:
            self._sources_ahead = asyncio.create_task(self._fetch_sources(sources))

    def begin(self, recorded: Mapping[Address, Resource]) -> None:
        """Begins to look at all resources of one type that rows describe."""
        self._recorded |= recorded
        by_host: dict[tuple[str, str], list[tuple[Address, Resource]]] = {}
        for address, resource in recorded.items():
            by_host.setdefault((address.host, resource.type), []).append((address, resource))
        for key, wanted in by_host.items():
            self._ahead_of_calls[key] = asyncio.create_task(self._look(key[0], wanted))

    def know(self, address: Address, resource: Resource) -> None:
        """Adds a resource that the record describes, once it can be rebuilt."""
        self._recorded[address] = resource

    def recorded(self, address: Address) -> Resource | None:
        """Returns the resource that the record describes at ``address``, rebuilt from its row."""
        return self._recorded.get(address)

    async def get(self, host: str, resources: Sequence[tuple[Address, Resource]]) -> list[Seen]:
        """Observes resources of one type, from what is kept where that still serves."""
        if resources and (host, resources[0][1].type) in self._ahead_of_calls:
            await self._settled(host, resources[0][1].type)
        missing = [
            (address, resource)
            for address, resource in resources
            if not self._serves(address, resource)
        ]
        if missing:
            await self._fetch(host, missing + self._ahead(host, missing))
        else:
            self._window[host] = min(4096, self._window.get(host, FIRST_WINDOW) * 2)
        return [self._kept[address].seen for address, _ in resources]

    async def fresh(
        self,
        host: str,
        resources: Sequence[tuple[Address, Resource]],
        *,
        since: float = math.inf,
    ) -> list[Seen]:
        """Observes resources now; what was seen after ``since``, and still serves, is kept.

        ``since`` is on the clock, in seconds: when the call that asks began. A look that was
        under way by then does not count.
        """
        stale = [
            (address, resource)
            for address, resource in resources
            if not (self._serves(address, resource) and self._kept[address].at >= since)
        ]
        if stale:
            await self._fetch(host, stale)
        return [self._kept[address].seen for address, _ in resources]

    async def source(self, path: str) -> FileStat | None:
        """Returns the stat with SHA-256 of a file of the controller, following links."""
        if self._sources_ahead is not None:
            await asyncio.shield(self._sources_ahead)
            self._sources_ahead = None
        kept = self._sources.get(path)
        local = self._machines.controller.name
        if (
            kept is None
            or self._clock() - kept[1] > self._max_age
            or self._touched_since(local, kept[2], path)
            or self._is_distrusted(local, path)
        ):
            began, at = self._count, self._clock()
            await self.resolve(local, [path])
            stat = await self._machines.controller.stat(path, follow=True, digest=True)
            kept = self._sources[path] = (stat, at, began)
        return kept[0]

    def invalidate(self, host: str, touches: Touches) -> None:
        """Says that something that may touch ``touches`` of a host starts or ends now."""
        self._touch(host, self.resolved(host, touches))

    def distrust(self, host: str, touches: Touches) -> None:
        """Says that ``touches`` may be changed from now on at times that nobody tells."""
        touches = self.resolved(host, touches)
        self._touch(host, touches)
        self._distrusted.setdefault(host, Touched()).mark(touches, self._count)

    def _touch(self, host: str, touches: Touches) -> None:
        """Marks what is touched, given under all its names; where they lead is forgotten."""
        self._count += 1
        if touches.paths is None:
            self._window[host] = FIRST_WINDOW
        self._touched.setdefault(host, Touched()).mark(touches, self._count)
        self._forget_links(host, touches)

    async def resolve(self, host: str, paths: Iterable[str]) -> None:
        """Finds out where paths lead, so that two names of one file are known as one.

        Of most paths that is asked of the directory only: a link at the end is the thing.
        """
        wanted = sorted({path for path in paths if (host, path) not in self._real})
        if wanted:
            machine = ReadOnlyHost(self._machines.host(host))
            found = await machine.perform([Request("resolve", {"path": path}) for path in wanted])
            for path, real in zip(wanted, found, strict=True):
                self._real[(host, path)] = path if isinstance(real, Exception) else real
                self._linked = self._linked or self._real[(host, path)] != path

    def located(self, host: str, resources: Sequence[Resource]) -> bool:
        """Whether it is known already where these resources, of one type, are (``locate``)."""
        first = resources[0]
        if first.place is None:
            return True
        if first.spreads or (host, first.type) in self._ahead_of_calls:
            return False
        where, known = LOCAL if first.on_controller else host, self._real
        for resource in resources:
            for way in _ways_to(resource, resource.place):
                if (where, way) not in known:
                    return False
        return True

    async def locate(self, host: str, resources: Sequence[Resource]) -> None:
        """Finds out where these resources, of one type, are (``place``), unless that is known.

        Of one that ``spreads`` it is asked where all are that the record has.
        """
        first = resources[0]
        if first.place is None:
            return
        await self._settled(host, first.type)
        where = LOCAL if first.on_controller else host
        beside = self._recorded.items() if first.spreads else ()
        wanted = [*resources, *(other for address, other in beside if address.host == host)]
        with contextlib.suppress(SlothError):  # it will be told of what is looked at
            await self.resolve(where, [path for r in wanted for path in _ways_to(r, r.place)])

    def place(self, host: str, resource: Resource) -> str | None:
        """Returns where the place of a resource is, as far as that is known."""
        path = resource.place
        if path is None or not self._linked:
            return path
        where = LOCAL if resource.on_controller else host
        return self._led(where, path, follow=getattr(resource, "follow", False))

    def _led(self, host: str, path: str, *, follow: bool) -> str:
        """Returns what a path leads to, as far as that is known."""
        real = self._real.get((host, path)) if follow else None
        if real is not None:
            return real
        folder, name = posixpath.split(path)
        return posixpath.join(self._real.get((host, folder), folder), name)

    def names(self, host: str, path: str) -> tuple[str, ...]:
        """Returns a path and, where that is known and another, what it leads to."""
        real = self._led(host, path, follow=True) if self._linked else path
        return (path,) if real == path else (path, real)

    def resolved(self, host: str, touches: Touches) -> Touches:
        """Returns what is touched under all names that are known of it."""
        return touches.under(lambda path: self.names(host, path))

    def _forget_links(self, host: str, touches: Touches) -> None:
        """Forgets where paths lead that may lead elsewhere now."""
        if touches.paths is None:
            self._real = {key: real for key, real in self._real.items() if key[0] != host}
            return
        for key in [k for k in self._real if k[0] == host]:
            if any(f"{key[1]}/".startswith(f"{path}/") for path in touches.paths):
                del self._real[key]

    def disturbed(self, host: str, resource: Resource) -> bool:
        """Whether anything was said to be touched, since the start, that may be ``resource``."""
        return self._sees_since(host, 0, resource)

    async def close(self) -> None:
        """Stops looking ahead."""
        tasks = [*self._ahead_of_calls.values()]
        if self._sources_ahead is not None:
            tasks.append(self._sources_ahead)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _serves(self, address: Address, resource: Resource) -> bool:
        kept = self._kept.get(address)
        return (
            kept is not None
            and self._clock() - kept.at <= self._max_age
            and not self._is_stale(address.host, kept.began, resource)
            and (
                kept.resource == resource
                or kept.resource.observation_key == resource.observation_key
            )
        )

    def _ahead(
        self, host: str, missing: Sequence[tuple[Address, Resource]]
    ) -> list[tuple[Address, Resource]]:
        """Chooses what to fetch beside a miss: the window that follows it in recorded order."""
        last = self._place.get(missing[-1][0])
        if last is None:
            return []
        asked = {address for address, _ in missing}
        window = self._order[host][last + 1 : last + 1 + self._window.get(host, FIRST_WINDOW)]
        return [
            (address, self._recorded[address])
            for address in window
            if address in self._recorded
            and address not in asked
            and not self._serves(address, self._recorded[address])
        ]

    async def _settled(self, host: str, type_name: str) -> None:
        """Waits for the look that was begun before anyone asked."""
        look = self._ahead_of_calls.get((host, type_name))
        if look is not None:
            await asyncio.shield(look)
            self._ahead_of_calls.pop((host, type_name), None)

    async def _fetch_sources(self, paths: Sequence[str]) -> None:
        began, at = self._count, self._clock()
        answers = await self._machines.controller.perform(
            [Request("stat", {"path": p, "follow": True, "digest": True}) for p in paths]
        )
        for path, answer in zip(paths, answers, strict=True):
            if not isinstance(answer, Exception):
                stat = answer if answer is None else FileStat(**answer)
                self._sources[path] = (stat, at, began)

    async def _fetch(self, host: str, wanted: Sequence[tuple[Address, Resource]]) -> None:
        """Observes ``wanted``, again where something that may touch it began meanwhile."""
        pending = list(wanted)
        while pending:
            began = self._count
            await self._look(host, pending)
            pending = [
                (address, resource)
                for address, resource in pending
                if self._sees_since(host, began, resource)
            ]

    async def _look(self, host: str, wanted: Sequence[tuple[Address, Resource]]) -> None:
        """Observes ``wanted`` once, the types side by side."""
        began, at = self._count, self._clock()
        try:
            machine = ReadOnlyHost(self._machines.host(host))
        except SlothError as error:
            self._keep(wanted, [error] * len(wanted), began, at)
            return
        await self.resolve(host, _links_of(resource for _, resource in wanted))
        first, *others = _by_type(wanted)
        if others:
            await asyncio.gather(
                *(self._observe(machine, group, began, at) for group in (first, *others))
            )
        else:
            await self._observe(machine, first, began, at)

    async def _observe(
        self, machine: Host, group: Sequence[tuple[Address, Resource]], began: int, at: float
    ) -> None:
        cls = type(group[0][1])
        try:
            looking = cls.observe_many(machine, [r for _, r in group])
            seen: list[Seen] = await answer_of(cls, looking)
        except SlothError as error:
            seen = [error] * len(group)
        self._keep(group, seen, began, at)

    def _keep(
        self,
        group: Sequence[tuple[Address, Resource]],
        seen: Sequence[Seen],
        began: int,
        at: float,
    ) -> None:
        for (address, resource), state in zip(group, seen, strict=True):
            self._kept[address] = _Kept(resource, state, at, began)

    def _is_stale(self, host: str, began: int, resource: Resource) -> bool:
        """Whether what was observed may be other by now."""
        if self._sees_since(host, began, resource):
            return True
        return host in self._distrusted and any(
            self._is_distrusted(host, path) for path in resource.looked_at
        )

    def _sees_since(self, host: str, count: int, resource: Resource) -> bool:
        return host in self._touched and any(
            self._touched_since(host, count, path) for path in resource.looked_at
        )

    def _is_distrusted(self, host: str, path: str | None) -> bool:
        return self._latest(self._distrusted, host, path) > 0

    def _touched_since(self, host: str, count: int, path: str | None) -> bool:
        return self._latest(self._touched, host, path) > count

    def _latest(self, marked: dict[str, Touched], host: str, path: str | None) -> int:
        touched = marked.get(host)
        if touched is None:
            return 0
        if path is None:
            return touched.latest(None)
        return max(touched.latest(name) for name in self.names(host, path))


def _links_of(resources: Iterable[Resource]) -> Iterator[str]:
    """Yields what has to be resolved of the paths of resources."""
    for resource in resources:
        yield from _ways_to(resource, resource.path)
        yield from resource.sees


def _ways_to(resource: Resource, path: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    folder = path.rpartition("/")[0] or "/"
    return (folder, path) if getattr(resource, "follow", False) else (folder,)


def _by_type(
    wanted: Sequence[tuple[Address, Resource]],
) -> list[list[tuple[Address, Resource]]]:
    groups: dict[type[Resource], list[tuple[Address, Resource]]] = {}
    for address, resource in wanted:
        groups.setdefault(type(resource), []).append((address, resource))
    return list(groups.values())
