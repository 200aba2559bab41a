"""What lies below the home of a user: whom it belongs to, and what a new home is filled with."""

from collections.abc import Mapping, Sequence
from typing import Any

from sloth_runner.core.errors import SlothError
from sloth_runner.core.host import Host, Request
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State
from sloth_runner.resources import _accounts, _removal

OF_NEW_UID = "of_new_uid"
"""In what is seen of a user: the inodes below the home that its new number owns already."""

_DEFAULTS = "/etc/default/useradd"


async def look(host: Host, user: Any, seen: State) -> None:
    """Adds to what is ``seen`` of a user what there is to say of the home, where that matters."""
    home = seen["home"]
    if user.create_home:
        stat = await host.stat(user.home or home, follow=True)
        there = stat is not None and stat.kind == "directory"
        own = stat is not None and stat.uid == seen["uid"]
        seen["create_home"] = there and not (user.fill_home and own and await _lacking(host, home))
    if user.uid not in (None, seen["uid"]) and (theirs := await owned(host, home, user.uid)):
        seen[OF_NEW_UID] = theirs


async def renumber(host: Host, name: str, old: int, new: int, options: Sequence[str]) -> None:
    """Changes the number of a user, with whatever else ``options`` tell usermod(8).

    usermod hands over what the user owns below the home after the number has changed. Where
    it is killed on the way, nobody sees that the rest is still to be done; so it is done
    before, and taken back where the number cannot change.
    """
    home = (await _accounts.look(host)).users[name]["home"]
    theirs = await owned(host, home, new)
    try:
        await hand_over(host, home, old, new)
        await _accounts.change(host, ["usermod", *options, name])
    except SlothError:
        await hand_over(host, home, new, old, spare=theirs)
        raise


async def owned(host: Host, home: str, uid: int) -> list[int]:
    """Returns the inodes of a home and what is below that a number owns."""
    if not await _is_home(host, home):
        return []
    argv = ("find", "-P", home, "-uid", str(uid), "-printf", r"%i\n")
    found = await host.command(*argv, accept=(0, 1))  # 1: what may not be looked into
    return sorted({int(inode) for inode in found.stdout.split()})


async def hand_over(host: Host, home: str, old: int, new: int, **which: Sequence[int]) -> None:
    """Gives what one number owns of a home to another: of all, or ``spare`` or ``only`` inodes."""
    if await _is_home(host, home):
        await host.ask("hand_over", path=home, old=old, new=new, **which)


async def _is_home(host: Host, home: str) -> bool:
    if not home.startswith("/") or home in _removal.SYSTEM:
        return False
    stat = await host.stat(home)
    return stat is not None and stat.kind == "directory"


async def expected(host: Host, name: str) -> str:
    """Returns where useradd(8) makes the home of a new user, unless told."""
    return f"{await _default(host, 'HOME', '/home')}/{name}"


async def make(host: Host, name: str) -> None:
    """Makes and fills the home of a user where there is nothing; all of it or nothing."""
    home = (await _accounts.look(host)).users[name]["home"]
    nothing = await host.stat(home) is None
    try:
        await _accounts.change(host, ["mkhomedir_helper", name])
    except SlothError:
        if nothing and home not in _removal.SYSTEM:
            await host.ask("remove", path=home, tree=True)
        raise


async def fill(host: Host, name: str) -> None:
    """Completes what useradd(8) copies into a new home, without a word where it could not."""
    user = (await _accounts.look(host)).users[name]
    owner, group = str(user["uid"]), str(user["gid"])
    for entry in await _lacking(host, user["home"]):
        path, mode = f"{user['home']}/{entry['path']}", entry["mode"]
        if entry["kind"] == "directory":
            await host.ask("mkdir", path=path, mode=mode, owner=owner, group=group)
        elif entry["kind"] == "link":
            target = entry["target"]
            await host.ask("symlink", path=path, target=target, owner=owner, group=group)
        elif entry["kind"] == "file":
            content = Content.of(await host.read(entry["model"]) or "")
            await host.write(path, content, mode=mode, owner=owner, group=group)


async def _lacking(host: Host, home: str) -> list[dict[str, Any]]:
    """Returns what of the model of homes, /etc/skel, is not below a home, or not whole.

    A file is not whole where it is shorter than the model's and goes like it so far.
    """
    skel = await _default(host, "SKEL", "/etc/skel")
    model = [
        {**entry, "model": f"{skel}/{entry['path']}"}
        for entry in await host.ask("walk", path=skel) or ()
    ]
    asked = [Request("stat", {"path": f"{home}/{entry['path']}"}) for entry in model]
    lacks = []
    for entry, there in zip(model, await host.perform(asked), strict=True):
        if isinstance(there, Exception):
            raise there
        if there is None or await _is_cut_off(host, entry, there, f"{home}/{entry['path']}"):
            lacks.append(entry)
    return lacks


async def _is_cut_off(
    host: Host, entry: Mapping[str, Any], there: Mapping[str, Any], path: str
) -> bool:
    if {entry["kind"], there["kind"]} != {"file"} or there["size"] >= entry["size"]:
        return False
    whole, part = await host.read(entry["model"]), await host.read(path)
    return (whole or "").startswith(part or "")


async def _default(host: Host, key: str, otherwise: str) -> str:
    """Returns a setting of useradd(8)."""
    lines = (await host.read(_DEFAULTS, follow=True) or "").split("\n")
    given = [line.partition("=")[2].strip() for line in lines if line.startswith(f"{key}=")]
    return given[-1] if given and given[-1] else otherwise
