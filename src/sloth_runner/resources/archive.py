"""The content of a tar archive, unpacked."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import field, structs

from sloth_runner.core import values
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.paths import is_below, upwards
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Content, Doc, Mode, Path
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _files, _trees
from sloth_runner.resources._files import SAMPLES, described, set_only
from sloth_runner.resources.directory import Directory

_DONE = "unpacked"
_MISSING, _CHANGED, _IN_THE_WAY = "missing", "changed", "in the way"
_WHOLE, _EDITED, _BELOW = "whole", "edited", "below"
"""What another line decides: all of a path, its content, and this of everything below it too."""
Member = Mapping[str, Any]


@declare(
    "archive",
    Function(
        name="file_ops.unarchive",
        by_path=True,
        doc="Unpacks a tar archive into a directory.",
        first="src",
        source="src",
        preset={"others": {}},
    ),
)
class Archive(Resource, frozen=True, kw_only=True):
    """Keeps the content of a tar archive (plain, gz, bz2 or xz) unpacked in a directory.

    Every file of the archive is compared with what is there, by its bytes; with ``creates``,
    only that path is looked for. The directory must exist. An archive that would write
    outside of it (absolute names, ``..``, links, devices) is refused, in the preview too.
    Removing takes away what the archive holds, and nothing else.

    What other lines declare of it is theirs. Of a file in which one keeps a line or a block
    it sees to it only that it is there. What one declares as a whole, a file, a link or that
    it is not there, it leaves alone. Directories decide the modes and owners that they give,
    with ``recurse`` those of all below them.

    ```lua
    file_ops.directory("/tmp/sloth-sample/app")
    file_ops.content({ path = "/tmp/sloth-sample/app/ready", content = "" })
    file_ops.unarchive({
        archive = "/tmp/sloth-sample/app.tar.gz",
        dest = "/tmp/sloth-sample/app",
        creates = "/tmp/sloth-sample/app/ready",
    })
    ```
    """

    dest: Annotated[Path, Doc("The directory to unpack into.", key=True)]
    src: Annotated[
        Content | None, Doc("The archive, a file of the controller. This or `archive` is required.")
    ] = None
    archive: Annotated[Path | None, Doc("The archive, a file that is on the host already.")] = None
    creates: Annotated[
        Path | None, Doc("A path that exists once it is unpacked: then nothing is compared.")
    ] = None
    mode: Annotated[
        Mode | None, Doc("Mode of all directories. By default as in the archive when it is made.")
    ] = None
    file_mode: Annotated[
        Mode | None, Doc("Mode of all files. By default each has that of the archive.")
    ] = None
    owner: Annotated[Account | None, Doc("Owner of everything unpacked, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group of everything unpacked, by name or number.")] = None
    id: Annotated[
        str | None, Doc("Added to the name, where several archives go into one directory.")
    ] = None
    others: Annotated[
        dict[str, Value], Doc("What other lines decide, by path; the program finds it.")
    ] = field(default_factory=dict)

    follow: ClassVar[bool] = True
    """Where ``dest`` is a link, it is unpacked into what that leads to."""

    samples: ClassVar = ({"dest": f"{SAMPLES}/into", "archive": f"{SAMPLES}/app.tar"},)
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/into/other": "stays\n",
        f"{SAMPLES}/app.tar": _trees.packed({"app/run": "#!/bin/sh\n", "app/data": "\udcff"}),
    }

    @property
    def name(self) -> str:
        return self.dest if self.id is None else f"{self.dest}#{self.id}"

    @property
    def path(self) -> str:
        return self.dest

    @property
    def spreads(self) -> bool:
        return True

    def among(self, others: Iterable[Resource]) -> "Archive":
        found: dict[str, dict[str, Value]] = {}
        for other in others:
            path, part = other.place or "", _part_of(other)
            around = part.get(_BELOW) and _WHOLE not in part and path in upwards(self.dest)
            if around or is_below(path, self.dest):
                found.setdefault(path, {}).update(part)
        return structs.replace(self, others=found)

    @property
    def sees(self) -> tuple[str, ...]:
        return tuple(path for path in (self.archive, self.creates) if path is not None)

    def check(self) -> None:
        if (self.src is None) == (self.archive is None):
            raise ParamError("give 'src', a file of the controller, or 'archive', one of the host")
        if self.src is not None and self.src.path is None:
            raise ParamError("parameter 'src': expected a file of the controller")

    @property
    def observation_key(self) -> Hashable:
        source = self.archive if self.src is None else self.src.sha256
        attributes = (self.mode, self.file_mode, self.owner, self.group)
        return (self.dest, source, self.creates, attributes, values.encode(self.others))

    def desired(self) -> State:
        return {"members": _DONE}

    async def observe(self, host: Host) -> State | None:
        if self.creates is not None and await host.stat(self.creates, follow=True) is not None:
            return {"members": _DONE}
        pairs = await self._found(host, await self._members(host, own=True))
        left: dict[str, list[Any]] = {}
        for member, stat in pairs:
            what = self._difference(member, stat)
            if what == _CHANGED and stat is not None:
                left.setdefault(what, []).append([member["name"], _noted(stat)])
            elif what is not None:
                left.setdefault(what, []).append(member["name"])
        there = any(stat for member, stat in pairs if member["kind"] != "directory")
        if left and not there and _IN_THE_WAY not in left:
            return None
        return {"members": left or _DONE}

    def _difference(self, member: Member, stat: FileStat | None) -> str | None:
        if stat is None:
            return _MISSING
        if (stat.kind == "directory") != (member["kind"] == "directory"):
            return _IN_THE_WAY
        if member.get("implied"):
            return None  # it is made where it is missing, and not the archive's beyond that
        wanted = {"kind": member["kind"], **self._wanted(member)}
        if member["kind"] == "file" and not self._decided(member).get(_EDITED):
            wanted |= {"sha256": member["sha256"]}
        if member["kind"] == "link":
            wanted |= {"target": member["target"]}
        seen = {
            "kind": stat.kind,
            "sha256": stat.sha256,
            "target": stat.target,
            **_files.attributes_of(stat, self.owner, self.group),
        }
        return None if all(seen[name] == value for name, value in wanted.items()) else _CHANGED

    def _wanted(self, member: Member) -> dict[str, str]:
        """Returns the mode and owners that a member is to have, but for what others decide."""
        own = {"mode": _plain_mode(member["mode"])} if member["kind"] == "file" else {}
        wanted, theirs = own | self._attributes(member), self._decided(member)
        return {name: value for name, value in wanted.items() if name not in theirs}

    def _attributes(self, member: Member) -> dict[str, str]:
        """Returns the mode and owners that the parameters give to a member."""
        modes = {"directory": self.mode, "file": self.file_mode}
        return set_only(mode=modes.get(member["kind"]), owner=self.owner, group=self.group)

    def _decided(self, member: Member) -> dict[str, Value]:
        """Returns what other lines decide of a member, its mode and owners by their names."""
        decided: dict[str, Value] = {}
        if not self.others:
            return decided
        path = self._at(member)
        for above in reversed([*upwards(path)]):
            part = self.others.get(above, {})
            if above == path or part.get(_BELOW):
                decided |= part
        modes = {"directory": decided.pop("mode", None), "file": decided.pop("file_mode", None)}
        return decided | set_only(mode=modes.get(member["kind"]))

    def plan_check(self, actual: State | None) -> None:
        members = (actual or {}).get("members")
        blocked = members.get(_IN_THE_WAY) if isinstance(members, dict) else None
        if blocked:
            raise Refused(
                f"{self.dest}/{blocked[0]} is in the way: it is a directory where the archive "
                "has none, or none where the archive has one",
                hint="move it away first",
            )

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        stat = await host.stat(self.dest, follow=True)
        if stat is None or stat.kind != "directory":
            raise Refused(
                f"{self.dest} is {'not there' if stat is None else described(stat)}",
                hint="make the directory first with file_ops.directory",
            )

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        private = any(_files.is_private(noted[:4]) for _, noted in _changed(actual))
        return _files.SAVED if private else frozenset()

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return tuple(
            f"{self.dest}/{name}" for name, noted in _changed(actual) if not noted.startswith("->")
        )

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        real = await _files.real_path(host, self.dest)
        return (Request("mkdir", {"path": real, "owner": self.owner}),)

    async def apply(self, host: Host, change: Diff) -> None:
        wanting = _wanting(change)
        members = await self._members(host, digest=False, own=True)
        edited = [m for m in members if self._is_edited(m, change)]
        await _all_done(
            host,
            [
                Request("attributes", {"path": self._at(member), **self._wanted(member)})
                for member in edited
            ],
        )
        how = {
            "dest": await _files.real_path(host, self.dest),
            "owner": self.owner,
            "group": self.group,
            "only": {
                member["name"]: self._attributes(member) | _attributes_in(self._decided(member))
                for member in members
                if member not in edited and (wanting is None or member["name"] in wanting)
            },
        }
        if self.src is None:
            await host.ask("unpack", path=self.archive, **how)
            return
        async with _trees.on_host(host, self.src, beside=self.dest) as path:
            await host.ask("unpack", path=path, **how)

    def _is_edited(self, member: Member, change: Diff) -> bool:
        """Whether a member is there and has its content from other lines."""
        seen = {"members": _wrong(change)}
        there = {name for name, noted in _changed(seen) if not noted.startswith("->")}
        return member["name"] in there and bool(self._decided(member).get(_EDITED))

    async def destroy(self, host: Host) -> None:
        """Removes the archive's files, and its directories where they are empty then."""
        members = await self._members(host)
        await _all_done(
            host,
            [
                Request("remove", {"path": self._at(member)})
                for member, stat in await self._found(host, members)
                if member["kind"] != "directory"
                and not (self._decided(member).get(_WHOLE) and self._difference(member, stat))
            ],
        )
        for member in sorted(members, key=lambda m: str(m["name"]), reverse=True):
            path = self._at(member)
            if member["kind"] == "directory" and path != self.dest:
                stat = await host.stat(path)
                if stat and stat.kind == "directory" and not await _files.names_in(host, path):
                    await host.ask("remove", path=path)

    async def revert(self, host: Host, origin: Origin) -> None:
        """Removes what was missing before, and puts back what was different."""
        if origin.actual is None:
            return await self.destroy(host)
        before = origin.actual["members"]
        if not isinstance(before, dict):
            return None
        for name, noted in _changed(origin.actual):
            await self._put_back(host, f"{self.dest}/{name}", noted, origin)
        missing = sorted(before.get(_MISSING, ()), reverse=True)
        members = {m["name"]: m["kind"] for m in await self._members(host)}
        for name in missing:
            path = f"{self.dest}/{name}"
            if members.get(name) != "directory" or not await _files.names_in(host, path):
                await host.ask("remove", path=path)
        return None

    async def _put_back(self, host: Host, path: str, noted: str, origin: Origin) -> None:
        if noted.startswith("->"):
            await host.ask("symlink", path=path, target=noted[2:], force=True)
            return
        saved = origin.saved.get(path)
        if saved is None:
            raise Refused(f"the old content of {path} was not kept, so it cannot be put back")
        mode, _, owners = noted.partition(" ")
        owner, _, group = owners.partition(":")
        stat = await host.stat(path)
        if stat is not None and stat.kind == "link":
            await host.ask("remove", path=path)
        await host.write(path, saved, mode=mode, owner=owner, group=group)

    async def _found(
        self, host: Host, members: Sequence[Member]
    ) -> list[tuple[Member, FileStat | None]]:
        """Returns the members with what is there in their places."""
        found = await host.stats(
            [{"path": self._at(m), "follow": False, "digest": True} for m in members]
        )
        for stat in found:
            if isinstance(stat, Exception):
                raise stat
        return list(zip(members, found, strict=True))

    async def _members(self, host: Host, *, digest: bool = True, own: bool = False) -> list[Member]:
        """Returns what the archive holds, with the directories that its names imply.

        With ``own``, what other lines declare as a whole is not among it.
        """
        machine, path = host, self.archive
        if self.src is not None:
            machine, path = host.controller, Path(self.src.path or "")
        members: list[Member] = await machine.ask("members", path=path, digest=digest)
        if own:
            members = [m for m in members if not self._decided(m).get(_WHOLE)]
        named = {member["name"] for member in members}
        above = {
            name[:at]
            for name in named
            for at, char in enumerate(name)
            if char == "/" and name[:at] not in named
        }
        implied = [{"name": n, "kind": "directory", "implied": True} for n in sorted(above)]
        return implied + members

    def _at(self, member: Member) -> str:
        return f"{self.dest}/{member['name']}".rstrip("/")


def _part_of(other: Resource) -> dict[str, Value]:
    """Returns what another resource decides of what is at its place, or in it."""
    if other.part_of_file:
        return {_EDITED: True}
    if not isinstance(other, Directory) or other.absent:
        return {} if other.spreads else {_WHOLE: True, _BELOW: True}
    modes = {"mode": other.mode, "file_mode": other.file_mode}
    return {_BELOW: other.recurse, **set_only(owner=other.owner, group=other.group, **modes)}


def _attributes_in(decided: Mapping[str, Value]) -> dict[str, Value]:
    return {name: decided[name] for name in ("mode", "owner", "group") if name in decided}


def _wrong(change: Diff) -> Value:
    """Returns what was found of the members: which are missing or other than they should be."""
    return next((item.old for item in change.changes if item.property == "members"), None)


def _wanting(change: Diff) -> set[str] | None:
    """Returns the names of the members that are missing or other than they should be; None: all."""
    old = _wrong(change)
    if not isinstance(old, dict):
        return None
    return {*old.get(_MISSING, ()), *(name for name, _ in old.get(_CHANGED, ()))}


def _noted(stat: FileStat) -> str:
    if stat.kind == "link":
        return f"->{stat.target}"
    return f"{stat.mode} {stat.owner}:{stat.group}"


def _plain_mode(mode: str) -> str:
    return f"{int(mode, 8) & 0o777:04o}"


def _changed(actual: State | None) -> Sequence[Sequence[str]]:
    members = (actual or {}).get("members")
    found: Sequence[Sequence[str]] = members.get(_CHANGED, ()) if isinstance(members, dict) else ()
    return found


async def _all_done(host: Host, requests: Sequence[Request]) -> None:
    for answer in await host.perform(requests):
        if isinstance(answer, Exception):
            raise answer
