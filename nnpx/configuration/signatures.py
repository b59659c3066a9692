"""The classes of nnpx, read from their source: what a constructor takes is known without importing torch.

`read("nnpx.network.mlp", "MLP")` is the shadow of a class: one of the same name, bases, docstring, abstract methods and constructor
signature, made from the syntax tree of its file, and nothing else. `inspect.signature`, `get_type_hints`, `isabstract` and `issubclass`
answer for a shadow what they answer for the class. Names in annotations are what the file binds them to: light modules are real,
classes of nnpx are shadows, whatever else is imported is a stand-in that only has a name. What is `Wired` is never looked at.
"""

import ast
import importlib
import inspect
import types
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, final

from nnpx.wiring import WIRED

_PACKAGE: Final = Path(__file__).resolve().parent.parent
#: imported as they are: they cost nothing and annotations are made of them
_LIGHT: Final = frozenset({"abc", "annotated_types", "collections", "dataclasses", "enum", "math", "pathlib", "types", "typing"})
_LIGHT_OF_NNPX: Final = ("nnpx.wiring",)
#: methods that would act on the shadow itself
_ACTIVE: Final = ("__init__", "__new__", "__init_subclass__", "__class_getitem__", "__slots__")


def source(module: str) -> Path | None:
    """The file of a module of nnpx, which is not imported; None if there is none."""
    parts = module.split(".")
    if parts[0] != "nnpx":
        return None
    path = _PACKAGE.joinpath(*parts[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def read(module: str, name: str) -> type | None:
    """The shadow of a class of nnpx, also where a module only passes it on; None if there is no such class."""
    found = _module(module).get(name) if source(module) is not None else None
    return found if isinstance(found, type) and found.__module__.startswith("nnpx.") else None


def docstring(module: str) -> str:
    """What a module of nnpx says of itself."""
    path = source(module)
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") if path is not None else ""


def classes(module: str) -> list[str]:
    """The names of the classes that a module of nnpx defines."""
    return _module(module).classes


def submodules(package: str) -> list[str]:
    """The names of the public modules in a package of nnpx."""
    folder = _PACKAGE.joinpath(*package.split(".")[1:])
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return sorted(name for name in found if not name.startswith("_"))


def subclasses(base: type) -> list[type]:
    """Everything that can be built where an option of this kind is asked for: the package of the class is searched."""
    base = read(base.__module__, base.__name__) or base
    package = _module(base.__module__).package
    modules = [package, *(f"{package}.{name}" for name in submodules(package))]
    found = [read(module, name) for module in modules if source(module) for name in classes(module) if not name.startswith("_")]
    return [kind for kind in found if kind is not None and issubclass(kind, base) and not inspect.isabstract(kind)]


def missing_package(module: str) -> str | None:
    """A package that a module of nnpx imports at its top and that is not installed."""
    roots = {name.split(".")[0] for name in _module(module).imports}
    return next((root for root in sorted(roots) if not _is_installed(root)), None)


@cache
def _is_installed(package: str) -> bool:
    return find_spec(package) is not None


@final
class _Kind(ABCMeta):
    """The class of shadows and stand-ins: `nn.Module` of a stand-in for torch.nn is a stand-in again."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or "stands_for" not in vars(cls):
            raise AttributeError(name)
        return _stand_in(f"{vars(cls)['stands_for']}.{name}")


@cache
def _stand_in(path: str) -> type:
    """A class that only has a name, for what is not imported."""
    module, _, name = path.rpartition(".")
    namespace = {"__module__": module, "stands_for": path, "__class_getitem__": classmethod(lambda cls, _: cls)}
    return _Kind(name, (), namespace)


@cache
def _module(name: str) -> "_Module":
    return _Module(name)


@final
class _Module:
    """What a file of nnpx binds at its top level, each name evaluated when it is asked for.

    Args:
        name: dotted name of a module that has a source file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        path = source(name)
        body = ast.parse(path.read_text(encoding="utf-8")).body if path is not None else []
        self.package = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
        self.bound = {key: (statement, origin) for statement in _flat(body) for key, origin in self._bindings(statement)}
        self.classes = [key for key, (statement, _) in self.bound.items() if isinstance(statement, ast.ClassDef)]
        self.imports = [origin for statement in body if isinstance(statement, ast.Import | ast.ImportFrom)
                        for _, origin in self._bindings(statement)]  # fmt: skip
        self.known: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The value of a name; None if it is not bound."""
        return self[name] if name in self.bound else None

    def __getitem__(self, name: str) -> Any:
        """The value of a name.

        Raises:
            KeyError: if it is not bound here; it may be a built-in.
        """
        if name not in self.known:
            statement, origin = self.bound[name]
            if isinstance(statement, ast.ClassDef):
                return self._shadow(statement)
            value = getattr(statement, "value", None)
            self.known[name] = _imported(origin) if origin else self.evaluate(value) if value is not None else _stand_in(name)
        return self.known[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def evaluate(self, expression: ast.expr) -> Any:
        """An annotation, a base or an alias, in the names of this file."""
        if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
            expression = ast.parse(expression.value, mode="eval").body
        if isinstance(expression, ast.Subscript) and ast.unparse(expression.value) == "Wired":
            return Annotated[Any, WIRED]
        return eval(compile(ast.Expression(expression), self.name, "eval"), {}, self)  # type: ignore[arg-type]  # a mapping as far as names go

    def _bindings(self, statement: ast.stmt) -> Iterator[tuple[str, str]]:
        """Each name that a statement binds, with the dotted path that it is imported from."""
        match statement:
            case ast.ImportFrom():
                start = self.package.split(".")[: -(statement.level - 1) or None] if statement.level else []
                module = ".".join([*start, *([statement.module] if statement.module else [])])
                yield from ((alias.asname or alias.name, f"{module}.{alias.name}") for alias in statement.names)
            case ast.Import():
                yield from ((a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0]) for a in statement.names)
            case ast.ClassDef() | ast.FunctionDef():
                yield statement.name, ""
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, ""

    def _shadow(self, definition: ast.ClassDef) -> type:
        bases = tuple(self.evaluate(base) for base in definition.bases)
        options = {word.arg: self.evaluate(word.value) for word in definition.keywords if word.arg}
        namespace = {"__module__": self.name, "__doc__": ast.get_docstring(definition), **_members(definition)}
        metaclass = (
            {} if "metaclass" in options else {"metaclass": _Kind} if all(type(base) in (type, ABCMeta, _Kind) for base in bases) else {}
        )
        shadow = types.new_class(definition.name, bases, {**metaclass, **options}, lambda body: body.update(namespace))
        self.known[definition.name] = shadow  # before its constructor, which may speak of it
        constructor = self._constructor(definition)
        if constructor is not None:
            shadow.__init__ = constructor  # type: ignore[misc]  # the class is built here
        return shadow

    def _constructor(self, definition: ast.ClassDef) -> Callable[..., None] | None:
        """A function that has the signature of `__init__` and does nothing; None where it is inherited."""
        own = next((part for part in definition.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
        if own is None:
            return None
        kinds, words = inspect.Parameter, own.args
        taken: list[tuple[ast.arg, Any, ast.expr | None]] = [(word, kinds.POSITIONAL_ONLY, None) for word in words.posonlyargs]
        taken += [(word, kinds.POSITIONAL_OR_KEYWORD, None) for word in words.args]
        first = len(taken) - len(words.defaults)
        taken[first:] = [(word, kind, default) for (word, kind, _), default in zip(taken[first:], words.defaults, strict=True)]
        taken += [(words.vararg, kinds.VAR_POSITIONAL, None)] if words.vararg else []
        taken += [(word, kinds.KEYWORD_ONLY, default) for word, default in zip(words.kwonlyargs, words.kw_defaults, strict=True)]
        taken += [(words.kwarg, kinds.VAR_KEYWORD, None)] if words.kwarg else []

        def constructor(self: object, **_: object) -> None:
            """Takes what the class takes."""

        hints = {word.arg: self.evaluate(word.annotation) for word, _, _ in taken if word.annotation is not None}
        constructor.__annotations__ = hints
        constructor.__signature__ = inspect.Signature([  # type: ignore[attr-defined]  # inspect reads it from any function
            kinds(word.arg, kind, default=kinds.empty if default is None else default, annotation=hints.get(word.arg, kinds.empty))
            for word, kind, default in taken
        ])  # fmt: skip
        return constructor


def _imported(path: str) -> Any:
    """What an import binds: the real thing, a shadow or a stand-in."""
    module, _, name = path.rpartition(".")
    if module in _LIGHT_OF_NNPX or path.split(".")[0] in _LIGHT:
        return getattr(importlib.import_module(module), name) if module else importlib.import_module(path)
    if source(path) is not None:
        return _module(path)
    found = _module(module).get(name) if source(module) is not None else None
    return _stand_in(path) if found is None else found


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a file, those under `if` and `try` among them."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _flat(statement.body)


def _members(definition: ast.ClassDef) -> dict[str, Any]:
    """The methods and attributes of a class, as far as they decide whether it is abstract."""
    members: dict[str, Any] = {}
    for part in definition.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            words = [ast.unparse(decorator) for decorator in part.decorator_list]
            members[part.name] = abstractmethod(_nothing()) if any(word.endswith("abstractmethod") for word in words) else _nothing()
        elif isinstance(part, ast.Assign):
            members.update({target.id: None for target in part.targets if isinstance(target, ast.Name)})
        elif isinstance(part, ast.AnnAssign) and part.value is not None and isinstance(part.target, ast.Name):
            members[part.target.id] = None
    return {name: member for name, member in members.items() if name not in _ACTIVE}


def _nothing() -> Callable[[], None]:
    return lambda: None
