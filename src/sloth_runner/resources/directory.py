"""A directory."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.paths import is_below
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Doc, Mode, Path
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _files, _removal, _trees
from sloth_runner.resources._files import SAMPLES, described, set_only

KEPT = 1000
"""Entries of a tree whose old attributes are kept, so that they can be put back."""

_REST = "..."


@declare(
    "directory",
    Function(
        name="file_ops.directory",
        doc="Keeps a directory, and the owner and mode of what is in it.",
        first="path",
        each="paths",
    ),
)
class Directory(Resource, frozen=True, kw_only=True):
    """Keeps a directory, or keeps it away.

    Missing parents are made as well, with its owner and mode 0755, and stay. With
    ``recurse``, everything below has the owner and group; directories have ``mode``, files
    ``file_mode``: two parameters, so that no file becomes executable by accident. Links are
    never followed. What another line declares below follows it where that line leaves it
    open, and is refused where it wants something else. A directory is removed only when it
    is empty, unless ``force`` is given.

    ```lua
    file_ops.directory({ path = "/tmp/sloth-sample/app/log", mode = "0750" })
    file_ops.directory({
        path = "/tmp/sloth-sample/www",
        recurse = true,
        mode = "0755",
        file_mode = "0644",
    })
    ```
    """

    path: Annotated[Path, Doc("Where the directory is.", key=True)]
    mode: Annotated[
        Mode | None, Doc('Mode of the directory; with `recurse`, of all below. A new one: "0755".')
    ] = None
    file_mode: Annotated[
        Mode | None, Doc("Mode of all files below; needs `recurse`. By default it is left alone.")
    ] = None
    owner: Annotated[Account | None, Doc("Owner, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group, by name or number.")] = None
    recurse: Annotated[bool, Doc("Manage owner, group and mode of everything below too.")] = False
    state: Annotated[Literal["present", "absent"], Doc("Whether the directory is there.")] = (
        "present"
    )
    force: Annotated[bool, Doc("When it is to be absent: remove it with all it contains.")] = False

    stands_as: ClassVar[str | None] = "directory"
    samples: ClassVar = (
        {"path": f"{SAMPLES}/made", "mode": "0750"},
        {"path": f"{SAMPLES}/tree", "recurse": True, "mode": "0755", "file_mode": "0640"},
        {"path": f"{SAMPLES}/old", "state": "absent", "force": True},
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/old/left": "3",
    }

    def check(self) -> None:
        if self.state == "absent":
            _removal.check_path(self.path)
        if self.file_mode is not None and not self.recurse:
            raise ParamError("parameter 'file_mode' needs recurse = true")
        if self.recurse and not set_only(
            mode=self.mode, file_mode=self.file_mode, owner=self.owner, group=self.group
        ):
            raise ParamError(
                "parameter 'recurse' has nothing to manage",
                hint="give a mode, file_mode, owner or group",
            )

    @property
    def observation_key(self) -> Hashable:
        below = (self.mode, self.file_mode, self.owner, self.group) if self.recurse else None
        return (self.path, below, _files.numbers(self.owner, self.group))

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        return {
            "kind": "directory",
            **set_only(mode=self.mode, owner=self.owner, group=self.group),
            **({"tree": "uniform"} if self.recurse else {}),
        }

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        requests = [
            Request("stat", {"path": r.path, "follow": False, "digest": False}) for r in resources
        ] + [Request("walk", {"path": r.path}) for r in resources if r.recurse]
        answers = await host.perform(requests)
        walks = iter(answers[len(resources) :])
        return [
            directory._seen(answer, next(walks) if directory.recurse else ())
            for directory, answer in zip(resources, answers, strict=False)
        ]

    def _seen(self, answer: Any, below: Any) -> State | Exception | None:
        if answer is None or isinstance(answer, Exception):
            return answer
        stat = FileStat(**answer)
        state: State = {"kind": stat.kind, **_files.attributes_of(stat, self.owner, self.group)}
        if self.recurse and stat.kind == "directory":
            if isinstance(below, Exception):
                return below
            state["tree"] = self._tree(below or ())
        return state

    def _tree(self, below: Sequence[Mapping[str, Any]]) -> Value:
        """Returns "uniform", or what differs below, as pairs of path and "MODE OWNER:GROUP"."""
        wrong: list[list[str]] = []
        more = 0
        for entry in below:
            stat = FileStat(**{key: entry[key] for key in entry if key != "path"})
            seen = _files.attributes_of(stat, self.owner, self.group)
            if all(seen[name] == wanted for name, wanted in self._wanted(stat.kind).items()):
                continue
            if len(wrong) < KEPT:
                wrong.append([entry["path"], f"{seen['mode']} {seen['owner']}:{seen['group']}"])
            else:
                more += 1
        if more:
            wrong.append([_REST, f"{more} more"])
        return wrong or "uniform"

    def _wanted(self, kind: str) -> dict[str, str]:
        """Returns the attributes of what is there, or below: a directory, a file or a link."""
        mode = {"directory": self.mode, "link": None}.get(kind, self.file_mode)
        return set_only(mode=mode, owner=self.owner, group=self.group)

    @property
    def governing(self) -> bool:
        return self.recurse and self.state == "present"

    def governs(self, other: Resource) -> Mapping[str, str]:
        """Wants of what is declared below what it sets there itself: it would undo the rest."""
        place = other.place or ""
        below = is_below(place, self.path) or (other.spreads and place == self.path)
        if not below or other.absent:
            return {}
        whole = other.governing or other.spreads
        wanted = self._wanted("directory" if whole or isinstance(other, Directory) else "file")
        if whole:
            wanted |= set_only(file_mode=self.file_mode)
        return {name: value for name, value in wanted.items() if hasattr(other, name)}

    def plan_check(self, actual: State | None) -> None:
        kind = (actual or {}).get("kind", "directory")
        if kind != "directory":
            raise Refused(
                f"{self.path} is a {kind}, not a directory",
                hint="remove it first with file_ops.remove",
            )

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        if change.kind == "remove":
            await _removal.check_removal(host, self.path, force=self.force)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        return _files.SAVED if self.saves(actual) else frozenset()

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return (self.path,) if self.state == "absent" and self.force and actual else ()

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        old = [c.old for c in change.changes if c.property == "tree" and isinstance(c.old, list)]
        if not old:
            return {}
        return {"tree": "\n".join(f"-{seen} {path}" for path, seen in old[0])}

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        if change.kind == "remove":
            return (Request("remove", {"path": self.path, "tree": self.force}),)
        where = {"path": self.path, "owner": self.owner, "group": self.group}
        if change.kind == "create":
            return (Request("mkdir", {**where, "mode": self.mode or "0755", "parents": True}),)
        if "tree" in change:
            modes = {"mode": self.file_mode, "directory_mode": self.mode}
            return (Request("attributes_tree", {**where, **modes}),)
        return (Request("attributes", {**where, "mode": self.mode}),)

    async def apply(self, host: Host, change: Diff) -> None:
        [request] = await self.rehearsal(host, change)
        await host.ask(request.verb, **request.arguments)

    async def destroy(self, host: Host) -> None:
        """Removes it when it is empty; with its content only where that was asked for."""
        stat = await host.stat(self.path)
        if stat is None:
            return
        if stat.kind != "directory":
            raise _files.wrong_kind(
                self.path, described(stat), "the directory that was managed", "remove it by hand"
            )
        wholly = self.force and self.state == "absent"
        names = await _files.names_in(host, self.path)
        if names and not wholly:
            raise _files.not_empty(self.path, names, "remove what it contains first")
        await host.ask("remove", path=self.path, tree=wholly)

    async def revert(self, host: Host, origin: Origin) -> None:
        if origin.actual is None:
            return await self.destroy(host)
        attributes = _files.restored(origin.actual)
        if self.state == "absent":
            return await _trees.put_back(host, self.path, origin, attributes, whole=self.force)
        before = origin.actual.get("tree")
        if isinstance(before, list):
            await self._revert_tree(host, before)
        await host.ask("attributes", path=self.path, **attributes)
        return None

    async def _revert_tree(self, host: Host, before: Sequence[Sequence[str]]) -> None:
        if before[-1][0] == _REST:
            raise Refused(
                f"the old attributes of {before[-1][1]} entries below {self.path} were not kept"
            )
        requests = []
        for below, seen in before:
            mode, _, owners = seen.partition(" ")
            owner, _, group = owners.partition(":")
            arguments = {"path": f"{self.path}/{below}", "owner": owner, "group": group}
            requests.append(Request("attributes", {**arguments, "mode": mode}))
        for answer in await host.perform(requests):
            if isinstance(answer, Exception):
                raise answer
