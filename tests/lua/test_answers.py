"""What a call answers is an ordinary table, however late a part of it is decoded."""

from typing import Any

import pytest

from lua.conftest import Bench
from sloth_runner.engine.program import Answer

WHOLE = {
    "changed": False,
    "status": "unchanged",
    "diff": {},
    "before": {"mode": "0644", "owner": "root"},
    "after": {"mode": "0644", "owner": "root"},
}

READS = {
    "a field": "return r.before",
    "what is there at once": "return r.status",
    "what is not there": "return r.nothing == nil and r.after",
    "all fields": "local t = {} for k, v in pairs(r) do t[k] = v end return t",
    "one after the other": "local t, k, v = {} k, v = next(r) "
    "while k do t[k] = v k, v = next(r, k) end return t",
    "raw": "return rawget(r, 'after')",
    "as JSON": "return json.decode(json.encode(r))",
    "in another table": "return { r }",
    "itself": "return r",
    "over what was set": "r.before = 5 return { r.before, r.after.mode }",
    "over what was set raw": "rawset(r, 'before', 5) return { r.before, r.after.mode }",
    "over what was set beside": "r.mine = 5 return r",
    "under another metatable": "setmetatable(r, { __index = function() return 7 end }) "
    "return { r.before, r.other }",
    "in a comparator": "local list = { 2, 1 } "
    "table.sort(list, function(a, b) return a < b and r.before ~= nil end) return list",
    "through a task": "pkg.remove(r) return r",
}


def late(*_: Any) -> Answer:
    return Answer(value=WHOLE, late=("diff", "before", "after"))


def at_once(*_: Any) -> Answer:
    return Answer(value=WHOLE)


@pytest.mark.parametrize("name", sorted(READS))
def test_what_is_decoded_late_reads_as_what_is_there_at_once(bench: Bench, name: str) -> None:
    def told(handler: Any) -> list[Any]:
        bench.context.handlers["pkg.install"] = handler
        bench.context.called.clear()
        value = bench.main(f"local r = pkg.install('nginx') {READS[name]}").value
        return [value, list(bench.context.called)]

    assert told(late) == told(at_once)
    assert told(late)[0] is not None


def test_what_cannot_be_decoded_for_want_of_memory_is_whole_once_there_is_room(
    bench: Bench,
) -> None:
    size = 3 * 1024 * 1024
    answer = {"changed": False, "before": {"text": "x" * size}, "after": {}, "diff": {}}
    bench.context.handlers["pkg.install"] = lambda *_: Answer(
        value=answer, late=("diff", "before", "after")
    )
    said = bench.main(
        """
        local r = pkg.install("nginx")
        local full = {}
        pcall(function() while true do full[#full + 1] = string.rep("y", 64 * 1024 - #full) end end)
        local ok, why = pcall(function() return r.before.text end)
        full = nil
        collectgarbage()
        return { ok, tostring(why), #r.before.text }
        """,
        max_memory=16 * 1024 * 1024,
    ).value
    assert said == [False, "not enough memory", size]
