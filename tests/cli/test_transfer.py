"""Export and import: a stack as one document, and back whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.command import Sloth

FLOW = """
workflow({ name = "web" })
file_ops.content({ path = "@/plain", content = "new\\n", mode = "0644" })
file_ops.content({ path = "@/secret", content = "hunter2\\n", mode = "0600" })
stack.set_output("port", 80)
stack.state.set("color", "red")
stack.register_resource({ type = "custom", name = "thing", properties = { size = 1 } })
"""


@pytest.fixture
def exported(sloth: Sloth) -> dict[str, Any]:
    (sloth.folder / "plain").write_text("old\n" * 9000)
    (sloth.folder / "plain").chmod(0o644)
    done = sloth("run", sloth.write(FLOW), "--yes")
    assert done.code == 0, done.err
    return dict(sloth("stack", "export", "web", "--with-blobs").json)


def saved(sloth: Sloth, document: object) -> str:
    path = sloth.folder / "export.json"
    path.write_text(json.dumps(document))
    return str(path)


def elsewhere(sloth: Sloth) -> Sloth:
    folder = sloth.folder / "elsewhere"
    folder.mkdir(exist_ok=True)
    return Sloth(folder)


def test_an_import_takes_everything_back(sloth: Sloth, exported: dict[str, Any]) -> None:
    other = elsewhere(sloth)
    done = other("stack", "import", saved(sloth, exported))
    assert done.code == 0, done.err
    again = other("stack", "export", "web", "--with-blobs").json
    imported = again["runs"].pop()
    assert imported["kind"] == "import"
    again["stack"]["key"] = exported["stack"]["key"]
    assert again == exported


def test_the_document_has_the_promised_parts(exported: dict[str, Any]) -> None:
    assert set(exported) == {"format", "stack", "resources", "outputs", "runs", "blobs"}
    assert {row["address"].partition(":")[0] for row in exported["resources"]} == {
        "local/file",
        "local/custom",
    }


def test_no_secret_is_exported(exported: dict[str, Any]) -> None:
    text = json.dumps(exported)
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text  # the same in base64


def test_the_next_run_goes_on_from_an_import(sloth: Sloth, exported: dict[str, Any]) -> None:
    other = elsewhere(sloth)
    other("stack", "import", saved(sloth, exported))
    key = Path(f"{other.db}.d") / "key"
    key.write_bytes((Path(f"{sloth.db}.d") / "key").read_bytes())
    key.chmod(0o600)
    done = other("run", str(sloth.folder / "site.lua"), "--yes")
    assert "Nothing to do" in done.out, done.err


def test_an_import_says_what_it_lost(sloth: Sloth, exported: dict[str, Any]) -> None:
    exported.pop("blobs")
    done = elsewhere(sloth)("stack", "import", saved(sloth, exported), "--json")
    assert done.json["no_undo"] == [f"local/file:{sloth.folder}/plain"]
    assert done.json["sealed"] == [f"local/file:{sloth.folder}/secret"]


def test_a_stack_that_is_here_is_not_overwritten(sloth: Sloth, exported: dict[str, Any]) -> None:
    path = saved(sloth, exported)
    assert sloth("stack", "import", path).code == 2
    other = elsewhere(sloth)
    other("stack", "new", "web")
    refused = other("stack", "import", path)
    assert refused.code == 2
    assert "--name" in refused.err
    assert other("stack", "import", path, "--name", "web2").code == 0
    assert [stack["name"] for stack in other("stack", "list", "--json").json] == ["web", "web2"]


def test_a_newer_format_is_refused_by_name(sloth: Sloth, exported: dict[str, Any]) -> None:
    refused = elsewhere(sloth)("stack", "import", saved(sloth, {**exported, "format": 99}))
    assert refused.code == 6
    assert "format 99" in refused.err


@pytest.mark.parametrize("missing", ["stack", "resources", "outputs", "runs"])
def test_an_incomplete_document_changes_nothing(
    sloth: Sloth, exported: dict[str, Any], missing: str
) -> None:
    other = elsewhere(sloth)
    exported.pop(missing)
    assert other("stack", "import", saved(sloth, exported)).code == 2
    assert other("stack", "list", "--json").json == []


def test_what_is_no_export_is_refused(sloth: Sloth) -> None:
    for document in ([], {}, {"format": "1"}, "x"):
        assert sloth("stack", "import", saved(sloth, document)).code == 2
    (sloth.folder / "broken").write_text("{")
    assert sloth("stack", "import", "broken").code == 2
    assert sloth("stack", "import", "nowhere").code == 2


def test_a_blob_that_its_name_belies_is_refused(sloth: Sloth, exported: dict[str, Any]) -> None:
    [key] = [key for key in exported["blobs"] if not key.endswith(".sealed")]
    exported["blobs"][key] = "aGFja2Vk"
    refused = elsewhere(sloth)("stack", "import", saved(sloth, exported))
    assert refused.code == 2
    assert "blob" in refused.err


def test_a_blob_cannot_be_written_outside_its_folder(
    sloth: Sloth, exported: dict[str, Any]
) -> None:
    exported["blobs"] = {"../../../escaped": "aGFja2Vk"}
    assert elsewhere(sloth)("stack", "import", saved(sloth, exported)).code == 2
    assert not list(sloth.folder.rglob("escaped"))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("resources", "registered", "x"),
        ("resources", "run", {}),
        ("resources", "last_applied", "yesterday"),
        ("resources", "params", []),
        ("runs", "result", 5),
        ("runs", "started_at", None),
        ("outputs", "key", None),
        ("stack", "id", "../../escaped"),
        ("stack", "name", "a\x1b[31m"),
    ],
)
def test_a_document_with_a_wrong_value_is_refused_and_leaves_nothing(
    sloth: Sloth, part: str, name: str, value: object
) -> None:
    flow = sloth.write(
        f'file_ops.content({{ path = "{sloth.folder}/a", content = "x" }})stack.set_output("o", 1)'
    )
    assert sloth("run", "web", "-f", flow, "--yes").code == 0
    document = sloth("stack", "export", "web").json
    place = document[part] if part == "stack" else document[part][0]
    place[name] = value
    changed = sloth.folder / "changed.json"
    changed.write_text(json.dumps(document))
    done = sloth("--db", str(sloth.folder / "other.db"), "stack", "import", str(changed))
    assert (done.code, "not complete" in done.err) == (2, True), done.err
    assert name in done.err
    assert not list(sloth.folder.glob("escaped*"))


def test_a_document_that_is_nested_without_end_is_refused(sloth: Sloth) -> None:
    deep = sloth.folder / "deep.json"
    deep.write_text("[" * 100_000)
    assert sloth("stack", "import", str(deep)).code == 2


def test_a_stack_with_a_sealed_output_runs_in_another_record(sloth: Sloth) -> None:
    flow = sloth.write('stack.set_output("t", "a secret", { sensitive = true })')
    assert sloth("run", "web", "-f", flow, "--yes").code == 0
    document = sloth.folder / "web.json"
    document.write_text(sloth("stack", "export", "web", "--with-blobs").out)
    other = ["--db", str(sloth.folder / "other.db")]
    assert sloth(*other, "stack", "import", str(document)).code == 0
    for command in (["plan"], ["run", "--yes"], ["run", "--yes", "-q"]):
        done = sloth(*other, command[0], "web", "-f", flow, *command[1:])
        assert done.code == 0, done.err
    assert done.out == ""


def test_what_a_workflow_keeps_may_look_like_a_blob(sloth: Sloth) -> None:
    lua = 'workflow({name = "web"}) stack.set_output("o", {["$blob"] = "x"})'
    assert sloth("run", sloth.write(lua), "--yes").code == 0
    document = sloth("stack", "export", "web", "--with-blobs").json
    other = elsewhere(sloth)
    assert other("stack", "import", saved(sloth, document)).code == 0
    assert other("stack", "outputs", "web", "o").out == '{"$blob":"x"}\n'


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("runs", "number", 0), ("resources", "run", 2**70)],
)
def test_parts_that_cannot_belong_together_are_refused(
    sloth: Sloth, exported: dict[str, Any], part: str, name: str, value: int
) -> None:
    exported[part][0][name] = value
    other = elsewhere(sloth)
    refused = other("stack", "import", saved(sloth, exported))
    assert refused.code == 2, refused.err
    assert other("stack", "list", "--json").json == []
