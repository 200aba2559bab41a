"""``user``: an account of the host."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import structs

from sloth_runner.core import schema
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused, SlothError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Checked, Function, Origin, Resource, declare
from sloth_runner.core.schema import Account, Doc, Path
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _accounts, _homes, _userback, _userchecks
from sloth_runner.resources._accounts import NO_PASSWORD, Accounts

_COMMON = ("name", "uid", "group", "groups", "append", "shell", "home", "comment", "password")


@declare(
    "user",
    Function(
        name="user.create",
        doc="Keeps a user with the given properties; a new one gets a home.",
        accepts=(*_COMMON, "locked", "create_home", "system"),
        each="names",
    ),
    Function(
        name="user.modify",
        doc="Keeps properties of a user that must exist; it lies over `user.create` of the same.",
        preset={"must_exist": True},
        accepts=(*_COMMON, "locked", "create_home"),
        each="names",
    ),
    Function(
        name="user.remove",
        doc="Keeps a user away; the home stays unless `remove_home` is given.",
        preset={"state": "absent"},
        accepts=("name", "remove_home", "force"),
        each="names",
    ),
)
class User(Resource, frozen=True, kw_only=True):
    """Keeps an account of /etc/passwd, or keeps it away; what is left out is not managed.

    A password is given as its hash, which goes to the host through standard input. A new
    user gets a home with the files of /etc/skel, unless it is a system user or something is
    at that place already: that is then left as it is. Nothing is moved when ``home``
    changes. With another ``uid``, what the user owns below the home follows (usermod(8)).
    A locked user has no valid password; other ways to log in, such as SSH keys, stay.

    ```lua
    user.create({ name = "appuser", shell = "/bin/bash", home = "/home/appuser" })
    user.modify({ name = "appuser", shell = "/bin/zsh" })
    ```
    """

    name: Annotated[str, Doc("The name of the user.", key=True)]
    uid: Annotated[int | None, Doc("Its number.")] = None
    group: Annotated[
        Account | None, Doc("The primary group; a new user gets one of its own name by default.")
    ] = None
    groups: Annotated[
        tuple[str, ...] | None,
        Doc("The other groups: all of them, or with `append` those that must be among them."),
    ] = None
    append: Annotated[bool, Doc("Whether groups that `groups` leaves out are kept.")] = False
    shell: Annotated[Path | None, Doc("The login shell; it need not be installed yet.")] = None
    home: Annotated[Path | None, Doc("The home directory.")] = None
    comment: Annotated[str | None, Doc("The full name or a description.")] = None
    password: Annotated[
        str | None,
        Doc('The hash of the password (crypt(5)); "!" or "*" for none.', sensitive=True),
    ] = None
    system: Annotated[
        bool, Doc("When it is made: a number of the range for the system, and no home.")
    ] = False
    locked: Annotated[bool | None, Doc("Whether the password is locked.")] = None
    create_home: Annotated[
        bool | None,
        Doc("true: the home exists, now and later; false: a new user gets none."),
    ] = None
    fill_home: Annotated[
        bool, Doc("Whether a home of the user's own has all that a new one is filled with.")
    ] = False
    state: Annotated[Literal["present", "absent"], Doc("Whether the user is there.")] = "present"
    must_exist: Annotated[bool, Doc("Refuse to make the user: what `user.modify` does.")] = False
    remove_home: Annotated[bool, Doc("When it is removed: the home and the mail too.")] = False
    force: Annotated[
        bool, Doc("Remove the home even where it is too large to be kept for an undo.")
    ] = False

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "sloth-user", "uid": 4211, "shell": "/bin/sh", "comment": "A sloth"},
        {"name": "sloth-user", "groups": ["users", "games"], "locked": True},
        {"name": "sloth-user", "password": "$6$salt$" + "x" * 86, "system": True},
        {"name": "games", "state": "absent"},
    )

    def check(self) -> None:
        """Refuses what passwd(5) cannot hold, and passwords in plain text."""
        _accounts.check_name(self.name, "user")
        for group in self.groups or ():
            _accounts.check_name(group, "group")
        for name in ("shell", "home", "comment"):
            _accounts.check_field(name, getattr(self, name))
        if self.uid is not None and not 0 <= self.uid < 2**32 - 1:
            raise ParamError(f"parameter 'uid': {self.uid} is not the number of a user")
        if self.append and self.groups is None:
            raise ParamError("parameter 'append' needs 'groups'")
        if self.password is not None:
            _accounts.check_password(self.password)
            if self.password == NO_PASSWORD and self.locked is False:
                raise ParamError('password = "!" is a locked one', hint='use "*" for none')

    @property
    def exclusive(self) -> str:
        return _accounts.EXCLUSIVE

    @property
    def takes(self) -> str | None:
        return None if self.uid is None else f"uid {self.uid}"

    @property
    def observation_key(self) -> Hashable:
        appended = tuple(sorted(self.groups or ())) if self.append else None
        by_number = self.group is not None and self.group.isdigit()
        home = self.create_home is True and (self.home or True), self.fill_home
        return (self.name, self.uid, self.state, appended, by_number, self._reads_shadow, home)

    @property
    def _reads_shadow(self) -> bool:
        return self.password is not None or self.locked is not None

    @property
    def _homeless(self) -> bool:
        """Whether a new one gets no home."""
        return self.create_home is False or (self.system and self.create_home is None)

    def refine(self, earlier: Any) -> Any:
        """Lays ``user.modify`` over ``user.create``, whichever of them comes first.

        Two of one kind say what neither contradicts, or nothing.
        """
        if {self.state, earlier.state} != {"present"}:
            return None
        if self.must_exist != earlier.must_exist:
            return _laid_over(earlier, self) if self.must_exist else _laid_over(self, earlier)
        if not self.must_exist or _contradict(self, earlier):
            return None
        exact_later = earlier.append and not self.append
        return _laid_over(self, earlier) if exact_later else _laid_over(earlier, self)

    def unfinished(self) -> "User":
        """Wants the home that useradd(8) was to make and fill, which is not managed otherwise."""
        if self._homeless or self.must_exist or self.state == "absent":
            return self
        return structs.replace(self, create_home=True, fill_home=True)

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        wanted: State = {
            "name": self.name,
            "uid": self.uid,
            "group": self.group,
            "groups": None if self.groups is None else sorted(set(self.groups)),
            "shell": self.shell,
            "home": self.home,
            "comment": self.comment,
            "password": self.password,
            "locked": self.locked,
            "create_home": self.create_home or None,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        """Reads the accounts once for all of them, and shadow(5) only where it matters."""
        accounts = await _accounts.look(host, shadow=any(u._reads_shadow for u in resources))
        answers: list[State | Exception | None] = []
        for user in resources:
            try:
                answers.append(user._seen(accounts))
            except SlothError as error:
                answers.append(error)
        for user, seen in zip(resources, answers, strict=True):
            if isinstance(seen, dict):
                await _homes.look(host, user, seen)
        return answers

    def _seen(self, accounts: Accounts) -> State | None:
        found = accounts.users.get(self.name)
        if found is None:
            return None
        by_number = self.group is not None and self.group.isdigit()
        groups = accounts.groups_of(self.name)
        if self.append:
            groups = [group for group in groups if group in (self.groups or ())]
        return {
            "name": self.name,
            "uid": found["uid"],
            "group": str(found["gid"]) if by_number else accounts.group_name(found["gid"]),
            "groups": groups,
            "shell": found["shell"],
            "home": found["home"],
            "comment": found["comment"],
            **({"gid": found["gid"]} if self.state == "absent" else {}),
            **(_accounts.secret_state(accounts.secret_of(self.name)) if self._reads_shadow else {}),
        }

    def plan_check(self, actual: State | None) -> None:
        goes = self.state == "absent" or self.uid not in (None, 0)
        if goes and actual is not None and actual.get("uid") == 0:
            raise Refused(f"{self.name} has uid 0: without it nobody can administer the host")
        bare = actual is None or actual.get("password", NO_PASSWORD) == NO_PASSWORD
        if self.locked is False and self.password is None and bare:
            raise Refused(
                f"{self.name} has no password that could be unlocked",
                hint='give the hash of one, or password = "*"',
            )

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        [refusal] = await self.preview_check_many(host, [(self, actual, change)])
        if isinstance(refusal, Exception):
            raise refusal

    @classmethod
    async def preview_check_many(
        cls, host: Host, work: Sequence[tuple[Any, State | None, Diff]]
    ) -> Sequence[Checked]:
        """Refuses what useradd(8) and its like would refuse, in the preview already."""
        return await _userchecks.checked(host, work)

    def saves(self, actual: State | None) -> tuple[str, ...]:
        """The old hash is only in shadow(5); of a removed user the home may go too."""
        if actual is None:
            return ()
        if self.state == "absent":
            return (_accounts.SHADOW, *((actual["home"],) if self.remove_home else ()))
        changed = self.password is not None and self.password != actual.get("password")
        return (_accounts.SHADOW,) if changed else ()

    async def apply(self, host: Host, change: Diff) -> None:
        if change.kind == "create":
            accounts = await _accounts.look(host)
            options = self._birth(accounts)
            home = self.home or await _homes.expected(host, self.name)
            anew = "--create-home" in options and await host.stat(home) is None
            await _accounts.change(host, ["useradd", *options, self.name])
            if self.password is not None:
                lock = "!" if self.locked and self.password != NO_PASSWORD else ""
                await _accounts.set_secret(host, self.name, lock + self.password)
            if anew:
                await _homes.fill(host, self.name)
            return
        [old_uid] = [c.old for c in change.changes if c.property == "uid"] or [None]
        options = [o for name in change_names(change) for o in self._options(name)]
        if "locked" in change and "password" not in change:
            options.append("--lock" if self.locked else "--unlock")
        if isinstance(old_uid, int) and self.uid is not None:
            await _homes.renumber(host, self.name, old_uid, self.uid, options)
        elif options:
            await _accounts.change(host, ["usermod", *options, self.name])
        if "password" in change:
            await self._set_password(host)
        if "create_home" in change:
            await _homes.make(host, self.name)
            if self.fill_home:
                await _homes.fill(host, self.name)

    def _birth(self, accounts: Accounts) -> list[str]:
        """Returns what useradd(8) is to make the user with."""
        names = (self.desired() or {}).keys() - {"append"}
        options = [option for name in sorted(names) for option in self._options(name)]
        if self.append:
            options.remove("--append")
        if self.group is None and self.name in accounts.groups:
            # Of its own name, as by default; useradd makes one only where there is none.
            options += ["--gid", self.name]
        options.append("--no-create-home" if self._homeless else "--create-home")
        return [*options, "--system"] if self.system else options

    def _options(self, name: str) -> list[str]:
        """Returns the options of useradd(8) and usermod(8) for one property."""
        value = getattr(self, name)
        if name == "groups":
            append = ["--append"] if self.append else []
            return [*append, "--groups", ",".join(sorted(set(value)))]
        option = _userback.OPTIONS.get(name)
        return [] if option is None else [option, str(value)]

    async def _set_password(self, host: Host) -> None:
        """Sets the hash; a user that was locked over a password stays so unless told."""
        now = (await _accounts.look(host, shadow=True)).secret_of(self.name)
        locked = self.locked
        if locked is None:
            locked = now.startswith("!") and now.strip("!*") != ""
        lock = "!" if locked and self.password != NO_PASSWORD else ""
        await _accounts.set_secret(host, self.name, f"{lock}{self.password}")

    async def destroy(self, host: Host) -> None:
        """Removes the user, and the home only where that was asked for; 6 means it is gone."""
        wholly = self.state == "absent" and self.remove_home
        remove = ["--remove"] if wholly else []
        await _accounts.change(host, ["userdel", *remove, self.name], done=(0, 6))

    async def revert(self, host: Host, origin: Origin) -> None:
        """Brings back what this declaration managed, or the whole user where it was removed."""
        if origin.actual is None:
            return await self.destroy(host)
        return await _userback.bring_back(host, self, origin)


def change_names(change: Diff) -> list[str]:
    """Returns the names of the properties that a change is about."""
    return [item.property for item in change.changes]


def _contradict(one: User, other: User) -> bool:
    """Whether two changes of one user want a property otherwise; to append goes with any groups."""
    wanted, also = one.desired() or {}, other.desired() or {}
    differing = {name for name in wanted.keys() & also.keys() if wanted[name] != also[name]}
    return bool(differing - ({"groups"} if one.append or other.append else set()))


def _laid_over(base: User, over: User) -> User:
    """Returns ``base`` with what ``over`` sets beside it or otherwise."""
    given = {
        param.name: getattr(over, param.name)
        for param in schema.params_of(User).values()
        if getattr(over, param.name) != param.default and param.name not in ("name", "must_exist")
    }
    if over.append and base.groups is not None:
        given["groups"] = (*base.groups, *(g for g in over.groups or () if g not in base.groups))
        given["append"] = base.append
    elif over.groups is not None:
        given["append"] = over.append
    return structs.replace(base, **given)
