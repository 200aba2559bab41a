"""What dpkg knows, without a machine: package names, versions and the answers of dpkg-query.

Versions follow deb-version(7), names the Debian Policy Manual, section 5.6.7.
"""

import fnmatch
import re
from collections.abc import Iterable

from msgspec import Struct

QUERY_FORMAT = (
    "${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Status}\t"
    "${db:Status-Eflag}\t${Version}\n"
)
"""What ``dpkg-query --show --showformat`` is asked for; ``Database.parse`` reads the answer."""

# A trailing "-" means "remove it" to apt-get, so no name may end with one.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9][a-z0-9-]*)?")
_VERSION = re.compile(r"(?:[0-9]+:)?[A-Za-z0-9][A-Za-z0-9.+~-]*")
_GLOB = re.compile(r"[*?\[]")
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")

Key = tuple[int, "_PartKey", "_PartKey"]
_PartKey = tuple[tuple[tuple[int, ...], int], ...]
_END: tuple[tuple[int, ...], int] = ((0,), 0)


def is_package_name(name: str) -> bool:
    """Whether ``name`` can name a package, with or without an architecture."""
    return _NAME.fullmatch(name) is not None and not name.endswith(":any")


def is_version_pattern(version: str) -> bool:
    """Whether ``version`` is a version, a part of one, or a glob over versions."""
    return _VERSION.fullmatch(re.sub(r"[*?\[\]!]", "0", version)) is not None


def is_glob(version: str) -> bool:
    """Whether ``version`` stands for many versions (fnmatch)."""
    return _GLOB.search(version) is not None


def split_name(name: str) -> tuple[str, str | None]:
    """Returns the bare name and the architecture, None where none is given."""
    bare, _, architecture = name.partition(":")
    return bare, architecture or None


def version_key(version: str) -> Key:
    """Returns a key that sorts versions as dpkg does; equal keys are equal versions."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch or "0"), _part_key(upstream), _part_key(revision)


def compare(left: str, right: str) -> int:
    """Returns a negative number, 0 or a positive one as ``left`` is older, equal or newer."""
    a, b = version_key(left), version_key(right)
    return (a > b) - (a < b)


def upstream(version: str) -> str:
    """Returns the upstream part of a version: without epoch and revision."""
    _, _, rest = version.rpartition(":")
    return rest.rpartition("-")[0] if "-" in rest else rest


def version_matches(wanted: str, version: str) -> bool:
    """Whether ``version`` satisfies ``wanted``.

    It does when dpkg calls them equal, when ``wanted`` equals the upstream part, or when
    ``wanted`` is a glob that matches the whole, the whole without epoch, or that part.
    """
    part = upstream(version)
    if is_glob(wanted):
        without_epoch = version.partition(":")[2] or version
        return any(fnmatch.fnmatchcase(text, wanted) for text in (version, without_epoch, part))
    return compare(wanted, version) == 0 or compare(wanted, part) == 0


class Entry(Struct, frozen=True):
    """One line of dpkg's database, in the words of dpkg-query(1)."""

    name: str
    architecture: str
    want: str
    status: str
    flag: str
    version: str

    @property
    def state(self) -> str | None:
        """The state as a resource tells it; None when dpkg knows the name and nothing else.

        "present": installed and configured, or waiting for triggers only. "config-files":
        removed, its configuration still there. Otherwise dpkg's word for what is half done.
        """
        if self.status in ("installed", "triggers-awaited", "triggers-pending"):
            return "present" if self.flag == "ok" else "reinst-required"
        return None if self.status == "not-installed" else self.status

    @property
    def held(self) -> bool:
        """Whether it is set on hold."""
        return self.want == "hold"


class Database(Struct, frozen=True):
    """The entries that were asked for; ``native`` is the architecture of dpkg itself."""

    entries: tuple[Entry, ...]
    native: str | None

    @classmethod
    def parse(cls, output: str) -> "Database":
        """Returns the database that an answer in QUERY_FORMAT spells, "dpkg" among its names."""
        rows = (line.split("\t") for line in output.split("\n"))
        entries = tuple(Entry(*row) for row in rows if len(row) == 6)
        native = next((e.architecture for e in entries if e.name == "dpkg" and e.state), None)
        return cls(entries, native)

    def find(self, name: str) -> Entry | None:
        """Returns the entry that ``name`` means, or None.

        Without an architecture that is the native one, or the foreign one where only that
        is there; ``NAME:NATIVE`` also means a package for all architectures, as to apt.
        """
        bare, architecture = split_name(name)
        fitting = [
            entry
            for entry in self.entries
            if entry.name == bare
            and (
                architecture in (None, entry.architecture)
                or (entry.architecture == "all" and architecture == self.native)
            )
        ]
        return max(fitting, key=self._rank, default=None)

    def name_of(self, entry: Entry) -> str:
        """Returns what apt calls an entry: with its architecture where that is a foreign one."""
        foreign = entry.architecture not in ("all", self.native)
        return f"{entry.name}:{entry.architecture}" if foreign else entry.name

    def _rank(self, entry: Entry) -> tuple[int, bool, bool]:
        degree = {"present": 3, "config-files": 1, None: 0}.get(entry.state, 2)
        return degree, entry.held, entry.architecture in ("all", self.native)


def newest(versions: Iterable[str]) -> str | None:
    """Returns the newest of ``versions`` as dpkg orders them, or None."""
    return max(versions, key=version_key, default=None)


def _part_key(part: str) -> _PartKey:
    """Returns the sort key of an upstream version or a revision.

    Such a part is a sequence of pairs, text and number; what is missing at the end counts
    as empty text, which sorts after "~" and before everything else, and as zero.
    """
    pairs = _PARTS.findall(part)[:-1]
    keys = tuple((_text_key(text), int(number or "0")) for text, number in pairs)
    return (*(keys or (_END,)), _END)


def _text_key(text: str) -> tuple[int, ...]:
    return (*(_order(char) for char in text), 0)


def _order(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 256
