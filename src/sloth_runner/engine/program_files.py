"""The files of the controller that a program opens itself, with ``io`` and ``os`` of Lua.

The program does it: natively in a run, in memory in a preview. Here it says so before, so
that a plan lists what is written, nothing that was observed before is believed after, and a
preview sees what resources and actions would have left there.
"""

import contextlib
import posixpath
from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec import Struct

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import HostError
from sloth_runner.core.host import FileStat
from sloth_runner.core.resource import Touches
from sloth_runner.core.schema import Content
from sloth_runner.core.values import Value, sha256
from sloth_runner.engine.context import Caller
from sloth_runner.engine.overlay import PathPrediction, written
from sloth_runner.engine.parameters import PresentSources
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.program import LARGE, LOADING, Answer, Program, Unpredictable, reads
from sloth_runner.engine.temporary import make_temporary
from sloth_runner.engine.touched import Touched
from sloth_runner.engine.writes import ABSENT, FILE, Writes

_UNSEEN: Value = ["unseen", None]
"""Stands for what nobody looked at, or nobody may."""
_UNKNOWN: Value = ["unknown", None]
"""Stands for what will be there and cannot be known."""


class _Note(Struct, frozen=True):
    caller: Caller
    before: Value
    kind: str | None = None


class ProgramFiles:
    """Who writes what, in one run or one preview."""

    def __init__(self, pipeline: Pipeline, program: Program, writes: Writes) -> None:
        self._pipeline = pipeline
        self._program = program
        self._writes = writes
        self._notes: dict[str, _Note] = {}
        controller, observations = pipeline.machines.controller, pipeline.observations
        self._present = PresentSources(controller, observations.source)
        self._others: dict[str, list[tuple[Value, Value]]] = {}
        if pipeline.preview is None:
            pipeline.beside = self._beside

    def functions(self) -> dict[str, Any]:
        """Returns the calls by name (``engine.program.ANNOUNCED``)."""
        return {
            "io.open": self._open,
            "os.remove": self._remove,
            "os.rename": self._rename,
            "os.tmpname": self._make,
        }

    async def _open(self, caller: Caller, _host: str, arguments: Sequence[Value]) -> Answer:
        """Takes path and mode. In a preview it answers what is there for all that is predicted.

        ``found`` is whether something is there and ``data`` what it holds, where a resource
        decided that; ``parent`` whether its folder would be there (in a renaming the new one);
        ``kind`` what is there now if it is no file; ``doubt`` why the content that is there
        now need not be the one then.
        """
        path, mode = str(arguments[0]), str(arguments[1])
        await self._resolve(path)
        writes = not reads(arguments)
        if self._pipeline.preview is None:
            if writes:
                await self._note(path, caller)
            return Answer(value=None)
        made = self._pipeline.overlay.made(LOCAL, path) if mode == LOADING else None
        if made is not None:
            return Answer(value=_predicted(made, path, caller, needed=False))
        known = await self._known(path, caller, needed=mode[0] == "r" and mode != LOADING)
        if writes:
            kind = None if _temporary(arguments) else (await self._note(path, caller)).kind
            if kind not in (None, "file"):
                known["kind"] = kind
            known["parent"] = await self._is_folder(posixpath.dirname(path))
            if known["parent"] and "kind" not in known:
                self._pipeline.overlay.write(path)
        return Answer(value=known)

    async def _remove(self, caller: Caller, _host: str, arguments: Sequence[Value]) -> Answer:
        path = str(arguments[0])
        if _temporary(arguments):
            self._pipeline.overlay.write(path)
            return Answer(value=None)
        await self._resolve(path)
        kind = (await self._note(path, caller)).kind
        if self._pipeline.preview is None:
            return Answer(value=None)
        if kind == "directory":  # it works only if that is empty then
            raise Unpredictable(caller.stopped(f"{caller.function} of {path}, a folder"))
        known = await self._known(path, caller, needed=True)
        if not known and not self._pipeline.overlay.wrote_last(path):
            known["found"] = kind is not None
        self._moved(known, path)
        return Answer(value=known)

    async def _rename(self, caller: Caller, _host: str, arguments: Sequence[Value]) -> Answer:
        old, new = str(arguments[0]), str(arguments[1])
        await self._resolve(old, new)
        kinds = [(path, (await self._note(path, caller)).kind) for path in (old, new)]
        if self._pipeline.preview is None:
            return Answer(value=None)
        for path, kind in kinds:
            if kind not in (None, "file"):
                what = "a folder" if kind == "directory" else "no plain file"
                raise Unpredictable(caller.stopped(f"{caller.function} of {path}, {what}"))
        known = await self._known(old, caller, needed=True)
        known["parent"] = await self._is_folder(posixpath.dirname(new))
        if "found" not in known and not self._pipeline.overlay.wrote_last(old):
            known["found"] = kinds[0][1] is not None
        self._moved(known, old, new)
        return Answer(value=known)

    def _moved(self, known: dict[str, Value], *paths: str) -> None:
        """Lets the preview see that files would be removed or renamed, unless that would fail."""
        if known.get("found", True) and known.get("parent", True):
            for path in paths:
                self._pipeline.overlay.write(path)

    async def _make(self, _caller: Caller, _host: str, arguments: Sequence[Value]) -> Answer:
        await make_temporary(self._pipeline.machines.controller, str(arguments[0]))
        return Answer(value=None)

    async def content(self, path: str, caller: Caller, *, by_path: bool) -> Content:
        """Returns what a file holds (``engine.parameters.Sources``); a preview, what it would.

        Raises Unpredictable where a change before the call makes or edits the file.
        """
        predicted = await self._source(path, caller)
        if predicted is not None:
            if by_path and predicted.path is None:
                raise Unpredictable(caller.stopped(f"{caller.function} of {path}, not made yet"))
            return predicted
        return await self._present.content(path, caller, by_path=by_path)

    async def text(self, path: str, caller: Caller) -> str:
        """Returns what a file holds, as ``content`` does, in memory."""
        predicted = await self._source(path, caller)
        if predicted is not None and predicted.data is not None:
            return predicted.data
        return await self._present.text(path, caller)

    async def _source(self, path: str, caller: Caller) -> Content | None:
        """Returns what a preview predicts of a file that another is made from, if it does.

        Raises LookupError for one that would be gone. Of an action only that is taken for sure
        which has nothing there yet: most have nothing to do with the file.
        """
        if self._pipeline.preview is None:
            return None
        overlay = self._pipeline.overlay
        await self._resolve(path)
        predicted = overlay.at_path(LOCAL, path)
        if predicted is not None and predicted.state is None:
            raise LookupError
        if predicted is not None and predicted.content is not None:
            return predicted.content
        if overlay.follows(Address(LOCAL, "path", path), path) is None:
            return None
        if overlay.is_named(LOCAL, path) or (await self._look(path))[1] is None:
            raise Unpredictable(caller.stopped(f"{caller.function} of {path}, not as it will be"))
        return None

    def wrote(self, path: str, caller: Caller) -> None:
        """Takes note of a file that was written where no call could be made before."""
        self._notes.setdefault(path, _Note(caller, _UNSEEN))
        if self._pipeline.preview is not None:
            self._pipeline.overlay.write(path)
        self._disturbed(path)

    @contextlib.asynccontextmanager
    async def _beside(self, host: str, touches: Touches) -> AsyncIterator[None]:
        """Takes note of what a resource or an action makes of files that the program wrote."""
        before = await self._touched(host, touches)
        try:
            yield
        finally:
            after = await self._look_at([*before])
            for (path, was), (left, _) in zip(before.items(), after, strict=True):
                if left != was:
                    self._others.setdefault(path, []).append((was, left))

    async def _touched(self, host: str, touches: Touches) -> dict[str, Value]:
        """Returns what is there now of the files that the program wrote and that may change."""
        if host != LOCAL or not self._notes:
            return {}
        names, touched = self._pipeline.observations, Touched()
        touched.mark(names.resolved(host, touches), 1)
        paths = [p for p in self._notes if any(touched.latest(n) for n in names.names(host, p))]
        found = await self._look_at(paths)
        return {path: seen for path, (seen, _) in zip(paths, found, strict=True)}

    async def settle(self) -> None:
        """At the end: tells which files the program has left other than they were before."""
        if self._pipeline.preview is None:
            self._program.flush()
        for path, note in self._notes.items():
            after = await self._now(path, note)
            if note.before == after:
                continue
            if self._pipeline.preview is None:
                event = self._writes.event(FILE, path, note.caller, note.before, after)
                await self._pipeline.recorder.emit(event)
            self._writes.note(FILE, path, note.caller, note.before, after)

    async def _resolve(self, *paths: str) -> None:
        """Finds out which other names these files have."""
        folders = [posixpath.dirname(path) for path in paths]
        await self._pipeline.observations.resolve(LOCAL, [*paths, *folders])

    async def _note(self, path: str, caller: Caller) -> _Note:
        known = self._notes.get(path)
        if known is None:
            before, kind = await self._before(path)
            known = self._notes.setdefault(path, _Note(caller, before, kind))
        self._disturbed(path)
        return known

    async def _before(self, path: str) -> tuple[Value, str | None]:
        """Returns what is at a path before it is written; in a preview, what would be."""
        preview, overlay = self._pipeline.preview is not None, self._pipeline.overlay
        predicted = overlay.at_path(LOCAL, path) if preview else None
        if predicted is None:
            return await self._look(path)
        if predicted.state is None:
            return ABSENT, None
        if predicted.content is None:
            return _UNKNOWN, None
        return ["file", predicted.content.sha256], "file"

    def _disturbed(self, path: str) -> None:
        """Lets nothing be believed that was seen there, or will be while it may be open."""
        self._pipeline.observations.distrust(LOCAL, Touches((path,)))

    async def _now(self, path: str, note: _Note) -> Value:
        if self._pipeline.preview is None:
            after, _ = await self._look(path)
            for was, left in reversed(self._others.get(path, ())):
                after = was if after == left else after  # it is as another has left it
            return after
        try:
            data = self._program.written(path)
        except LookupError:  # it was not opened after all, or is a device
            return note.before
        except Unpredictable:
            return _UNKNOWN
        return ABSENT if data is None else ["file", sha256(data)]

    async def _known(self, path: str, caller: Caller, *, needed: bool) -> dict[str, Value]:
        """Returns what a preview knows of a path, beside what the program wrote there itself.

        Raises Unpredictable where what is ``needed`` depends on an earlier change.
        """
        overlay = self._pipeline.overlay
        if overlay.wrote_last(path):
            return {}
        predicted = overlay.at_path(LOCAL, path)
        if predicted is not None:
            return _predicted(predicted, path, caller, needed=needed)
        follows = overlay.follows(written(path), path)
        if follows is None:
            return {}
        doubt = f"{caller.function} of {path}, which an earlier change may touch"
        if needed:
            raise Unpredictable(caller.stopped(doubt))
        return {"doubt": doubt}

    async def _is_folder(self, path: str) -> bool:
        predicted = self._pipeline.overlay.is_folder(LOCAL, path)
        return (await self._look(path))[1] == "directory" if predicted is None else predicted

    async def _look(self, path: str) -> tuple[Value, str | None]:
        """Returns what tells one file from another (of a file its content), and the kind."""
        [seen] = await self._look_at([path])
        return seen

    async def _look_at(self, paths: Sequence[str]) -> list[tuple[Value, str | None]]:
        """Looks at many files at once.

        A link that leads nowhere is a link; what is large, or may not be read, is told by its
        size and time.
        """
        controller = self._pipeline.machines.controller
        followed = await controller.stats([{"path": p, "follow": True} for p in paths])
        gone = [path for path, stat in zip(paths, followed, strict=True) if stat is None]
        links = dict(zip(gone, await controller.stats([{"path": p} for p in gone]), strict=True))
        found = [links.get(p) if s is None else s for p, s in zip(paths, followed, strict=True)]
        small = [path for path, stat in zip(paths, found, strict=True) if _is_small(stat)]
        read = await controller.stats([{"path": p, "follow": True, "digest": True} for p in small])
        digests = dict(zip(small, read, strict=True))
        return [_told(stat, digests.get(path)) for path, stat in zip(paths, found, strict=True)]


def _is_small(stat: FileStat | HostError | None) -> bool:
    return isinstance(stat, FileStat) and stat.kind == "file" and stat.size <= LARGE


def _told(
    stat: FileStat | HostError | None, read: FileStat | HostError | None
) -> tuple[Value, str | None]:
    if isinstance(stat, HostError):  # the program will be told the same, in the way of Lua
        return _UNSEEN, None
    if isinstance(read, FileStat):
        stat = read
    if stat is None:
        return ABSENT, None
    known = [stat.size, stat.mtime_ns] if stat.kind == "file" else None
    return [stat.kind, stat.sha256 or stat.target or known], stat.kind


def _predicted(
    predicted: PathPrediction, path: str, caller: Caller, *, needed: bool
) -> dict[str, Value]:
    if predicted.state is None:
        return {"found": False}
    data = None if predicted.content is None else predicted.content.data
    if data is not None:
        return {"found": True, "data": data}
    doubt = f"{caller.function} of {path}, which is not made yet"
    if needed:
        raise Unpredictable(caller.stopped(doubt))
    return {"found": True, "doubt": doubt}


def _temporary(arguments: Sequence[Value]) -> bool:
    return len(arguments) > 2 and arguments[2] is True
