"""``repository``: a package source of the host, with the key that its index is signed with."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, SlothError, TaskError
from sloth_runner.core.host import FileStat, Host, HostError, Request
from sloth_runner.core.resource import EVERYTHING, Function, Origin, Resource, Touches, declare
from sloth_runner.core.schema import Content, Doc, Path, Seconds
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _aptget, _sources
from sloth_runner.resources._transaction import only

_APT = "/etc/apt"
_FOLDER = f"{_APT}/sources.list.d"
_KEYRINGS = f"{_APT}/keyrings"
_KEY_LIMIT = 1024 * 1024
_LIMIT = 1024 * 1024
_MODE = "0644"

Kept = tuple[Content, str]
"""The content of a file, and its mode."""


@declare(
    "repository",
    Function(name="pkg.repository", doc="Adds a source of packages, or takes it away."),
)
class Repository(Resource, frozen=True, kw_only=True):
    """A package source, kept in ``/etc/apt/sources.list.d/NAME.sources``.

    A key that is given goes to ``/etc/apt/keyrings`` and is trusted for this source alone.
    After a change the index of this source is fetched; if that fails, nothing is changed.
    Fields of the file that no parameter speaks of stay as they are.
    """

    name: Annotated[str, Doc("A short name, which names its files.", key=True)]
    uris: Annotated[tuple[str, ...], Doc("Where it is.")] = ()
    suites: Annotated[
        tuple[str, ...], Doc('Its suites, or, ending with "/", paths below the address.')
    ] = ()
    components: Annotated[tuple[str, ...], Doc("The components to use.")] = ()
    types: Annotated[tuple[str, ...], Doc('"deb", "deb-src", or both.')] = ("deb",)
    architectures: Annotated[
        tuple[str, ...] | None, Doc("The architectures to use; unset, the host decides.")
    ] = None
    key: Annotated[Content | None, Doc("The public key itself, armoured or binary.")] = None
    key_path: Annotated[Path | None, Doc("A key that is on the host already.")] = None
    key_url: Annotated[str | None, Doc("Where the host fetches the key from.")] = None
    key_sha256: Annotated[str | None, Doc("The SHA-256 that the fetched key must have.")] = None
    trusted: Annotated[bool, Doc("Whether it is used even though nothing proves it genuine.")] = (
        False
    )
    refresh: Annotated[bool, Doc("Whether its index is fetched after a change.")] = True
    state: Annotated[Literal["present", "absent"], Doc("Whether it is there.")] = "present"
    lock_timeout: Annotated[
        Seconds, Doc("How long to wait while others use the package system.")
    ] = _aptget.LOCK_TIMEOUT

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "own", "uris": ["file:/opt/repo"], "suites": ["./"], "trusted": True},
        {"name": "own", "state": "absent"},
    )

    def check(self) -> None:
        """Refuses what apt could not read, before any host is asked."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ParamError(
                f"{self.name!r} cannot name a source",
                hint='apt reads only files named with letters, digits and "_.-"',
            )
        if self.state == "present":
            self._check_source()
            self._check_key()

    def _check_source(self) -> None:
        if not self.uris or not self.suites or not self.types:
            raise ParamError('"uris", "suites" and "types" must each have an item')
        lists = (self.uris, self.suites, self.components, self.types, self.architectures or ())
        for item in (item for items in lists for item in items):
            if not _sources.is_item(item):
                raise ParamError(f"{item!r} is not a single word")
        for uri in self.uris:
            if not re.match(r"[a-z][a-z0-9+-]*:", uri):
                raise ParamError(
                    f"{uri!r} is not an address", hint="for example https://host/debian"
                )
            if re.match(r"[^:]+://[^/]*:[^/]*@", uri):
                raise ParamError(
                    "an address must not hold a password",
                    hint="apt reads it from a file of its own below /etc/apt/auth.conf.d",
                )
        if unknown := set(self.types) - {"deb", "deb-src"}:
            raise ParamError(f'"types" are "deb" and "deb-src", not {min(unknown)!r}')
        flat = [suite.endswith("/") for suite in self.suites]
        if any(flat) and (self.components or not all(flat)):
            raise ParamError('suites that end with "/" are paths, and have no components')
        if not any(flat) and not self.components:
            raise ParamError('"components" is required', hint='for example {"main"}')

    def _check_key(self) -> None:
        given = [self.key, self.key_path, self.key_url]
        if sum(way is not None for way in given) > 1:
            raise ParamError('give one of "key", "key_path" and "key_url"')
        if (self.key_url is None) != (self.key_sha256 is None):
            raise ParamError('"key_url" and "key_sha256" belong together')
        if self.key_url is not None and not re.match(r"https?://", self.key_url):
            raise ParamError('"key_url" starts with https:// or http://')
        if self.key_sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.key_sha256):
            raise ParamError('"key_sha256" is 64 hexadecimal digits')
        if self.key is not None and _sources.key_suffix(self.key.data or "") is None:
            raise ParamError(
                '"key" is not an OpenPGP public key',
                hint="it begins with -----BEGIN PGP PUBLIC KEY BLOCK-----, or is binary",
            )
        if self.key_path is not None and not _sources.is_item(self.key_path):
            raise ParamError('"key_path" must not contain spaces or control characters')

    @property
    def path(self) -> str:
        return f"{_FOLDER}/{self.name}.sources"

    @property
    def touches(self) -> Touches:
        """What can be installed depends on the sources."""
        return EVERYTHING

    @property
    def part_of_file(self) -> bool:
        return False

    @property
    def exclusive(self) -> str:
        return _aptget.EXCLUSIVE

    @property
    def observation_key(self) -> str:
        return self.name

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        desired: State = {
            "types": list(self.types),
            "uris": list(self.uris),
            "suites": list(self.suites),
            "components": list(self.components),
            "trusted": self.trusted,
            "enabled": True,
            "stanzas": 1,
            "mode": _MODE,
        }
        if self.architectures is not None:
            desired["architectures"] = list(self.architectures)
        if self.key_path is not None:
            desired["signed_by"] = self.key_path
        wanted = self.key.sha256 if self.key is not None else self.key_sha256
        if wanted is not None:
            desired["key"] = wanted.lower()
            desired["key_mode"] = _MODE
        return desired

    async def observe(self, host: Host) -> State | None:
        return await only(self.observe_many(host, [self]))

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence["Repository"]
    ) -> list[State | Exception | None]:
        """Reads all files in one round trip, and looks at the keys that they name in another."""
        requests = [
            request
            for item in resources
            for request in (
                Request("stat", {"path": item.path, "follow": True, "digest": False}),
                Request("read", {"path": item.path, "follow": True, "limit": _LIMIT}),
            )
        ]
        answers = await host.perform(requests)
        seen: list[State | Exception | None] = []
        for stat, content in zip(answers[::2], answers[1::2], strict=True):
            problem = next((a for a in (stat, content) if isinstance(a, Exception)), None)
            if problem is not None or stat is None or content is None:
                seen.append(problem)
            else:
                seen.append(_state(content, FileStat(**stat).mode))
        await _look_at_keys(host, [state for state in seen if isinstance(state, dict)])
        return seen

    async def apply(self, host: Host, change: Diff) -> None:
        """Writes the key, fetches the index and writes the source; undoes all where that fails.

        The source comes last: by it one sees that the index was fetched too.
        """
        if change.kind == "remove":
            await self.destroy(host)
            return
        await _aptget.query(host, ())
        before = await _saved(host, self._files)
        try:
            stanza = self._stanza(before[self.path])
            signed_by = await self._place_key(host)
            if signed_by is not None:
                stanza["signed-by"] = signed_by
            content = Content.of(_sources.render(stanza))
            if self.refresh:
                await self._fetch(host, content)
            await host.write(self.path, content, mode=_MODE, owner="root", group="root")
        except SlothError:
            await _restore(host, before)
            raise

    async def _fetch(self, host: Host, source: Content) -> None:
        """Fetches the index of a source that apt does not know yet."""
        staged = f"{_APT}/.sloth-{self.name}.sources"
        try:
            await host.write(staged, source, mode=_MODE, owner="root", group="root")
            await _aptget.refresh(host, _only_from(staged), self.lock_timeout)
        finally:
            await host.ask("remove", path=staged)

    async def destroy(self, host: Host) -> None:
        for path in self._files:
            await host.ask("remove", path=path)

    def saves(self, actual: State | None) -> tuple[str, ...]:
        return self._files

    async def revert(self, host: Host, origin: Origin) -> None:
        mode = (origin.actual or {}).get("mode") or _MODE
        kept = {
            path: None if content is None else (content, mode if path == self.path else _MODE)
            for path, content in origin.saved.items()
        }
        await _restore(host, kept if origin.saved else dict.fromkeys(self._files))

    @property
    def _files(self) -> tuple[str, ...]:
        return (self.path, *(f"{_KEYRINGS}/{self.name}.{suffix}" for suffix in ("asc", "gpg")))

    def _stanza(self, before: Kept | None) -> _sources.Stanza:
        """Returns the fields to write: ours, and what else the file says now."""
        existing = _sources.parse(before[0].data or "") if before else []
        stanza = dict(existing[0]) if existing else {}
        lists = {
            "types": self.types,
            "uris": self.uris,
            "suites": self.suites,
            "components": self.components,
            "architectures": self.architectures,
        }
        for name, items in lists.items():
            if items:
                stanza[name] = _sources.joined(items)
            elif items is not None:
                stanza.pop(name, None)
        stanza.pop("enabled", None)
        stanza.pop("trusted", None)
        if self.trusted:
            stanza["trusted"] = "yes"
        return stanza

    async def _place_key(self, host: Host) -> str | None:
        """Puts the key where apt finds it and returns its path; None where no key is given."""
        if self.key_path is not None:
            return self.key_path
        if self.key is None and self.key_url is None:
            return None
        if await host.stat(_KEYRINGS, follow=True) is None:
            await host.ask("mkdir", path=_KEYRINGS, mode="0755", owner="root", group="root")
        key = self.key or await self._fetched_key(host)
        suffix = _sources.key_suffix(key.data or "")
        if suffix is None:
            raise TaskError(
                f"what {self.key_url} gave {host.name} is not an OpenPGP public key",
                hint="the address must give the key file itself",
            )
        path = f"{_KEYRINGS}/{self.name}.{suffix}"
        await host.write(path, key, mode=_MODE, owner="root", group="root")
        other = "gpg" if suffix == "asc" else "asc"
        await host.ask("remove", path=f"{_KEYRINGS}/{self.name}.{other}")
        return path

    async def _fetched_key(self, host: Host) -> Content:
        staging = f"{_KEYRINGS}/.{self.name}.fetched"
        try:
            await host.ask(
                "download",
                url=self.key_url,
                path=staging,
                sha256=(self.key_sha256 or "").lower(),
                mode="0600",
                owner=None,
                group=None,
                timeout=60.0,
            )
            return Content.of(await host.read(staging, limit=_KEY_LIMIT) or "")
        finally:
            await host.ask("remove", path=staging)


def _state(content: str, mode: str) -> State | None:
    stanzas = _sources.parse(content)
    if not stanzas:
        return None
    stanza = stanzas[0]
    state: State = {
        name: _sources.words(stanza.get(name))
        for name in ("types", "uris", "suites", "components", "architectures")
    }
    return {
        **state,
        "trusted": _sources.is_yes(stanza.get("trusted"), default=False),
        "enabled": _sources.is_yes(stanza.get("enabled"), default=True),
        "signed_by": stanza.get("signed-by"),
        "key": None,
        "key_mode": None,
        "stanzas": len(stanzas),
        "mode": mode,
    }


async def _look_at_keys(host: Host, states: Sequence[State]) -> None:
    """Adds to ``states`` what the key files that they name hold."""
    signed = [state for state in states if (state["signed_by"] or "").startswith("/")]
    requests = [
        Request("stat", {"path": state["signed_by"], "follow": True, "digest": True})
        for state in signed
    ]
    answers = await host.perform(requests) if requests else []
    for state, answer in zip(signed, answers, strict=True):
        if answer is not None and not isinstance(answer, HostError):
            stat = FileStat(**answer)
            state["key"], state["key_mode"] = stat.sha256, stat.mode


def _only_from(path: str) -> tuple[str, ...]:
    """Returns the options that have ``apt-get update`` fetch the source in ``path`` alone."""
    return (
        f"--option=Dir::Etc::SourceList={path}",
        "--option=Dir::Etc::SourceParts=/dev/null",
        # The indexes of all other sources, which seem to have gone, must stay.
        "--option=APT::Get::List-Cleanup=false",
        *_aptget.LOOK_ONLY,
    )


async def _saved(host: Host, paths: Sequence[str]) -> dict[str, Kept | None]:
    """Returns content and mode of each file, None where it is absent."""
    saved: dict[str, Kept | None] = dict.fromkeys(paths)
    for path in paths:
        stat = await host.stat(path, follow=True)
        content = await host.read(path, follow=True, limit=_LIMIT)
        if stat is not None and content is not None:
            saved[path] = (Content.of(content), stat.mode)
    return saved


async def _restore(host: Host, files: Mapping[str, Kept | None]) -> None:
    for path, kept in files.items():
        if kept is None:
            await host.ask("remove", path=path)
        else:
            await host.write(path, kept[0], mode=kept[1])
