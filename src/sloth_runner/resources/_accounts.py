"""What ``user`` and ``group`` share: the accounts of a host, and how names and hashes look.

Accounts are those of /etc/passwd, /etc/group and /etc/shadow (passwd(5), group(5),
shadow(5)); what a directory service adds is looked at only to say that it is not ours.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from sloth_runner.core.errors import InUse, ParamError, SlothError
from sloth_runner.core.host import Host, Request, command_failed, rights_hint
from sloth_runner.core.values import State

EXCLUSIVE = "accounts"
"""Users and groups of one host are changed one at a time: they share their files."""

SHADOW = "/etc/shadow"
NO_PASSWORD = "!"  # noqa: S105 - the mark of shadow(5) for "none"
"""In shadow(5): locked, without a password."""

# What useradd(8) recommends, and the capitals and dots that Debian and many sites use.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
_LONGEST = 32
# crypt(5): every method but the ancient DES, whose hashes look like any word of 13 letters.
_HASH = re.compile(r"\$[0-9A-Za-z]{1,10}\$[!-9;-~]+")


class Accounts(Struct, frozen=True, kw_only=True):
    """The accounts of a host at one moment, as the verb ``accounts`` tells them.

    ``shadow`` maps names to their second field of shadow(5); it is None where nobody asked
    and the error where it could not be read.
    """

    users: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Mapping[str, Any]]
    shadow: Mapping[str, str] | SlothError | None = None

    def __repr__(self) -> str:
        return "Accounts()"  # nobody needs to read a hash

    def group_name(self, gid: int) -> str:
        """Returns the name of a group, or its number where it has none."""
        names = (name for name, group in self.groups.items() if group["gid"] == gid)
        return next(names, str(gid))

    def has_group(self, group: str) -> bool:
        """Whether a group exists, given by name or number."""
        if group.isdigit():
            return any(known["gid"] == int(group) for known in self.groups.values())
        return group in self.groups

    def groups_of(self, user: str) -> list[str]:
        """Returns the supplementary groups of a user, sorted."""
        return sorted(name for name, group in self.groups.items() if user in group["members"])

    def users_of(self, gid: int) -> list[str]:
        """Returns the users whose primary group it is, sorted."""
        return sorted(name for name, user in self.users.items() if user["gid"] == gid)

    def secret_of(self, user: str) -> str:
        """Returns the field of shadow(5); raises what reading it ended with."""
        if isinstance(self.shadow, SlothError):
            raise self.shadow
        return (self.shadow or {}).get(user, NO_PASSWORD)


async def look(host: Host, *, shadow: bool = False) -> Accounts:
    """Reads all accounts in one round trip; the secrets only where ``shadow`` asks for them."""
    requests = [Request("accounts", {})]
    if shadow:
        requests.append(Request("read", {"path": SHADOW}))
    known, *secrets = await host.perform(requests)
    if isinstance(known, Exception):
        raise known
    return Accounts(
        users=known["users"],
        groups=known["groups"],
        shadow=_fields(secrets[0]) if shadow else None,
    )


def _fields(answer: Any) -> Mapping[str, str] | SlothError:
    if isinstance(answer, SlothError):
        return answer
    return parse_shadow(answer or "")


def parse_shadow(text: str) -> dict[str, str]:
    """Returns the second field of each line of shadow(5), by user."""
    lines = (line.split(":") for line in text.split("\n"))
    return {fields[0]: fields[1] for fields in lines if len(fields) > 1}


def secret_state(secret: str) -> State:
    """Returns what a field of shadow(5) says: the hash, and apart from it whether it is locked.

    A mark alone ("!") is locked and has no password.
    """
    return {"password": secret.lstrip("!") or secret[:1], "locked": secret.startswith("!")}


def check_name(name: str, what: str) -> None:
    """Raises ParamError for what cannot be the name of an account."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ParamError(
            f"{name!r} is not a name for a {what}",
            hint=f"up to {_LONGEST} letters, digits, '_', '-' and '.', not beginning with a "
            "digit, '-' or '.'",
        )


def check_password(password: str) -> None:
    """Raises ParamError, which never repeats the value, for what is no hash of a password."""
    if password not in ("!", "*") and not _HASH.fullmatch(password):
        raise ParamError(
            "parameter 'password' is not a hash; a password in plain text is refused",
            hint='make one with "openssl passwd -6" or mkpasswd(1); "!" or "*" for no password',
        )


def check_field(name: str, value: str | None) -> None:
    """Raises ParamError for text that would break a line of passwd(5)."""
    if value is not None and re.search(r"[:\x00-\x1f\x7f]", value):
        raise ParamError(f"parameter {name!r} cannot hold ':' or control characters")


async def is_foreign(host: Host, database: str, name: str) -> bool:
    """Whether an account that no file of the host has is known from elsewhere (getent(1))."""
    found = await host.command("getent", database, name, accept=(0, 1, 2))
    return found.ok


async def change(host: Host, argv: Sequence[str], *, done: Sequence[int] = (0,)) -> int:
    """Runs a command of shadow-utils and returns its exit code, one of ``done``.

    Raises InUse where processes of the user forbid it (exit code 8), else CommandFailed.
    """
    result = await host.command(*argv, accept=range(256))
    if result.exit_code in done:
        return result.exit_code
    failed = command_failed(result, host=host.name)
    if result.exit_code == 8 and argv[0] != "groupdel":
        raise InUse(
            f"{argv[-1]} is logged in or has processes on {host.name}",
            hint="end them first, for example with loginctl terminate-user",
            facts=failed.facts,
        )
    failed.hint = rights_hint(result) or _HINTS.get((argv[0], result.exit_code), "")
    raise failed


async def set_secret(host: Host, user: str, secret: str) -> None:
    """Writes the field of shadow(5): through standard input, never through the arguments."""
    await host.command("chpasswd", "--encrypted", stdin=f"{user}:{secret}\n")


_BUSY = "something else is changing the accounts; run it again"
_HINTS = {
    ("useradd", 1): _BUSY,
    ("usermod", 1): _BUSY,
    ("useradd", 4): "give another uid",
    ("usermod", 4): "give another uid",
    ("groupadd", 4): "give another gid",
    ("groupmod", 4): "give another gid",
    ("userdel", 12): "the user is gone; its home could not be removed",
}
