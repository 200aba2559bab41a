"""What the types that edit a part of a file share: reading, writing and taking back."""

import contextlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Struct, structs

from sloth_runner.core import diff as differ
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import HostError, Refused, SecretName, SlothError
from sloth_runner.core.host import Host, Request
from sloth_runner.core.resource import Origin, Resource
from sloth_runner.core.schema import Account, Content, Doc, Mode, Path
from sloth_runner.core.values import State, sha256
from sloth_runner.resources._files import SAVED, is_hidden, is_private, real_path, set_only
from sloth_runner.resources._lines import DIFF_LIMIT, undone, unified

LIMIT = 64 * 1024 * 1024
"""Larger files are not edited in part; in bytes."""

PRIVATE, REAL = "private", "real"
"""Notes in an observation, never desired: others may not read the file; where its link leads."""


class Document(Struct, frozen=True):
    """A file as it was read: its text, whether others may not read it, where a link led."""

    text: str
    private: bool
    real: str | None = None


class TextEdit(Resource, frozen=True, kw_only=True):
    """The base of ``line``, ``block`` and ``replace``: one edit of one file.

    Subclasses give ``part_of`` (what is there), ``edited`` (the text with the edit made) and
    ``without`` (the text with what it manages taken out), all pure.
    """

    path: Annotated[Path, Doc("The file that is edited.", key=True)]
    follow: Annotated[
        bool, Doc("Edit what a link at the path points to; otherwise a link is refused.")
    ] = False
    validate: Annotated[
        str | None, Doc('Command that must accept the new file; `%s` is its path: "visudo -cf %s".')
    ] = None
    backup: Annotated[bool, Doc("Keep a copy of the old file beside it.")] = False
    in_place: Annotated[
        bool, Doc("Write into the existing file, not atomically: for bind mounts only.")
    ] = False
    hide: Annotated[
        bool | None,
        Doc("Never show or store the text. By default so where others may not read the file."),
    ] = None

    def part_of(self, text: str) -> State | None:
        """MUST: what is there of the managed part; None where it is absent."""
        raise TypeError(f"{type(self).__name__} finds nothing")

    def edited(self, text: str) -> str:
        """MUST: the text with the edit made; making it again changes nothing."""
        raise TypeError(f"{type(self).__name__} edits nothing")

    def without(self, text: str) -> str:
        """MUST: the text without the managed part."""
        raise TypeError(f"{type(self).__name__} removes nothing")

    @property
    def shown(self) -> frozenset[str]:
        """MUST: the properties and parameters that hold text of the file."""
        return frozenset()

    @property
    def creates_file(self) -> bool:
        """MAY: whether a missing file is made."""
        return False

    @property
    def new_attributes(self) -> Mapping[str, str]:
        """MAY: mode, owner and group of a file that is made, as far as they are given."""
        return {}

    @property
    def telling(self) -> bool:
        """MAY: whether the name in the address repeats text of the file."""
        return False

    @property
    def part_of_file(self) -> bool:
        return True

    @property
    def needs_parent(self) -> bool:
        return self.creates_file

    @property
    def exclusive(self) -> str:
        return self.path

    @property
    def sensitive(self) -> frozenset[str]:
        return self.sensitive_beside(None)

    def sensitive_beside(self, actual: State | None) -> frozenset[str]:
        private = is_private(self.new_attributes.get("mode")) or bool((actual or {}).get(PRIVATE))
        # What is saved is the whole file, of which the rest may be a secret in any case.
        return SAVED | self.shown if is_hidden(self.hide, private=private) else SAVED

    def saves(self, actual: State | None) -> tuple[str, ...]:
        if self.follow and not (actual or {}).get(REAL):
            return ()  # it may be a link, which is not saved: ``destroy`` takes a new part out
        return (self._saved_at(actual),)

    def _saved_at(self, actual: State | None) -> str:
        real: str = (actual or {}).get(REAL, self.path)
        return real

    def diff(self, actual: State | None) -> Diff:
        seen = {k: v for k, v in (actual or {}).items() if k not in (PRIVATE, REAL)}
        return differ.diff(self.desired(), seen or None, self.matches)

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        documents = await _read(host, [(edit.path, edit.follow) for edit in resources])
        return [edit.seen_in(documents[edit.path, edit.follow]) for edit in resources]

    def seen_in(self, document: Document | SlothError | None) -> State | Exception | None:
        """Returns the observation that a file as it was read gives."""
        if document is None or isinstance(document, SlothError):
            return document
        try:
            part = self.part_of(document.text)
        except SlothError as error:
            return error
        if document.private and self.hide is None and self.telling:
            return self._undecided()
        if part is None and not document.private:
            return None
        notes: State = {PRIVATE: True} if document.private else {}
        return {**(part or {}), **notes, **({REAL: document.real} if document.real else {})}

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        document = await self._document(host)
        if document is None and not self.creates_file and change.kind != "remove":
            raise Refused(
                f"there is no file {self.path} to edit",
                hint="make it with file_ops.content first"
                + (", or say create = true" if hasattr(self, "create") else ""),
            )

    def _undecided(self) -> SecretName:
        return SecretName(
            f"others may not read {self.path}, so what is written there may be a secret",
            shown=f"{self.path}#(sensitive)",
            hint="say sensitive = true (and give a regexp or an id, which names it), "
            "or sensitive = false to have it shown and recorded",
        )

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        shown = unified(*await self._texts(host, change))
        return {item.property: shown for item in change.changes[:1] if shown}

    async def _texts(self, host: Host, change: Diff) -> tuple[str, str]:
        """Returns the text of the file as it is, and as the change leaves it."""
        document = await self._document(host)
        before = document.text if document else ""
        return before, self.edited(before) if change.kind != "remove" else self.without(before)

    async def undoes(self, host: Host, change: Diff, others: Sequence[Resource]) -> Resource | None:
        before, after = await self._texts(host, change)
        parts = [other for other in others if isinstance(other, TextEdit)]
        return next((p for p in parts if p.is_in(before) and not p.is_in(after)), None)

    def is_in(self, text: str) -> bool:
        """Whether a text is as this wants it."""
        try:
            return not self.diff(self.part_of(text))
        except SlothError:
            return False

    async def rehearsal(self, host: Host, change: Diff) -> tuple[Request, ...]:
        new = {} if await host.stat(self.path, follow=self.follow) else self.new_attributes
        how = {"follow": self.follow, "in_place": self.in_place}
        return (Request("write", {"path": self.path, **new, **how}),)

    async def apply(self, host: Host, change: Diff) -> None:
        document = await self._document(host)
        if document is None and not self.creates_file:
            raise Refused(f"there is no file {self.path} to edit")
        before = document.text if document else ""
        after = self.edited(before)
        if document is None or after != before:
            new = self.new_attributes if document is None else {}
            await self._write(host, after, before=document, **new)

    async def destroy(self, host: Host) -> None:
        """Takes the managed part out; a file that ``create`` made and that is then empty goes."""
        document = await self._document(host)
        if document is None:
            return
        after = self.without(document.text)
        if not after and document.text and self.creates_file:
            await host.ask("remove", path=self.path)
        elif after != document.text:
            await self._write(host, after, before=document)

    async def revert(self, host: Host, origin: Origin) -> None:
        """Takes the edit back line by line: what others changed in the file since stays."""
        place = self._saved_at(origin.actual)
        if place not in origin.saved:
            if origin.actual is None and self.desired() is not None:
                return await self.destroy(host)
            raise Refused(f"the old text of {self.path} was not kept, so it cannot be put back")
        saved = origin.saved[place]
        document = await self._document(host)
        if document is None:
            if saved is None:
                return None
            raise Refused(f"there is no file {self.path} in which to put the old text back")
        before = "" if saved is None else await text_of(host, saved)
        after = self.edited(before) if self.desired() is not None else self.without(before)
        text = undone(before, after, document.text)
        if saved is None and not text:
            await host.ask("remove", path=self.path)
        elif text != document.text:
            await self._write(host, text, before=document)
        return None

    async def _document(self, host: Host) -> Document | None:
        answer = (await _read(host, [(self.path, self.follow)]))[self.path, self.follow]
        if isinstance(answer, SlothError):
            raise answer
        return answer

    async def _write(
        self, host: Host, text: str, *, before: Document | None, **attributes: str
    ) -> None:
        await host.write(
            self.path,
            Content.of(text),
            **attributes,
            validate=self.validate,
            backup=self.backup,
            follow=self.follow,
            in_place=self.in_place,
            was="" if before is None else sha256(before.text),
        )

    @property
    def _file(self) -> Hashable:
        return (self.path, self.follow, self.hide)


class MakingEdit(TextEdit, frozen=True, kw_only=True):
    """The base of ``line`` and ``block``: an edit that may make the file."""

    create: Annotated[bool, Doc("Make the file if it is missing; otherwise that is an error.")] = (
        False
    )
    mode: Annotated[Mode | None, Doc('Mode of a file that is made. Default: "0644".')] = None
    owner: Annotated[Account | None, Doc("Owner of a file that is made.")] = None
    group: Annotated[Account | None, Doc("Group of a file that is made.")] = None

    @property
    def creates_file(self) -> bool:
        return self.create

    @property
    def new_attributes(self) -> Mapping[str, str]:
        return set_only(mode=self.mode, owner=self.owner, group=self.group)


async def content_diff(
    host: Host, path: str, content: Content, change: Diff, *, follow: bool = False
) -> Mapping[str, str]:
    """Returns the diff of a file that is replaced by ``content``, where that can be shown."""
    if "content" not in change or content.size > DIFF_LIMIT:
        return {}
    before: str | None = ""
    with contextlib.suppress(HostError):  # too large, or not to be read: hashes say enough
        if change.kind != "create":
            before = await host.read(path, follow=follow, limit=DIFF_LIMIT)
        shown = unified(before or "", await text_of(host, content))
        return {"content": shown} if shown else {}
    return {}


async def text_of(host: Host, content: Content) -> str:
    """Returns the bytes of ``content``, wherever they are kept on the controller."""
    if content.data is not None:
        return content.data
    text = await host.controller.read(content.path) if content.path is not None else None
    if text is None:
        raise Refused("the saved content is not there any more")
    return text


async def _read(
    host: Host, wanted: Sequence[tuple[str, bool]]
) -> dict[tuple[str, bool], Document | SlothError | None]:
    """Reads each file once, all in one round trip."""
    files = list(dict.fromkeys(wanted))
    requests = [
        request
        for path, follow in files
        for request in (
            Request("stat", {"path": path, "follow": follow, "digest": False}),
            Request("read", {"path": path, "follow": follow, "limit": LIMIT}),
        )
    ]
    answers = await host.perform(requests)
    found = {
        file: _document(file[0], stat, text)
        for file, stat, text in zip(files, answers[::2], answers[1::2], strict=True)
    }
    for (path, follow), document in found.items():
        if follow and isinstance(document, Document):
            real = await real_path(host, path)
            found[path, follow] = structs.replace(document, real=real)
    return found


def _document(path: str, stat: Any, text: Any) -> Document | SlothError | None:
    if isinstance(stat, SlothError):
        return stat
    if stat is None:
        return None
    if stat["kind"] == "link":
        return Refused(
            f"{path} is a link to {stat['target']}",
            hint="edit what it points to by its own path, or say follow = true",
        )
    if stat["kind"] != "file":
        return Refused(f"{path} is not a file but a {stat['kind']}")
    if isinstance(text, HostError) and text.errno_name == "EFBIG":
        return Refused(f"{path} is larger than the {LIMIT} bytes that are edited line by line")
    if text is None or isinstance(text, SlothError):
        return text
    return Document(text=text, private=is_private(stat["mode"]))
