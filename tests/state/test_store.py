"""What every store must do: rows come back as they went in, whatever is in them."""

import sqlite3

import pytest
from msgspec import structs

from sloth_runner.core.address import Address
from sloth_runner.core.errors import UsageError
from sloth_runner.core.record import CommandRecord, Digest, Output, Run, Stack
from sloth_runner.state.ids import new_id
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store
from state.builders import HOSTILE, a_carry, a_holder, a_row, an_operation


def names(journal: Journal, stack: Stack) -> list[str]:
    return [row.address.name for row in journal.look(lambda s: s.resources(stack.id))]


# stacks


def test_a_new_stack_is_found_by_its_name_and_listed(journal: Journal) -> None:
    made = journal.call(
        lambda s: s.create_stack("web", version="1", workflow="/srv/web.lua", description="a b")
    )
    assert (made.status, made.serial, made.workflow) == ("new", 1, "/srv/web.lua")
    assert journal.look(lambda s: s.stack("web")) == made
    assert journal.look(lambda s: s.stacks()) == [made]
    assert journal.look(lambda s: s.stack("other")) is None


def test_two_stacks_of_one_name_are_refused_and_the_first_stays(journal: Journal) -> None:
    made = journal.call(lambda s: s.create_stack("web", version="1"))
    with pytest.raises(UsageError, match="there is a stack"):
        journal.call(lambda s: s.create_stack("web", version="2"))
    assert journal.look(lambda s: s.stacks()) == [made]


def test_stacks_have_a_lineage_of_their_own(journal: Journal) -> None:
    first = journal.call(lambda s: s.create_stack("web", version="1"))
    journal.call(lambda s: s.delete_stack(first.id))
    second = journal.call(lambda s: s.create_stack("web", version="1"))
    assert first.lineage != second.lineage
    assert first.id != second.id


def test_an_update_changes_what_is_given_and_the_serial_grows(journal: Journal) -> None:
    made = journal.call(lambda s: s.create_stack("web", version="1", workflow="/a.lua"))
    journal.call(lambda s: s.update_stack(made.id, status="running"))
    found = journal.look(lambda s: s.stack("web"))
    assert found is not None
    assert found.updated_at > made.updated_at
    expected = structs.replace(made, status="running", serial=2, updated_at=found.updated_at)
    assert found == expected


def test_a_stack_can_be_renamed_but_not_to_a_name_that_is_taken(journal: Journal) -> None:
    made = journal.call(lambda s: s.create_stack("web", version="1"))
    journal.call(lambda s: s.create_stack("db", version="1"))
    with pytest.raises(UsageError, match='"db"'):
        journal.call(lambda s: s.rename(made.id, "db"))
    journal.call(lambda s: s.rename(made.id, "www"))
    assert [stack.name for stack in journal.look(lambda s: s.stacks())] == ["db", "www"]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back_byte_for_byte(journal: Journal, text: str) -> None:
    stack = journal.call(
        lambda s: s.create_stack(text, version=text, workflow=text, description=text)
    )
    assert journal.look(lambda s: s.stack(text)) == stack
    run = journal.call(
        lambda s: s.begin_run(stack.id, kind="run", who=text, command=text, source_hash="h")
    )
    assert journal.look(lambda s: s.run(stack.id, 1)) == run
    row = a_row(
        text,
        address=Address(text, "file", text),
        module=text,
        params={"a": text},
        desired={"a": [text]},
        actual={"a": {"b": text}},
        error=text,
        task=text,
        location=text,
        drift=({"property": "a", "recorded": text, "actual": None},),
    )
    kept = journal.call(lambda s: s.put_resource(stack.id, row))
    assert journal.look(lambda s: s.resources(stack.id)) == [kept]
    assert journal.look(lambda s: s.resource(stack.id, row.address)) == kept
    operation = an_operation(run.id, text, task=text, started_at="2026")
    journal.call(lambda s: s.begin_operation(operation))
    assert journal.look(lambda s: s.operations(run.id)) == [operation]
    journal.call(
        lambda s: s.put_output(
            stack.id, Output(key=text, value=text, sensitive=False, updated_at="2026", run=1)
        )
    )
    assert [(o.key, o.value) for o in journal.look(lambda s: s.outputs(stack.id))] == [(text, text)]
    journal.call(lambda s: s.kv_set("", text, text))
    assert [(k, v) for k, v, _ in journal.look(lambda s: s.kv_list("", text))] == [(text, text)]
    digest = Digest(1, 2, 3, 4, "a" * 64, 5)
    journal.call(lambda s: s.put_digests(text, {text: digest}))
    assert journal.look(lambda s: s.digests(text)) == {text: digest}


def test_a_deleted_stack_leaves_nothing_behind(journal: Journal, stack: Stack, run: Run) -> None:
    operation = an_operation(run.id)

    def fill(store):
        store.put_resource(stack.id, a_row())
        store.begin_operation(operation)
        store.command_started(a_command(operation.id))
        store.add_event(run.id, "task.end", None, {})
        store.put_output(stack.id, an_output())
        store.kv_set(stack.id, "k", 1)
        store.set_holder(stack.id, run.id, a_holder())

    journal.call(fill)
    assert journal.call(lambda s: s.delete_stack(stack.id)) is True
    assert journal.call(lambda s: s.delete_stack(stack.id)) is False
    tables = [
        "stacks",
        "runs",
        "resources",
        "claims",
        "operations",
        "commands",
        "events",
        "outputs",
        "kv",
        "holders",
    ]
    with sqlite3.connect(journal.path) as plain:
        left = {t: plain.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
    plain.close()
    assert left == dict.fromkeys(tables, 0)


# runs


def test_runs_are_numbered_from_one_in_each_stack(journal: Journal, stack: Stack) -> None:
    other = journal.call(lambda s: s.create_stack("db", version="1"))

    def begin(store, stack_id):
        return store.begin_run(stack_id, kind="run", who="a", command="c", source_hash="h")

    made = [journal.call(lambda s, i=i: begin(s, i)) for i in (stack.id, stack.id, other.id)]
    assert [run.number for run in made] == [1, 2, 1]
    assert [run.number for run in journal.look(lambda s: s.runs(stack.id))] == [2, 1]
    assert [run.number for run in journal.look(lambda s: s.runs(stack.id, 1))] == [2]
    assert journal.look(lambda s: s.run(stack.id, 3)) is None


def test_a_finished_run_has_its_result_and_counts(journal: Journal, stack: Stack, run: Run) -> None:
    journal.call(lambda s: s.finish_run(run.id, result="failed", counts={"failed": 1}))
    found = journal.look(lambda s: s.run(stack.id, 1))
    assert found is not None
    assert found.finished_at is not None
    assert found.finished_at >= run.started_at
    assert (found.result, found.counts) == ("failed", {"failed": 1})


# resources


def test_resources_are_listed_in_the_order_of_their_creation(
    journal: Journal, stack: Stack
) -> None:
    for name in ("c", "a", "b"):
        journal.call(lambda s, n=name: s.put_resource(stack.id, a_row(n)))
    journal.call(lambda s: s.put_resource(stack.id, a_row("c", state="failed")))
    assert names(journal, stack) == ["c", "a", "b"]
    assert journal.look(lambda s: s.resource_count(stack.id)) == 3


def test_an_update_keeps_order_and_birth(journal: Journal, stack: Stack) -> None:
    first = journal.call(lambda s: s.put_resource(stack.id, a_row("a")))
    journal.call(lambda s: s.put_resource(stack.id, a_row("b")))
    again = journal.call(lambda s: s.put_resource(stack.id, a_row("a", error="no", order=99)))
    assert (again.order, again.created_at) == (first.order, first.created_at)
    assert again.updated_at > first.updated_at
    assert journal.look(lambda s: s.resource(stack.id, again.address)) == again


def test_every_field_of_a_resource_comes_back(journal: Journal, stack: Stack) -> None:
    full = a_row(
        desired=None,
        actual=None,
        carry=a_carry(),
        drift=({"property": "mode", "recorded": "0644", "actual": "0600"},),
        drift_since="2026-01-01T00:00:00.000000Z",
        error="it broke",
        protect=True,
        state="drift",
        provenance="modified",
    )
    kept = journal.call(lambda s: s.put_resource(stack.id, full))
    found = journal.look(lambda s: s.resources(stack.id))
    assert found == [kept]
    given = structs.replace(kept, order=0, created_at="", updated_at="")
    assert given == full


def test_an_empty_state_is_not_an_absent_one(journal: Journal, stack: Stack) -> None:
    kept = journal.call(lambda s: s.put_resource(stack.id, a_row(desired={}, actual=None)))
    found = journal.look(lambda s: s.resource(stack.id, kept.address))
    assert found is not None
    assert (found.desired, found.actual) == ({}, None)


def test_a_registration_stands_beside_the_resource_of_the_same_address(
    journal: Journal, stack: Stack
) -> None:
    journal.call(lambda s: s.put_resource(stack.id, a_row(module="file_ops")))
    journal.call(lambda s: s.put_resource(stack.id, a_row(module="stack", registered=True)))
    address = a_row().address
    assert journal.look(lambda s: s.resource(stack.id, address)).module == "file_ops"
    assert journal.look(lambda s: s.resource(stack.id, address, True)).module == "stack"
    assert journal.call(lambda s: s.delete_resource(stack.id, address, True)) is True
    assert journal.call(lambda s: s.delete_resource(stack.id, address, True)) is False
    assert [row.module for row in journal.look(lambda s: s.resources(stack.id))] == ["file_ops"]


def test_stacks_do_not_see_each_others_resources(journal: Journal, stack: Stack) -> None:
    other = journal.call(lambda s: s.create_stack("db", version="1"))
    journal.call(lambda s: s.put_resource(stack.id, a_row()))
    assert journal.look(lambda s: s.resources(other.id)) == []
    assert journal.call(lambda s: s.delete_resource(other.id, a_row().address)) is False


def test_the_serial_grows_with_changes_and_not_with_claims(journal: Journal, stack: Stack) -> None:
    def serial() -> int:
        return journal.look(lambda s: s.stacks())[0].serial

    journal.call(lambda s: s.put_resource(stack.id, a_row()))
    assert serial() == 2
    key = a_row().key
    journal.call(lambda s: s.touch(stack.id, {1: "main"}, run_number=2))
    assert serial() == 2
    journal.call(lambda s: s.set_drift(stack.id, key[0], [{"property": "mode"}], "2026"))
    assert serial() == 3
    journal.call(lambda s: s.put_output(stack.id, an_output()))
    assert serial() == 4
    journal.call(lambda s: s.delete_resource(stack.id, key[0]))
    assert serial() == 5


def test_a_touch_claims_exactly_the_given_resources(journal: Journal, stack: Stack) -> None:
    for name in "abcdef":
        journal.call(lambda s, n=name: s.put_resource(stack.id, a_row(n)))
    journal.call(lambda s: s.put_resource(stack.id, a_row("a", registered=True)))
    tasks = {1: "deploy", 2: "deploy", 3: "check", 5: "deploy"}
    journal.call(lambda s: s.touch(stack.id, tasks, run_number=5))
    found = [
        (row.address.name, row.registered, row.claimed_run, row.task)
        for row in journal.look(lambda s: s.resources(stack.id))
    ]
    assert found == [
        ("a", False, 5, "deploy"),
        ("b", False, 5, "deploy"),
        ("c", False, 5, "check"),
        ("d", False, 1, "main"),
        ("e", False, 5, "deploy"),
        ("f", False, 1, "main"),
        ("a", True, 1, "main"),
    ]


def test_a_touch_leaves_other_stacks_alone(journal: Journal, stack: Stack) -> None:
    other = journal.call(lambda s: s.create_stack("other", version="1"))
    for each in (stack, other):
        journal.call(lambda s, e=each: s.put_resource(e.id, a_row("a")))
    journal.call(lambda s: s.touch(other.id, {1: "deploy"}, run_number=5))
    [row] = journal.look(lambda s: s.resources(stack.id))
    assert (row.claimed_run, row.task) == (1, "main")


def test_drift_is_recorded_and_cleared_again(journal: Journal, stack: Stack) -> None:
    address = a_row().address
    journal.call(lambda s: s.put_resource(stack.id, a_row()))
    drift = [{"property": "mode", "recorded": "0644", "actual": "0600"}]
    journal.call(lambda s: s.set_drift(stack.id, address, drift, "2026-02-03"))
    found = journal.look(lambda s: s.resource(stack.id, address))
    assert (found.state, found.drift, found.drift_since) == ("drift", tuple(drift), "2026-02-03")
    journal.call(lambda s: s.set_drift(stack.id, address, [], None))
    found = journal.look(lambda s: s.resource(stack.id, address))
    assert (found.state, found.drift, found.drift_since) == ("applied", (), None)


def test_drift_does_not_hide_a_failure(journal: Journal, stack: Stack) -> None:
    address = a_row().address
    journal.call(lambda s: s.put_resource(stack.id, a_row(state="failed")))
    journal.call(lambda s: s.set_drift(stack.id, address, [{"property": "mode"}], "2026"))
    assert journal.look(lambda s: s.resource(stack.id, address)).state == "failed"
    journal.call(lambda s: s.set_drift(stack.id, address, [], None))
    assert journal.look(lambda s: s.resource(stack.id, address)).state == "failed"


def test_what_is_owed_is_cleared_for_the_given_resources(journal: Journal, stack: Stack) -> None:
    for name in "ab":
        journal.call(lambda s, n=name: s.put_resource(stack.id, a_row(n, carry=a_carry())))
    journal.call(lambda s: s.clear_carry(stack.id, [a_row("a").key]))
    owed = [row.carry is not None for row in journal.look(lambda s: s.resources(stack.id))]
    assert owed == [False, True]


@pytest.mark.parametrize("wrong", [{"state": "odd"}, {"provenance": "found"}])
def test_a_word_that_is_no_state_is_refused(
    journal: Journal, stack: Stack, wrong: dict[str, str]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        journal.call(lambda s: s.put_resource(stack.id, a_row(**wrong)))
    assert names(journal, stack) == []


# operations, commands, events


def a_command(operation: str) -> CommandRecord:
    return CommandRecord(
        id=new_id(),
        operation=operation,
        host="local",
        argv=("apt-get", "install", "\udcff"),
        process_group=4711,
        start_time=123456,
        boot="b00t",
    )


def an_output() -> Output:
    return Output(key="url", value={"a": [1]}, sensitive=True, updated_at="2026", run=1)


def test_an_operation_is_open_until_it_has_a_result(
    journal: Journal, stack: Stack, run: Run
) -> None:
    first, second = an_operation(run.id), an_operation(run.id, "/b")
    journal.call(lambda s: (s.begin_operation(first), s.begin_operation(second)))
    assert [o.id for o in journal.look(lambda s: s.open_operations(stack.id))] == [
        first.id,
        second.id,
    ]
    journal.call(lambda s: s.end_operation(first.id, "done"))
    assert [o.id for o in journal.look(lambda s: s.open_operations(stack.id))] == [second.id]
    done = journal.look(lambda s: s.operations(run.id))[0]
    assert done.result == "done"
    assert done.ended_at is not None
    assert done.ended_at >= done.started_at > ""
    expected = structs.replace(
        first, started_at=done.started_at, ended_at=done.ended_at, result="done"
    )
    assert done == expected


def test_a_result_is_recorded_once(journal: Journal, run: Run) -> None:
    operation = an_operation(run.id)
    journal.call(lambda s: s.begin_operation(operation))
    journal.call(lambda s: s.end_operation(operation.id, "failed"))
    with pytest.raises(LookupError):
        journal.call(lambda s: s.end_operation(operation.id, "done"))
    assert journal.look(lambda s: s.operations(run.id))[0].result == "failed"


def test_open_operations_are_those_of_the_stack(journal: Journal, run: Run) -> None:
    other = journal.call(lambda s: s.create_stack("db", version="1"))
    journal.call(lambda s: s.begin_operation(an_operation(run.id)))
    assert journal.look(lambda s: s.open_operations(other.id)) == []


def test_a_command_is_listed_until_it_was_seen_to_end(
    journal: Journal, stack: Stack, run: Run
) -> None:
    operation = an_operation(run.id)
    command = a_command(operation.id)
    journal.call(lambda s: (s.begin_operation(operation), s.command_started(command)))
    assert journal.look(lambda s: s.unfinished_commands(stack.id)) == [command]
    journal.call(lambda s: s.command_finished(command.id))
    assert journal.look(lambda s: s.unfinished_commands(stack.id)) == []


def test_events_are_numbered_without_gaps_in_each_run(
    journal: Journal, stack: Stack, run: Run
) -> None:
    other = journal.call(
        lambda s: s.begin_run(stack.id, kind="drift", who="a", command="c", source_hash="h")
    )
    address = Address("web1", "file", "/a\udcff")

    def fails(store):
        store.add_event(run.id, "lost", None, {})
        raise ValueError("no")

    assert journal.call(lambda s: s.add_event(run.id, "one", None, {"msg": "x"})) == 1
    with pytest.raises(ValueError, match="no"):
        journal.call(fails)
    assert journal.call(lambda s: s.add_event(run.id, "two", address, {"n": [1, None]})) == 2
    assert journal.call(lambda s: s.add_event(other.id, "one", None, {})) == 1
    found = journal.look(lambda s: s.events(run.id))
    assert [(e.seq, e.type, e.address, e.data) for e in found] == [
        (1, "one", None, {"msg": "x"}),
        (2, "two", str(address), {"n": [1, None]}),
    ]


def test_the_data_of_an_event_stays_json(journal: Journal, run: Run) -> None:
    data = {"msg": {"$bytes": "/w=="}}
    journal.call(lambda s: s.add_event(run.id, "log", None, data))
    assert journal.look(lambda s: s.events(run.id))[0].data == data


# outputs, keys and values, digests, holders, blobs


def test_outputs_last_and_can_be_replaced_and_removed(journal: Journal, stack: Stack) -> None:
    journal.call(lambda s: s.put_output(stack.id, an_output()))
    changed = structs.replace(an_output(), value="x", sensitive=False)
    journal.call(lambda s: s.put_output(stack.id, changed))
    assert journal.look(lambda s: s.outputs(stack.id)) == [changed]
    assert journal.call(lambda s: s.delete_output(stack.id, "url")) is True
    assert journal.call(lambda s: s.delete_output(stack.id, "url")) is False


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, 10**30, "", "text", [], {}, {"a": [1, {"b": None}]}]
)
def test_any_value_can_be_kept(journal: Journal, value: object) -> None:
    journal.call(lambda s: s.kv_set("", "k", value))
    found = journal.look(lambda s: s.kv_get("", "k"))
    assert (type(found), found) == (type(value), value)


def test_a_key_that_is_not_there_is_a_lookup_error(journal: Journal, stack: Stack) -> None:
    journal.call(lambda s: s.kv_set(stack.id, "k", 1))
    with pytest.raises(LookupError):
        journal.look(lambda s: s.kv_get("", "k"))
    assert journal.call(lambda s: s.kv_delete("", "k")) is False
    assert journal.call(lambda s: s.kv_delete(stack.id, "k")) is True


def test_what_json_cannot_hold_is_refused(journal: Journal) -> None:
    with pytest.raises(UsageError, match="cannot be kept"):
        journal.call(lambda s: s.kv_set("", "k", float("nan")))


def test_a_listing_holds_exactly_the_keys_with_the_prefix(journal: Journal) -> None:
    for key in ("app", "app/", "app/a", "app/☃", "app/\udcff", "app/\U0010fffd", "apq", "ap", "%"):
        journal.call(lambda s, k=key: s.kv_set("", k, 1))
    found = {key for key, _, _ in journal.look(lambda s: s.kv_list("", "app/"))}
    assert found == {"app/", "app/a", "app/☃", "app/\udcff", "app/\U0010fffd"}
    assert len(journal.look(lambda s: s.kv_list(""))) == 9
    assert journal.look(lambda s: s.kv_stats(""))["keys"] == 9


def test_numbers_of_a_stat_may_be_larger_than_signed_64_bits(journal: Journal) -> None:
    large = Digest(2**63, -(2**70), 2**70, 2**64 - 1, "a" * 64, 1)
    journal.call(lambda s: s.put_digests("local", {"/a": large, "/b": large}))
    journal.call(lambda s: s.put_digests("local", {"/b": large._replace(size=1)}))
    found = journal.look(lambda s: s.digests("local"))
    assert found == {"/a": large, "/b": large._replace(size=1)}
    assert journal.look(lambda s: s.digests("web1")) == {}


def test_only_the_holding_run_can_clear_the_holder(journal: Journal, stack: Stack) -> None:
    assert journal.look(lambda s: s.holder(stack.id)) is None
    journal.call(lambda s: s.set_holder(stack.id, "one", a_holder()))
    journal.call(lambda s: s.set_holder(stack.id, "two", a_holder(pid=2)))
    assert journal.call(lambda s: s.clear_holder(stack.id, "one")) is False
    assert journal.look(lambda s: s.holder(stack.id)) == a_holder(pid=2)
    assert journal.call(lambda s: s.clear_holder(stack.id, "two")) is True
    assert journal.look(lambda s: s.holder(stack.id)) is None


def test_what_may_name_blobs_is_told_of_all_stacks(journal: Journal, stack: Stack) -> None:
    other = journal.call(lambda s: s.create_stack("db", version="1"))
    run = journal.call(
        lambda s: s.begin_run(other.id, kind="run", who="", command="", source_hash="")
    )
    operation = an_operation(run.id, previous={"saved": {"/x": {"$blob": "previous"}}})

    def fill(store: Store) -> None:
        store.put_resource(stack.id, a_row(params={"content": {"$blob": "params"}}))
        store.put_resource(other.id, a_row(origin={"saved": {"/x": {"$blob": "origin"}}}))
        store.begin_operation(operation)

    def named(store: Store) -> set[str]:
        texts = list(store.texts_with_blobs())
        words = ("previous", "params", "origin")
        return {word for word in words if any(f'"$blob":"{word}"' in text for text in texts)}

    journal.call(fill)
    assert journal.look(named) == {"previous", "params", "origin"}
    journal.call(lambda s: s.delete_stack(other.id))
    assert journal.look(named) == {"params"}


def test_a_setting_is_kept(journal: Journal) -> None:
    assert journal.look(lambda s: s.setting("key")) is None
    journal.call(lambda s: s.set_setting("key", "one"))
    journal.call(lambda s: s.set_setting("key", "two"))
    assert journal.look(lambda s: s.setting("key")) == "two"
    assert journal.look(lambda s: s.schema_version()) == 1
