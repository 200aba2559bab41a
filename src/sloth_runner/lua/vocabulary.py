"""The words of a workflow: every name that a file can use without defining it."""

# Lists of words read best as words.
# ruff: noqa: SIM905

import functools
from collections.abc import Mapping

from msgspec import Struct

from sloth_runner.core.registry import registry
from sloth_runner.lua.graphs import KEYS

LIBRARY: Mapping[str, frozenset[str]] = {
    "string": frozenset(
        "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack "
        "upper".split()
    ),
    "table": frozenset("concat getn insert move pack remove sort unpack".split()),
    "math": frozenset(
        "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger "
        "modf pi pow rad random randomseed sin sqrt tan tointeger type ult".split()
    ),
    "coroutine": frozenset("close create isyieldable resume running status wrap yield".split()),
    "utf8": frozenset("char charpattern codepoint codes len offset".split()),
    "os": frozenset(
        "clock date difftime execute exit getenv remove rename setlocale time tmpname".split()
    ),
    "io": frozenset(
        "close input lines open output popen read stderr stdin stdout tmpfile type write".split()
    ),
    "debug": frozenset({"traceback"}),
    "package": frozenset({"loaded", "path", "cpath", "config", "preload", "searchers"}),
}
"""What Lua 5.4 brings, as far as the sandbox leaves it."""

WORDS = frozenset(
    "_G _VERSION assert collectgarbage dofile error getmetatable ipairs load loadfile loadstring "
    "next pairs pcall print rawequal rawget rawlen rawset require select setmetatable tonumber "
    "tostring type unpack warn xpcall".split()
)
"""The global functions of the language."""

OURS = frozenset(
    "sha256 json.encode json.decode json.pretty json.null json.array yaml.encode yaml.decode "
    "template.render log.debug log.info log.warn log.error goroutine.spawn goroutine.wait "
    "goroutine.map goroutine.sleep goroutine.channel goroutine.mutex goroutine.semaphore "
    "goroutine.wait_group stack.get_name stack.get_id stack.get_status stack.set_output "
    "stack.get_output stack.register_resource stack.update_resource stack.get_resource "
    "stack.resource_exists stack.delete_resource resource.define".split()
) | frozenset(
    f"{prefix}.{name}"
    for prefix in ("state", "stack.state")
    for name in ("set", "get", "delete", "keys", "increment", "compare_swap")
)
"""The functions that are no resource, action or query; a test holds this against the real ones."""

TABLES = frozenset({"facts", "values"})
"""Tables of values: any key can be read."""

REGISTER_KEYS = ("type", "name", "module", "properties", "host", "delegate_to")
UPDATE_KEYS = ("state", "error", "properties")


class Vocabulary(Struct, frozen=True):
    """The names that a registry gives to workflows, with those that are always there.

    ``functions`` are the dotted names of all functions that we add to Lua, ``modules`` the
    names in each module that we add to (functions, and modules within it), and ``names``
    every global name that exists before a file has defined anything.
    """

    functions: frozenset[str]
    modules: Mapping[str, frozenset[str]]
    names: frozenset[str]


def vocabulary() -> Vocabulary:
    """Returns the vocabulary of this installation."""
    return _of(registry().names)


@functools.cache
def _of(declared: frozenset[str]) -> Vocabulary:
    functions = OURS | declared
    modules: dict[str, set[str]] = {}
    for name in functions:
        parts = name.split(".")
        for index in range(1, len(parts)):
            modules.setdefault(".".join(parts[:index]), set()).add(parts[index])
    tops = {name.partition(".")[0] for name in functions}
    return Vocabulary(
        functions=functions,
        modules={
            name: frozenset(names) | LIBRARY.get(name, frozenset())
            for name, names in modules.items()
        },
        names=WORDS | KEYS.keys() | TABLES | frozenset(LIBRARY) | tops,
    )
