"""Mutants of functions: each changes one place of one function's syntax tree."""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FunctionType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_gpuready"

#: Modules that are no subject: they hold no condition and no remedy.
OUTSIDE = frozenset({"__init__.py", "messages.py"})

#: What an answer's function is swapped for, by its name.
SWAPS: dict[str, tuple[str, ...]] = {
    "passed": ("fail",),
    "failed": ("pass", "unknown"),
    "warned": ("pass",),
    "unknown": ("pass", "fail"),
    "not_applicable": ("pass", "fail"),
}

_INVERTED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

_Path = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class CodeMutant:
    """One place changed. `lines` is where it runs; `unless` is the line that is next where the change has no effect."""

    file: str
    function: str
    line: int
    what: str
    path: _Path
    new: ast.expr | None
    lines: tuple[int, int]
    unless: int | None = None
    unless_not: int | None = None

    @property
    def id(self) -> str:
        """Stable as long as the line is."""
        return f"{self.file}:{self.line} {self.function}: {self.what}"


def subjects() -> list[Path]:
    """The modules that are changed."""
    folders = [*sorted((PACKAGE / "checks").glob("*.py")), *sorted((PACKAGE / "remedies").glob("*.py"))]
    return [path for path in folders if path.name not in OUTSIDE] + [PACKAGE / "routes.py", PACKAGE / "judge.py"]


def code_mutants(path: Path) -> Iterator[CodeMutant]:
    """All mutants of a module's functions."""
    yield from mutants_of(path.read_text(), str(path.relative_to(PACKAGE)))


def mutants_of(source: str, file: str) -> Iterator[CodeMutant]:
    """All mutants of the functions of a source."""
    for name, function in _functions(ast.parse(source)):
        yield from _Walk(file, name).function(function)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of the module and methods of its classes; what is defined in them belongs to them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from (
                (f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, ast.FunctionDef)
            )


class _Walk:
    """One function's places."""

    def __init__(self, file: str, name: str) -> None:
        self.file = file
        self.name = name

    def function(self, node: ast.FunctionDef) -> Iterator[CodeMutant]:
        for number, statement in enumerate(node.body):
            yield from self._node(statement, (("body", number),), (0, 0))

    def _node(self, node: ast.AST, path: _Path, lines: tuple[int, int]) -> Iterator[CodeMutant]:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            lines = (node.lineno, max(end, node.lineno))
        yield from self._here(node, path, lines)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
                continue
            if isinstance(value, list):
                for number, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield from self._node(item, (*path, (field, number)), lines)
            elif isinstance(value, ast.AST):
                yield from self._node(value, (*path, (field, None)), lines)

    def _here(self, node: ast.AST, path: _Path, lines: tuple[int, int]) -> Iterator[CodeMutant]:
        line: int = getattr(node, "lineno", lines[0])

        def mutant(what: str, at: _Path, new: ast.expr | None, **more: int | None) -> CodeMutant:
            return CodeMutant(self.file, self.name, line, what, at, new, lines, **more)

        if isinstance(node, (ast.If, ast.While)):
            first, test = node.body[0].lineno, _told(node.test)
            own = first > lines[1]
            yield mutant(
                f"if {test} → if True", (*path, ("test", None)), ast.Constant(True), unless=first if own else None
            )
            yield mutant(
                f"if {test} → if False", (*path, ("test", None)), ast.Constant(False), unless_not=first if own else None
            )
        elif isinstance(node, ast.IfExp):
            for value in (True, False):
                yield mutant(f"… if {_told(node.test)} → if {value}", (*path, ("test", None)), ast.Constant(value))
        elif isinstance(node, ast.comprehension):
            for number, condition in enumerate(node.ifs):
                line = condition.lineno
                yield mutant(f"for … if {_told(condition)} → all", (*path, ("ifs", number)), ast.Constant(True))
        elif isinstance(node, ast.BoolOp):
            word = "and" if isinstance(node.op, ast.And) else "or"
            for number, operand in enumerate(node.values):
                at = (*path, ("values", number))
                yield mutant(f"{word}: {_told(operand)} dropped", at, ast.Constant(word == "and"))
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and path[-1][0] not in ("test", "ifs", "values"):
            new = ast.Compare(node.left, [_INVERTED[type(node.ops[0])]()], node.comparators)
            yield mutant(f"{_told(node)} inverted", path, new)
        elif isinstance(node, ast.Call):
            yield from self._call(node, path, mutant)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            yield from self._elements(node, path, mutant)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield mutant(f"| {_told(node.right)} dropped", path, node.left)
            if not (isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.BitOr)):
                yield mutant(f"{_told(node.left)} | dropped", path, node.right)

    def _call(self, node: ast.Call, path: _Path, mutant: Callable[..., CodeMutant]) -> Iterator[CodeMutant]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        for status in SWAPS.get(name, ()) if self.file != "judge.py" else ():
            changed = ast.Call(
                ast.Attribute(node, "but", ast.Load()), [], [ast.keyword("status", ast.Constant(status))]
            )
            yield mutant(f"{_told(node)} → {status}", path, changed)
        for number, keyword in enumerate(node.keywords):
            if keyword.arg == "remedy":
                yield mutant(
                    f"{_told(node)}: no remedy", (*path, ("keywords", number), ("value", None)), ast.Constant(None)
                )
        if name == "Remedy":
            for number, word in ((1, "commands"), (2, "edits")):
                if len(node.args) > number:
                    yield mutant(f"Remedy: no {word}", (*path, ("args", number)), ast.Tuple([], ast.Load()))

    def _elements(
        self, node: ast.Tuple | ast.List | ast.Set, path: _Path, mutant: Callable[..., CodeMutant]
    ) -> Iterator[CodeMutant]:
        """Each element dropped; not of what is unpacked, a version, or a slice."""
        if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load) or path[-1][0] in ("slice", "type"):
            return
        numbers = all(isinstance(item, ast.Constant) and isinstance(item.value, int) for item in node.elts)
        if numbers or len(path) < 2 or (isinstance(node, ast.Tuple) and path[-1] == ("value", None) and len(path) == 1):
            return
        for number, item in enumerate(node.elts):
            rest = [other for place, other in enumerate(node.elts) if place != number]
            new: ast.expr
            if isinstance(node, ast.Set):
                new = ast.Set(rest) if rest else ast.Call(ast.Name("set", ast.Load()), [], [])
            else:
                new = type(node)(rest, ast.Load())
            yield mutant(f"{_told(item)} dropped from {_told(node)}", path, new)


def _told(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."


def apply(mutant: CodeMutant, function: FunctionType) -> None:
    """Give the function its changed code."""
    function.__code__ = _compiled(mutant, function)


def _compiled(mutant: CodeMutant, function: FunctionType) -> CodeType:
    owner, _, name = mutant.function.rpartition(".")
    source = _parsed(function.__code__.co_filename)
    node = copy.deepcopy(source[mutant.function])
    change(node, mutant)
    node.decorator_list = []
    body: list[ast.stmt] = [node]
    if owner:
        body = [ast.ClassDef(owner, [], [], body, [])]
    module = ast.fix_missing_locations(ast.Module(body, []))
    code: CodeType = compile(
        module, function.__code__.co_filename, "exec", __future__.annotations.compiler_flag, dont_inherit=True
    )
    for part in filter(None, (owner, name)):
        code = next(const for const in code.co_consts if hasattr(const, "co_name") and const.co_name == part)
    return code


def change(node: ast.FunctionDef, mutant: CodeMutant) -> None:
    """Change the tree in its place."""
    parent: Any = node
    for field, number in mutant.path[:-1]:
        parent = getattr(parent, field) if number is None else getattr(parent, field)[number]
    field, number = mutant.path[-1]
    if number is None:
        setattr(parent, field, mutant.new)
    else:
        getattr(parent, field)[number] = mutant.new


@functools.cache
def _parsed(filename: str) -> dict[str, ast.FunctionDef]:
    return dict(_functions(ast.parse(Path(filename).read_text())))


def body_of(file: str, name: str) -> tuple[int, int]:
    """The lines of a function's body, without its docstring; none of one that another function makes."""
    node = _parsed(str(PACKAGE / file)).get(name)
    if node is None:
        return 0, -1
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return body[0].lineno, node.end_lineno or body[-1].lineno


def function_of(file: str, name: str) -> FunctionType:
    """The function object by the module's path in the package and its name there."""
    module = importlib.import_module("pytest_gpuready." + file.removesuffix(".py").replace("/", "."))
    owner, _, last = name.rpartition(".")
    found: Any = vars(getattr(module, owner))[last] if owner else getattr(module, last)
    for attribute in ("fget", "func", "__func__", "__wrapped__"):
        found = getattr(found, attribute, None) or found
    return found  # type: ignore[no-any-return]
