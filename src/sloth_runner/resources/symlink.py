"""A symbolic link."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Doc, Path
from sloth_runner.core.values import State
from sloth_runner.resources import _files
from sloth_runner.resources._files import SAMPLES, described


@declare(
    "symlink",
    Function(
        name="file_ops.symlink",
        doc="Keeps a symbolic link that points to a target.",
        first="path",
    ),
)
class Symlink(Resource, frozen=True, kw_only=True):
    """Keeps a symbolic link. It is compared, and replaced atomically, as a text.

    The target need not exist. A file at the path is replaced only with ``force``, and kept
    for undo; a directory never is.

    ```lua
    file_ops.symlink({ path = "/tmp/sloth-sample/current", target = "releases/42" })
    ```
    """

    path: Annotated[Path, Doc("Where the link is.", key=True)]
    target: Annotated[str, Doc("What it points to, absolute or from the link's folder.")]
    force: Annotated[bool, Doc("Replace a file that is in the way.")] = False
    owner: Annotated[Account | None, Doc("Owner of the link itself, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group of the link itself, by name or number.")] = None

    stands_as: ClassVar[str | None] = "link"
    samples: ClassVar = (
        {"path": f"{SAMPLES}/link", "target": "somewhere/else"},
        {"path": f"{SAMPLES}/taken", "target": "/nowhere '\udcff\n", "force": True},
    )
    sample_files: ClassVar[Mapping[str, str]] = {f"{SAMPLES}/taken": "a file\n"}

    def check(self) -> None:
        if not self.target:
            raise ParamError("parameter 'target': it is empty")

    @property
    def needs_parent(self) -> bool:
        return True

    def desired(self) -> State:
        return {"target": self.target, **_files.set_only(owner=self.owner, group=self.group)}

    @property
    def observation_key(self) -> Hashable:
        return (self.path, _files.numbers(self.owner, self.group))

    async def observe(self, host: Host) -> State | None:
        return self._seen(await host.stat(self.path))

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        answers = await host.stats(
            [{"path": r.path, "follow": False, "digest": False} for r in resources]
        )
        return [
            answer if isinstance(answer, Exception) else link._seen(answer)
            for link, answer in zip(resources, answers, strict=True)
        ]

    def _seen(self, stat: FileStat | None) -> State | None:
        if stat is None:
            return None
        if stat.kind != "link":
            attributes = _files.attributes_of(stat, None, None)
            return {"target": described(stat), "kind": stat.kind, **attributes}
        attributes = _files.attributes_of(stat, self.owner, self.group)
        return {"target": stat.target, "owner": attributes["owner"], "group": attributes["group"]}

    def plan_check(self, actual: State | None) -> None:
        kind = (actual or {}).get("kind", "link")
        if kind == "directory" or (kind != "link" and not self.force):
            hint = "remove it first with file_ops.remove"
            if kind != "directory":
                hint += ", or say force = true"
            raise Refused(f"{self.path} is {(actual or {}).get('target')}, not a link", hint=hint)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        private = _files.is_private((actual or {}).get("mode"))
        return _files.SAVED if private else frozenset()

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return (self.path,) if (actual or {}).get("kind") == "file" else ()

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        what = {"target": self.target, "owner": self.owner, "group": self.group}
        return (Request("symlink", {"path": self.path, **what, "force": self.force}),)

    async def apply(self, host: Host, change: Diff) -> None:
        [request] = await self.rehearsal(host, change)
        await host.ask(request.verb, **request.arguments)

    async def destroy(self, host: Host) -> None:
        stat = await host.stat(self.path)
        if stat is None:
            return
        if stat.kind != "link":
            raise _files.wrong_kind(
                self.path, described(stat), "the link that was managed", "remove it by hand"
            )
        await host.ask("remove", path=self.path)

    async def revert(self, host: Host, origin: Origin) -> None:
        actual = origin.actual
        if actual is None:
            return await self.destroy(host)
        if "kind" not in actual:
            owners = {name: actual[name] for name in ("owner", "group") if name in actual}
            target = actual["target"]
            await host.ask("symlink", path=self.path, target=target, force=False, **owners)
            return None
        saved = origin.saved.get(self.path)
        if saved is None:
            raise Refused(f"the file {self.path} was not kept, so it cannot be put back")
        await self.destroy(host)
        await host.write(self.path, saved, **_files.restored(actual))
        return None
