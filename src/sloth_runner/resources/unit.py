"""``unit``: a unit file of systemd that the manager has read."""

import posixpath
import re
from collections.abc import Container, Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import structs

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import HostError, ParamError, Refused, TaskError
from sloth_runner.core.host import Command, FileStat, Host, tail
from sloth_runner.core.resource import (
    EVERYTHING,
    Function,
    Origin,
    Resource,
    Touches,
    declare,
)
from sloth_runner.core.schema import Content, Doc, Mode, Seconds
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _files, _systemd
from sloth_runner.resources._files import described
from sloth_runner.resources._systemd import Unit
from sloth_runner.resources._text import content_diff

_FOLDER = "/etc/systemd/system"
# Where a unit of the same name remains when ours is removed, systemd.unit(5).
_OTHERS = (
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_PLAIN = "sha256:"
_MODE = Mode("0644")
_DROP_IN = re.compile(r"(?P<unit>[^/]+)\.d/[A-Za-z0-9_][A-Za-z0-9_.@-]*\.conf")


@declare(
    "unit",
    Function(
        name="systemd.unit",
        doc="Keeps a unit file, and the manager aware of what it says.",
        rename={"sensitive": "hide"},
    ),
)
class UnitFile(Resource, frozen=True, kw_only=True):
    """Keeps a file below /etc/systemd/system, and has systemd read it when that is needed.

    The manager reloads only where it would otherwise go on with what it read before, also
    after a run that was killed in between. The unit is neither started nor enabled: that is
    ``systemd.ensure``. When the file of a unit is to be absent, the unit is stopped and
    disabled with it, unless another file of that name remains, as for a package's unit that
    was overridden.

    ```lua
    systemd.unit({
        name = "nap",
        content = "[Service]\\nExecStart=/bin/sleep infinity\\n",
    })
    systemd.unit({
        name = "cron.service.d/nice.conf",
        content = "[Service]\\nNice=5\\n",
    })
    ```
    """

    name: Annotated[
        str,
        Doc('The unit, "app" or "app.timer", or a part of one: "app.service.d/x.conf".', key=True),
    ]
    content: Annotated[Content | None, Doc("The unit file, systemd.unit(5).", private=True)] = None
    mode: Annotated[Mode, Doc("Permission bits of the file.")] = _MODE
    state: Annotated[Literal["present", "absent"], Doc("Whether it is there.")] = "present"
    timeout: Annotated[Seconds, Doc("How long a unit may take to stop when it is removed.")] = (
        _systemd.TIMEOUT
    )
    hide: Annotated[
        bool | None,
        Doc("Never show or store the content in plain. By default so where others may not read."),
    ] = None

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "sloth-nap", "content": "[Service]\nExecStart=/bin/sleep infinity\n"},
        {"name": "sloth-nap@.service", "content": "[Service]\nExecStart=/bin/sleep %i\n"},
        {"name": "cron.service.d/sloth.conf", "content": "[Service]\nNice=5\n", "mode": "0600"},
        {"name": "sloth-gone.timer", "state": "absent"},
    )

    def __post_init__(self) -> None:
        if "/" not in self.name:
            structs.force_setattr(self, "name", _systemd.full_name(self.name))

    def check(self) -> None:
        """Refuses what cannot be a unit file, and a file without content."""
        if "/" in self.name and not _DROP_IN.fullmatch(self.name):
            raise ParamError(
                f"{self.name!r} is not the name of a unit file",
                hint='a part of a unit is named like "app.service.d/limits.conf"',
            )
        _systemd.check_name(self.unit, template=True)
        if self.unit != _systemd.full_name(self.unit):
            raise ParamError(f"{self.name!r} does not name a unit with its type")
        if (self.content is None) != (self.state == "absent"):
            needed = 'content is required, or state = "absent"'
            raise ParamError(needed if self.content is None else 'content and state = "absent"')

    @property
    def unit(self) -> str:
        """The unit that the file is about."""
        drop_in = _DROP_IN.fullmatch(self.name)
        return drop_in["unit"] if drop_in else self.name

    @property
    def _concerned(self) -> str:
        """The unit that the file is about; "app-.service.d" is about "app-*.service"."""
        stem, _, kind = self.unit.rpartition(".")
        prefix = self.unit != self.name and stem.endswith("-")
        return f"{stem}*.{kind}" if prefix else self.unit

    @property
    def path(self) -> str:
        return f"{_FOLDER}/{self.name}"

    @property
    def touches(self) -> Touches:
        return EVERYTHING  # what the manager reads changes its units

    @property
    def part_of_file(self) -> bool:
        return False

    @property
    def sensitive(self) -> frozenset[str]:
        return self.sensitive_beside(None)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        return _files.hidden_content(self.hide, self.mode, (actual or {}).get("mode"))

    @property
    def observation_key(self) -> Hashable:
        return (self.name, self.state)

    def desired(self) -> State | None:
        if self.content is None:
            return None
        return {"content": _PLAIN + self.content.sha256, "mode": self.mode, "loaded": True}

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        """Looks at all files in one round trip, and asks the manager once for their units."""
        others = [r for r in resources if r.state == "absent"]
        paths = [r.path for r in resources] + [p for r in others for p in r._elsewhere()]
        stats = await host.stats(
            [{"path": path, "follow": False, "digest": True} for path in paths]
        )
        units = await _units(host, [r._concerned for r in resources])
        overridden = {path for path, stat in zip(paths, stats, strict=True) if stat is not None}
        return [
            stat
            if isinstance(stat, HostError)
            else file._seen(stat, units[file._concerned], overridden)
            for file, stat in zip(resources, stats, strict=False)
        ]

    def _elsewhere(self) -> list[str]:
        """Returns where else a unit of this name may come from."""
        return [f"{folder}/{self.name}" for folder in _OTHERS] if self.unit == self.name else []

    def _seen(
        self, stat: FileStat | None, units: Sequence[Unit], paths: Container[str]
    ) -> State | None:
        if stat is None:
            # Gone, and yet the manager goes on with what it has read of it.
            left = self.state == "absent" and any(self._is_read_by(unit) for unit in units)
            return {"loaded": False} if left else None
        content = _PLAIN + (stat.sha256 or "") if stat.kind == "file" else described(stat)
        state: State = {"content": content, "mode": stat.mode}
        if self.state == "present":
            return {**state, "loaded": self._loaded(units)}
        if self.unit == self.name and not any(path in paths for path in self._elsewhere()):
            state["started"] = sorted(unit.id for unit in units if unit.is_up)
            state["enabled"] = sorted(unit.id for unit in units if unit.enabled is True)
        return state

    def _loaded(self, units: Sequence[Unit]) -> bool | str:
        """Whether the manager goes by the file; what it says of it where it does not."""
        idle = {"masked"} | ({"not-found"} if self.unit != self.name else set())
        for unit in units:
            if unit.needs_reload:
                return False
            if unit.load == "loaded" and not self._is_read_by(unit):
                if any(posixpath.basename(path) == self._file for path in unit.drop_ins):
                    continue  # one of the same name that is nearer to the unit stands for it
                return False  # NeedDaemonReload overlooks new files that add to a unit
            if unit.load != "loaded" and unit.load not in idle:
                return unit.load
        return True

    @property
    def _file(self) -> str:
        return posixpath.basename(self.path)

    def _is_read_by(self, unit: Unit) -> bool:
        return self.path == unit.fragment or self.path in unit.drop_ins

    def plan_check(self, actual: State | None) -> None:
        found = (actual or {}).get("content", _PLAIN)
        if not found.startswith(_PLAIN):
            hint = "remove it first with file_ops.remove"
            if found == "a link to /dev/null":
                hint = "the unit is masked: systemd.ensure with masked = false allows it again"
            raise _files.wrong_kind(self.path, found, "a unit file", hint)

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return (self.path,) if actual is not None and "content" in actual else ()

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        if self.content is None:
            return {}
        return await content_diff(host, self.path, self.content, change)

    async def apply(self, host: Host, change: Diff) -> None:
        if self.content is not None and (change.kind == "create" or "content" in change):
            await self._write(host, self.content, self.mode)
        elif "mode" in change:
            await host.ask("attributes", path=self.path, mode=self.mode)
        await self._have_read(host)

    async def _write(self, host: Host, content: Content, mode: str) -> None:
        if self.unit != self.name:
            folder = posixpath.dirname(self.path)
            if await host.stat(folder) is None:
                await host.ask("mkdir", path=folder, mode="0755")
        await host.write(self.path, content, mode=mode)

    async def _have_read(self, host: Host) -> None:
        """Has the manager reload where it must; raises TaskError for what it cannot read."""
        units = (await _units(host, [self._concerned]))[self._concerned]
        loaded = self._loaded(units)
        if loaded is not True:
            # Also what it could not load: that it failed before may be all that was wrong.
            await _systemd.daemon_reload(host)
            units = (await _units(host, [self._concerned]))[self._concerned]
            loaded = self._loaded(units)
        if isinstance(loaded, str):
            verify = Command(argv=("systemd-analyze", "verify", self.path))
            found = await host.run(verify)
            hidden = [self.path] if self.sensitive_beside(None) else []
            told = await _systemd.discreet(host, tail(found.stderr), hidden)
            raise TaskError(
                f"systemd cannot use {self.path}: {units[0].error or loaded}",
                facts={"host": host.name, "systemd-analyze verify": told},
                effects=(f"{self.path} is written as declared",),
            )

    async def destroy(self, host: Host) -> None:
        """Removes the file; its unit is stopped and disabled first, if nothing else brings it."""
        [stat, *others] = await host.stats(
            [{"path": p, "follow": False} for p in (self.path, *self._elsewhere())],
        )
        if isinstance(stat, FileStat) and stat.kind != "file":
            raise _files.wrong_kind(
                self.path, described(stat), "the unit file that was managed", "remove it by hand"
            )
        units = (await _units(host, [self._concerned]))[self._concerned]
        if self.unit == self.name and not any(others):
            for unit in units:
                await self._put_down(host, unit)
        await host.ask("remove", path=self.path)
        folder = posixpath.dirname(self.path)
        if folder != _FOLDER and not await _files.names_in(host, folder):
            await host.ask("remove", path=folder)
        units = (await _units(host, [self._concerned]))[self._concerned]
        if any(unit.needs_reload or self._is_read_by(unit) for unit in units):
            await _systemd.daemon_reload(host)

    async def _put_down(self, host: Host, unit: Unit) -> None:
        if unit.is_up or unit.active in ("activating", "deactivating"):
            await _systemd.stop(host, unit.id, self.timeout)
        if unit.enabled is True:
            await _systemd.systemctl(host, "disable", "--", unit.id)
        if unit.active == "failed":
            await _systemd.systemctl(host, "reset-failed", "--", unit.id, check=False)

    async def revert(self, host: Host, origin: Origin) -> None:
        before = origin.actual
        if before is None:
            return await self.destroy(host)
        saved = origin.saved.get(self.path)
        if saved is None:
            raise Refused(f"the old content of {self.path} was not kept, so it cannot be put back")
        await self._write(host, saved, before["mode"])
        await self._have_read(host)
        for name in before.get("enabled", ()):
            await _systemd.systemctl(host, "enable", "--", name)
        for name in before.get("started", ()):
            await _systemd.bring_up(host, name, "start", self.timeout)
        return None


async def _units(host: Host, names: Sequence[str]) -> Mapping[str, Sequence[Unit]]:
    """Returns the units of each name: one, or for a template or pattern those that are in use."""
    several = {name: name.replace("@.", "@*.") for name in names if "@." in name or "*" in name}
    plain = [name for name in names if name not in several]
    found: dict[str, Sequence[Unit]] = {}
    for name, unit in zip(plain, await _systemd.show(host, plain), strict=True):
        found[name] = [unit]
    known = await _systemd.matching(host, list(several.values()))
    for name, pattern in several.items():
        before, _, after = pattern.partition("*")
        found[name] = [u for u in known if u.id.startswith(before) and u.id.endswith(after)]
    return found
