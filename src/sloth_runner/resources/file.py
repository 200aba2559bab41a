"""A file with all its content."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import Refused
from sloth_runner.core.host import FileStat, Host, Request
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Content, Doc, Mode, Path
from sloth_runner.core.values import State
from sloth_runner.resources import _files
from sloth_runner.resources._files import SAMPLES, described, set_only
from sloth_runner.resources._text import content_diff

_PLAIN = "sha256:"
_REAL = "real"
"""In an observation, never desired: the path that is meant when links are followed."""


@declare(
    "file",
    Function(
        name="file_ops.copy",
        doc="Copies a file of the controller, beside the workflow or by an absolute path.",
        rename={"src": "content", "dest": "path", "sensitive": "hide"},
        first="src",
        source="src",
    ),
    Function(
        name="file_ops.content",
        doc="Keeps a file with exactly this content.",
        rename={"sensitive": "hide"},
        first="path",
    ),
    Function(
        name="file_ops.template",
        doc="Renders a template (Jinja2) of the controller with the table `vars` into a file.",
        rename={"src": "content", "dest": "path", "sensitive": "hide"},
        first="src",
        source="src",
        template=True,
    ),
)
class File(Resource, frozen=True, kw_only=True):
    """Keeps a file: its content, and of its mode, owner and group what is given.

    A change replaces the file atomically and durably. What is left out is not managed: an
    existing file keeps it, a new one gets mode 0644 and belongs to who runs the program.
    A directory or a link at the path is refused rather than replaced.

    ```lua
    file_ops.content({
        path = "/tmp/sloth-sample/motd",
        content = "Welcome.\\n",
        mode = "0644",
    })
    ```
    """

    path: Annotated[Path, Doc("Where the file is, on the host.", key=True)]
    content: Annotated[Content, Doc("The bytes of the file.", private=True)]
    mode: Annotated[Mode | None, Doc('Permission bits, such as "0644".')] = None
    owner: Annotated[Account | None, Doc("Owner, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group, by name or number.")] = None
    validate: Annotated[
        str | None, Doc('Command that must accept the new file; `%s` is its path: "visudo -cf %s".')
    ] = None
    backup: Annotated[bool, Doc("Keep a copy of the old file beside it.")] = False
    follow: Annotated[
        bool, Doc("Write what a link at the path points to; otherwise a link is refused.")
    ] = False
    in_place: Annotated[
        bool, Doc("Write into the existing file, not atomically: for bind mounts only.")
    ] = False
    hide: Annotated[
        bool | None,
        Doc(
            "Never show or store the content in plain. By default so for a file that others may "
            "not read, before or after."
        ),
    ] = None

    samples: ClassVar = (
        {"path": f"{SAMPLES}/new", "content": "hello\n"},
        {"path": f"{SAMPLES}/old", "content": "", "mode": "0640", "owner": "0", "group": "root"},
        {"path": f"{SAMPLES}/a 'name'\n\udcff;$(x)", "content": "\0\udcff", "mode": "0755"},
        {"path": f"{SAMPLES}/old", "content": "key\n", "mode": "0600"},
    )
    sample_files: ClassVar[Mapping[str, str]] = {f"{SAMPLES}/old": "was here\n"}

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        return _files.hidden_content(self.hide, self.mode, (actual or {}).get("mode"))

    @property
    def sensitive(self) -> frozenset[str]:
        return self.sensitive_beside(None)

    @property
    def absent(self) -> bool:
        return False

    @property
    def part_of_file(self) -> bool:
        return False

    @property
    def observation_key(self) -> Hashable:
        return (self.path, self.follow, _files.numbers(self.owner, self.group))

    @property
    def needs_parent(self) -> bool:
        return True

    def desired(self) -> State:
        return {
            "content": _PLAIN + self.content.sha256,
            **set_only(mode=self.mode, owner=self.owner, group=self.group),
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
        answers = await host.stats(
            [{"path": f.path, "follow": f.follow, "digest": True} for f in resources]
        )
        seen = [
            answer if isinstance(answer, Exception) else file._seen(answer)
            for file, answer in zip(resources, answers, strict=True)
        ]
        for file, state in zip(resources, seen, strict=True):
            if file.follow and isinstance(state, dict):
                state[_REAL] = await _files.real_path(host, file.path)
        return seen

    def _seen(self, stat: FileStat | None) -> State | None:
        if stat is None:
            return None
        content = _PLAIN + (stat.sha256 or "") if stat.kind == "file" else described(stat)
        return {"content": content, **_files.attributes_of(stat, self.owner, self.group)}

    def plan_check(self, actual: State | None) -> None:
        if actual is None or actual["content"].startswith(_PLAIN):
            return
        hint = "remove it first with file_ops.remove"
        if actual["content"].startswith("a link"):
            hint += ", or say follow = true to write what it points to"
        raise _files.wrong_kind(self.path, actual["content"], "a file", hint)

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return () if actual is None else (actual.get(_REAL, self.path),)

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        return await content_diff(host, self.path, self.content, change, follow=self.follow)

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        attributes = {"mode": self.mode, "owner": self.owner, "group": self.group}
        where = {"path": self.path, **attributes, "follow": self.follow}
        if change.kind != "create" and "content" not in change:
            return (Request("attributes", where),)
        return (Request("write", {**where, "in_place": self.in_place}),)

    async def apply(self, host: Host, change: Diff) -> None:
        [request] = await self.rehearsal(host, change)
        if request.verb == "attributes":
            await host.ask(request.verb, **request.arguments)
            return
        await self._write(host, self.content, self.mode, self.owner, self.group)

    async def _write(
        self,
        host: Host,
        content: Content,
        mode: str | None,
        owner: str | None,
        group: str | None,
        *,
        back: bool = False,
    ) -> None:
        await host.write(
            self.path,
            content,
            mode=mode,
            owner=owner,
            group=group,
            validate=None if back else self.validate,
            backup=self.backup and not back,
            follow=self.follow,
            in_place=self.in_place,
        )

    async def destroy(self, host: Host) -> None:
        stat = await host.stat(self.path)
        if stat is None:
            return
        if stat.kind != "file":
            raise _files.wrong_kind(
                self.path, described(stat), "the file that was managed", "remove it by hand"
            )
        await host.ask("remove", path=self.path)

    async def revert(self, host: Host, origin: Origin) -> None:
        if origin.actual is None:
            return await self.destroy(host)
        attributes = _files.restored(origin.actual)
        saved = origin.saved.get(origin.actual.get(_REAL, self.path))
        if saved is not None:
            return await self._write(host, saved, **attributes, back=True)
        now = await host.stat(self.path, follow=self.follow, digest=True)
        if now is None or _PLAIN + (now.sha256 or "") != origin.actual.get("content"):
            raise Refused(f"the old content of {self.path} was not kept, so it cannot be put back")
        await host.ask("attributes", path=self.path, follow=self.follow, **attributes)
        return None
