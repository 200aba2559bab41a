"""The absence of a path."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Doc, Path
from sloth_runner.core.values import State
from sloth_runner.resources import _files, _removal, _trees
from sloth_runner.resources._files import SAMPLES


@declare(
    "path",
    Function(
        name="file_ops.remove",
        doc="Removes whatever is at a path, and keeps it away.",
        first="path",
        each="paths",
    ),
)
class Absence(Resource, frozen=True, kw_only=True):
    """Keeps a path absent: removes a file, a link (never what it points to) or a directory.

    A directory that is not empty needs ``force``. What is removed is kept first, so that it
    can be brought back. Mount points, what holds one, and the system's own directories are
    refused, in the preview too, and so is another line that keeps something at the path or
    below it.

    ```lua
    file_ops.remove("/tmp/sloth-sample/old.conf")
    ```
    """

    path: Annotated[Path, Doc("What is not to be there.", key=True)]
    force: Annotated[bool, Doc("Remove a directory with all it contains.")] = False

    samples: ClassVar = (
        {"path": f"{SAMPLES}/file"},
        {"path": f"{SAMPLES}/tree", "force": True},
        {"path": f"{SAMPLES}/never/there"},
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/file": "bytes \udcff\n",
        f"{SAMPLES}/tree/one": "1",
        f"{SAMPLES}/tree/below/two": "2",
    }

    def check(self) -> None:
        _removal.check_path(self.path)

    def desired(self) -> None:
        return None

    @property
    def observation_key(self) -> str:
        return self.path

    async def observe(self, host: Host) -> State | None:
        return _seen(await host.stat(self.path))

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        answers = await host.stats(
            [{"path": r.path, "follow": False, "digest": False} for r in resources]
        )
        return [a if isinstance(a, Exception) else _seen(a) for a in answers]

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        await _removal.check_removal(host, self.path, force=self.force)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        return _files.SAVED if _removal.needs_sealing(actual) else frozenset()

    def saves(self, actual: State | None) -> tuple[str, ...]:
        kind = (actual or {}).get("kind")
        return (self.path,) if kind == "file" or (kind == "directory" and self.force) else ()

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        return (Request("remove", {"path": self.path}),)

    async def apply(self, host: Host, change: Diff) -> None:
        await self.destroy(host)

    async def destroy(self, host: Host) -> None:
        stat = await host.stat(self.path)
        if stat is None:
            return
        if stat.kind == "directory":
            names = await _files.names_in(host, self.path)
            if names and not self.force:
                raise _files.not_empty(self.path, names, "say force = true to remove it")
        await host.ask("remove", path=self.path, tree=self.force and stat.kind == "directory")

    async def revert(self, host: Host, origin: Origin) -> None:
        actual = origin.actual
        if actual is None:
            return None
        if await host.stat(self.path) is not None:
            raise Refused(
                f"something is at {self.path} again, so what was there cannot be put back",
                hint="move it away first",
            )
        attributes = _files.restored(actual)
        if actual["kind"] == "link":
            await host.ask("symlink", path=self.path, target=actual["target"])
        elif actual["kind"] == "directory":
            await _trees.put_back(host, self.path, origin, attributes, whole=self.force)
        elif (saved := origin.saved.get(self.path)) is not None:
            await host.write(self.path, saved, **attributes)
        else:
            raise Refused(f"{self.path} was not kept, so it cannot be put back")
        return None


def _seen(stat: FileStat | None) -> State | None:
    if stat is None:
        return None
    target = {"target": stat.target} if stat.kind == "link" else {}
    return {"kind": stat.kind, **target, **_files.attributes_of(stat, None, None)}
