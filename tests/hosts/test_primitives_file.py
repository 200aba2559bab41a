"""The file of primitives can be sent to a machine with an old Python and nothing else."""

import ast
import sys
from pathlib import Path

from hosts.asking import python
from sloth_runner.hosts import primitives

SOURCE = Path(primitives.__file__).read_text(encoding="utf-8")


def test_the_syntax_is_that_of_python_3_7() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 7))
    # The parser lets these pass whatever version it is asked for.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr | ast.Match)]
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            lines = SOURCE.splitlines()[node.lineno - 1].strip()
            assert lines != "with (", f"parenthesised with at line {node.lineno}"
        if isinstance(node, ast.FunctionDef):
            assert not node.args.posonlyargs


def test_it_imports_the_standard_library_only() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").partition(".")[0])
    assert names <= set(sys.stdlib_module_names)


def test_it_works_as_source_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("found")
    code = "space = {'__name__': 'primitives'}\nexec(sys.stdin.read(), space)\n"
    code = code.replace("sys.stdin.read()", f"open({primitives.__file__!r}).read()")
    code += "print(space['perform']([('read', {'path': sys.argv[1]})]))\n"
    code += "print(space['run'](['echo', 'ran'])['stdout'])"
    said = python(code, str(tmp_path / "f"))
    assert said.split("\n")[:2] == ["[('ok', 'found')]", "ran"]
