"""A copy, on the controller, of a file of a host."""

import posixpath
import secrets
from collections.abc import Hashable
from typing import Annotated, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import Refused
from sloth_runner.core.host import Host, Request
from sloth_runner.core.resource import Function, Origin, Resource, Touches, declare
from sloth_runner.core.schema import Account, Doc, Mode, Path
from sloth_runner.core.values import State
from sloth_runner.resources import _files
from sloth_runner.resources._files import SAMPLES, described

_CURRENT = "current"


@declare(
    "fetch",
    Function(
        name="file_ops.fetch",
        doc="Copies a file of the host to the controller.",
        first="src",
        beside=("dest",),
    ),
)
class Fetch(Resource, frozen=True, kw_only=True):
    """Keeps a copy of a host's file on the controller, the machine that the program runs on.

    ``dest`` names the file itself, never a directory to put it in, so that a host has no say
    in where anything is written. The copy is compared by its bytes.

    ```lua
    file_ops.content({ path = "/tmp/sloth-sample/report", content = "all well\\n" })
    file_ops.fetch({ src = "/tmp/sloth-sample/report", dest = "/tmp/sloth-sample/copy" })
    ```
    """

    src: Annotated[Path, Doc("The file on the host.")]
    dest: Annotated[
        Path, Doc("The file on the controller, absolute or from the workflow's folder.", key=True)
    ]
    mode: Annotated[
        Mode | None, Doc('Mode of the copy. A new one without: "0600", since it may hold secrets.')
    ] = None
    owner: Annotated[Account | None, Doc("Owner of the copy, by name or number.")] = None
    group: Annotated[Account | None, Doc("Group of the copy, by name or number.")] = None

    samples: ClassVar = ({"src": f"{SAMPLES}/report", "dest": f"{SAMPLES}/copy"},)
    sample_files: ClassVar = {f"{SAMPLES}/report": "bytes \udcff\n"}

    on_controller: ClassVar = True

    @property
    def path(self) -> str:
        return self.src

    @property
    def place(self) -> str:
        return self.dest

    @property
    def sees(self) -> tuple[str, ...]:
        return (self.dest,)

    @property
    def part_of_file(self) -> bool:
        return False

    @property
    def needs_parent(self) -> bool:
        return True

    @property
    def touches(self) -> Touches:
        return Touches((self.dest,))

    @property
    def observation_key(self) -> Hashable:
        return (self.src, self.dest, _files.numbers(self.owner, self.group))

    def desired(self) -> State:
        attributes = _files.set_only(mode=self.mode, owner=self.owner, group=self.group)
        return {"copy": _CURRENT, **attributes}

    async def observe(self, host: Host) -> State | None:
        copy = await host.controller.stat(self.dest, digest=True)
        if copy is None:
            return None
        original = await host.stat(self.src, follow=True, digest=True)
        if copy.kind != "file":
            state = described(copy)
        elif original is None:
            state = "without its original"
        else:
            state = _CURRENT if copy.sha256 == original.sha256 else "outdated"
        return {"copy": state, **_files.attributes_of(copy, self.owner, self.group)}

    def plan_check(self, actual: State | None) -> None:
        if actual is not None and actual["copy"].startswith("a "):
            raise Refused(
                f"{self.dest} on the controller is {actual['copy']}, not a file",
                hint="'dest' names the file itself",
            )

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        stat = await host.stat(self.src, follow=True)
        if stat is None or stat.kind != "file":
            found = "is not there" if stat is None else f"is {described(stat)}"
            raise Refused(f"{self.src} {found}, so there is no file to fetch")

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        private = _files.is_private((actual or {}).get("mode"))
        return _files.SAVED if private else frozenset()

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return () if actual is None else (self.dest,)

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        where = {"path": self.dest, "mode": self.mode, "owner": self.owner, "group": self.group}
        anew = change.kind == "create" or "copy" in change
        return (Request("write" if anew else "attributes", where),)

    async def apply(self, host: Host, change: Diff) -> None:
        controller = host.controller
        [request] = await self.rehearsal(host, change)
        if request.verb == "attributes":
            await controller.ask(request.verb, **request.arguments)
            return
        # Fetched beside its place first: the write that follows is atomic, and the old copy
        # stays whole when the host goes away half way.
        folder, name = posixpath.split(self.dest)
        part = f"{folder}/.{name[:200]}.sloth-{secrets.token_hex(4)}"
        try:
            content = await host.fetch(await _files.real_path(host, self.src), part)
            if content is None:
                raise Refused(f"{self.src} is not there, so there is no file to fetch")
            mode = self.mode or ("0600" if change.kind == "create" else None)
            await controller.write(
                self.dest, content, mode=mode, owner=self.owner, group=self.group
            )
        finally:
            await controller.ask("remove", path=part)

    async def destroy(self, host: Host) -> None:
        stat = await host.controller.stat(self.dest)
        if stat is not None and stat.kind != "file":
            raise _files.wrong_kind(
                self.dest, described(stat), "the copy that was managed", "remove it by hand"
            )
        await host.controller.ask("remove", path=self.dest)

    async def revert(self, host: Host, origin: Origin) -> None:
        if origin.actual is None:
            return await self.destroy(host)
        saved = origin.saved.get(self.dest)
        if saved is None:
            raise Refused(f"the old content of {self.dest} was not kept, so it cannot be put back")
        await host.controller.write(self.dest, saved, **_files.restored(origin.actual))
        return None
