"""``package``: software from the host's package manager, in the version that is asked for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeVar

from msgspec import structs

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, SlothError, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Checked, Function, Origin, Resource, declare
from sloth_runner.core.schema import Doc, Seconds
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _apt, _aptget, _dpkg, _transaction
from sloth_runner.resources._transaction import Answers, Terms, Wish, only

T = TypeVar("T")


@declare(
    "package",
    Function(
        name="pkg.install",
        doc="Installs packages, in the given version or in any.",
        each="names",
        accepts=(
            "name",
            "version",
            "state",
            "purge",
            "allow_removal",
            "allow_held",
            "recommends",
            "lock_timeout",
        ),
    ),
    Function(
        name="pkg.latest",
        doc="Installs packages, and upgrades them to what the index offers now.",
        preset={"state": "latest"},
        each="names",
        accepts=("name", "allow_removal", "allow_held", "recommends", "lock_timeout"),
    ),
    Function(
        name="pkg.remove",
        doc="Removes packages; their dependencies stay, and so does their configuration.",
        preset={"state": "absent"},
        each="names",
        accepts=("name", "purge", "allow_removal", "allow_held", "lock_timeout"),
    ),
)
class Package(Resource, frozen=True, kw_only=True):
    """A package, managed with apt. Many names of one call are one transaction.

    Configuration files that somebody changed are kept. A package that was removed and has
    left its configuration behind is not installed.
    """

    name: Annotated[
        str,
        Doc('The package, for example "nginx" or, with an architecture, "libc6:i386".', key=True),
    ]
    state: Annotated[
        Literal["present", "installed", "latest", "absent"],
        Doc('"installed" is another word for "present"; "latest" is what the index offers now.'),
    ] = "present"
    version: Annotated[
        str | None,
        Doc(
            'The version: in full, its upstream part, or a glob such as "1.18.*". Asking for an '
            "older one than is installed is asking for the downgrade."
        ),
    ] = None
    purge: Annotated[
        bool, Doc("When it is removed, its configuration goes too, even if it went earlier.")
    ] = False
    allow_removal: Annotated[
        bool, Doc("Whether other packages may be removed where that is what it takes.")
    ] = False
    allow_held: Annotated[
        bool,
        Doc("Whether it may change although it is on hold, where it then stays."),
    ] = False
    recommends: Annotated[
        bool | None, Doc("Whether recommended packages come along; unset, the host decides.")
    ] = None
    lock_timeout: Annotated[
        Seconds, Doc("How long to wait while others use the package system.")
    ] = _aptget.LOCK_TIMEOUT

    has_aliases: ClassVar[bool] = True
    samples = (
        {"name": "hello"},
        {"name": "sloth-pin", "version": "1.1"},
        {"name": "tree", "state": "latest"},
        {"name": "sloth-conf", "state": "absent", "purge": True},
    )

    checks_ahead: ClassVar = True
    uninterrupted: ClassVar = True

    def check(self) -> None:
        """Refuses what cannot be a package or a version, before any host is asked."""
        if not _dpkg.is_package_name(self.name):
            raise ParamError(f"{self.name!r} is not a package name", hint=_name_hint(self.name))
        if self.version is not None:
            if self.state in ("latest", "absent"):
                raise ParamError(f'"version" and state = "{self.state}" exclude each other')
            if not _dpkg.is_version_pattern(self.version):
                raise ParamError(
                    f"{self.version!r} is not a version",
                    hint='a version is for example "1.18.0-6", "1.18.0" or "1.18.*"',
                )
        if self.purge and self.state != "absent":
            raise ParamError('"purge" is for packages that are to be absent')

    @property
    def heeds(self) -> bool:
        return not self.allow_held

    @property
    def exclusive(self) -> str:
        return _aptget.EXCLUSIVE

    @property
    def tracked(self) -> tuple[str, ...]:
        """The version that was reached counts as drift when it moves, if one was asked for."""
        return ("version",) if self.version is not None or self.state == "latest" else ()

    @property
    def untracked(self) -> tuple[str, ...]:
        """A newer version on offer is no drift: nobody has touched the machine."""
        return ("latest",)

    @property
    def observation_key(self) -> tuple[str, bool, bool]:
        return self.name, self.purge, self.state == "latest"

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        desired: State = {"state": "present"}
        if self.version is not None:
            desired["version"] = self.version
        if self.state == "latest":
            desired["latest"] = True
        return desired

    def matches(self, name: str, desired: Value, actual: Value) -> bool:
        if name == "version" and actual is not None:
            return _dpkg.version_matches(desired, actual)
        return bool(desired == actual)

    @property
    def wish(self) -> Wish:
        """What a transaction has to know of it to install it."""
        return Wish(name=self.name, version=self.version, latest=self.state == "latest")

    def _terms(self, verb: Literal["install", "remove", "purge"]) -> Terms:
        installing = verb == "install"
        return Terms(
            verb=verb,
            allow_removal=self.allow_removal,
            allow_held=self.allow_held,
            lock_timeout=self.lock_timeout,
            recommends=self.recommends if installing else None,
            may_downgrade=installing and bool(self.tracked),
        )

    def terms(self, change: Diff) -> Terms:
        """Returns on what terms a change is made; those with the same share a transaction."""
        if change.kind == "remove":
            return self._terms("purge" if self.purge else "remove")
        return self._terms("install")

    async def observe(self, host: Host) -> State | None:
        return await only(self.observe_many(host, [self]))

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence["Package"]
    ) -> list[State | Exception | None]:
        """Asks dpkg once for all of them, and the index once for those that must be latest."""
        database = await _aptget.query(host, (package.name for package in resources))
        offered = await _aptget.policies(host, {p.name for p in resources if p.state == "latest"})
        return [
            _state(package, database.find(package.name), offered.get(package.name))
            for package in resources
        ]

    @classmethod
    async def known_as(
        cls, host: Host, seen: Sequence[tuple["Package", State | None]]
    ) -> Sequence[str]:
        return await _aptget.known_as(host, [package.name for package, _ in seen])

    async def apply(self, host: Host, change: Diff) -> None:
        await only(self.apply_many(host, [(self, change)]))

    async def destroy(self, host: Host) -> None:
        await only(self.apply_many(host, [(self, Diff("remove"))]))

    async def revert(self, host: Host, origin: Origin) -> None:
        """Brings back the version that was there, as long as the index still has it."""
        before = origin.actual
        if before is not None and before["state"] == "config-files":
            raise TaskError(
                f"the configuration that {self.name} had left behind cannot be brought back"
            )
        if before is None:
            await _transaction.remove(host, self._terms("remove"), [self.name])
            return
        version = before["version"]
        entry = (await _aptget.query(host, [self.name])).find(self.name)
        if entry is not None and (entry.state, entry.version) == ("present", version):
            return
        offered = (await _aptget.policies(host, [self.name])).get(self.name)
        if offered is None or version not in offered.versions:
            raise _transaction.no_version(host, self.name, version, offered)
        terms = structs.replace(self._terms("install"), may_downgrade=True)
        [problem] = await _transaction.install(host, terms, [Wish(name=self.name, version=version)])
        if problem is not None:
            raise problem

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        await only(self.preview_check_many(host, [(self, actual, change)]))

    @classmethod
    async def preview_check_many(
        cls, host: Host, work: Sequence[tuple["Package", State | None, Diff]]
    ) -> Sequence[Checked]:
        """Refuses what apt would refuse, and what would remove or downgrade other packages.

        What it would do to others and may is told.
        """

        async def check(terms: Terms, packages: Sequence[Package]) -> list[Checked]:
            return await _transaction.check(host, terms, [p.wish for p in packages])

        return await _grouped([(package, change) for package, _, change in work], check)

    @classmethod
    async def apply_many(cls, host: Host, work: Sequence[tuple["Package", Diff]]) -> Answers:
        """Carries out one transaction for all that can share one."""

        async def carry_out(terms: Terms, packages: Sequence[Package]) -> Answers:
            answers: Answers = [None] * len(packages)
            try:
                if terms.verb == "install":
                    wishes = [package.wish for package in packages]
                    answers = await _transaction.install(host, terms, wishes)
                else:
                    await _transaction.remove(host, terms, [p.name for p in packages])
            except SlothError as error:
                return await _failed(host, terms, packages, error)
            return answers

        return await _grouped(work, carry_out)

    async def text_diff(self, host: Host, change: Diff) -> Mapping[str, str]:
        """Shows which version a pattern or "latest" comes to."""
        shown = next((p for p in ("version", "latest") if p in change), None)
        if shown is None or change.kind == "remove":
            return {}
        installed = (await _aptget.query(host, [self.name])).find(self.name)
        offered = (await _aptget.policies(host, [self.name])).get(self.name)
        chosen = None if offered is None else self.wish.choose(offered)
        old = installed.version if installed is not None and installed.state == "present" else ""
        lines = [f"-{old}"] * bool(old) + [f"+{chosen}"] * bool(chosen)
        return {shown: "".join(f"{line}\n" for line in lines)}


def _state(
    package: Package, entry: _dpkg.Entry | None, offered: _apt.Policy | None
) -> State | None:
    state = None if entry is None else entry.state
    if entry is None or state is None:
        return None
    if state == "config-files":
        # Removed is absent, unless the configuration that was left is what has to go.
        return {"state": state, "version": entry.version} if package.purge else None
    seen: State = {"state": state, "version": entry.version}
    if package.state == "latest":
        candidate = None if offered is None else offered.candidate
        seen["candidate"] = candidate or entry.version
        seen["latest"] = _dpkg.compare(seen["candidate"], entry.version) == 0
    return seen


async def _grouped(
    work: Sequence[tuple[Package, Diff]],
    do: Callable[[Terms, Sequence[Package]], Awaitable[list[T]]],
) -> list[T]:
    """Has ``do`` answer for the packages of each group that shares its terms."""
    groups: dict[Terms, list[int]] = {}
    for index, (package, change) in enumerate(work):
        groups.setdefault(package.terms(change), []).append(index)
    answers: dict[int, T] = {}
    for terms, indices in groups.items():
        answered = await do(terms, [work[index][0] for index in indices])
        answers.update(zip(indices, answered, strict=True))
    return [answers[index] for index in range(len(work))]


async def _failed(
    host: Host, terms: Terms, packages: Sequence[Package], error: SlothError
) -> Answers:
    """Says which packages a failed transaction has left other than they should be."""
    answers: Answers = []
    for package, seen in zip(packages, await Package.observe_many(host, packages), strict=True):
        state = None if isinstance(seen, Exception) else seen
        reached = not package.diff(state) if terms.verb == "install" else state is None
        answers.append(None if reached else error)
    return answers


def _name_hint(name: str) -> str:
    if "=" in name:
        bare, _, version = name.partition("=")
        return f'give the version apart: name = "{bare}", version = "{version}"'
    return 'package names are lower case letters, digits and "+-."; many go into names = {...}'
