"""Whatever can be counted about the style of the code is counted."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = sorted([*(ROOT / "nnpx").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function, clean=False) is not None else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=name)
def test_a_file_has_at_most_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.py")), ids=name)
def test_a_verb_fits_a_page(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("path", CODE, ids=name)
def test_a_function_has_at_most_40_lines(path):
    functions = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: lines for f in functions if (lines := lines_without_docstring(f)) > 40} == {}


@pytest.mark.parametrize("path", CODE, ids=name)
def test_code_raises_errors_and_returns_values(path):
    nodes = list(ast.walk(syntax(path)))
    calls = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert [node.lineno for node in nodes if isinstance(node, ast.Assert)] == []
    assert "print" not in calls
    assert [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is None] == []


@pytest.mark.parametrize("path", CODE, ids=name)
def test_annotations_are_objects_that_the_tests_can_enforce(path):
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CODE, ids=name)
def test_a_public_class_is_abstract_or_final(path):
    """Data classes, protocols and exceptions have a form of their own."""
    for node in [node for node in syntax(path).body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]:
        words = {word.id for word in ast.walk(ast.Module([*node.bases, *node.decorator_list], [])) if isinstance(word, ast.Name)}
        abstract = any("abstractmethod" in ast.dump(part) for part in node.body)
        assert abstract or words & {"final", "dataclass", "Protocol"} or any(word.endswith(("Error", "Exception")) for word in words), (
            node.name
        )
