"""Which names a function binds, and which of them can be renamed."""

import ast
from collections.abc import Iterator, Sequence

from unlearn_pl.code.program import Edit, Program

Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)


def functions(tree: ast.AST) -> list[Function]:
    """Every function and method, nested ones included."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, of every kind."""
    variadic = [given for given in (arguments.vararg, arguments.kwarg) if given is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *variadic]


def own_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the scopes inside, which are yielded themselves."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def inner_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All nodes below ``body``, those of the scopes inside included."""
    for part in body:
        yield from ast.walk(part)


def local_names(function: Function) -> list[str]:
    """Names that are assigned in a function's own scope and that can be renamed together with all their mentions."""
    assigned = {n.id for n in own_nodes(function.body) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    taken = {parameter.arg for parameter in parameters(function.args)} | unmovable(function)
    return sorted(assigned - taken)


def unmovable(function: Function) -> set[str]:
    """Names that cannot be renamed in a function by a change of the ``ast.Name`` nodes of its body alone.

    Those that the body or a scope inside binds by other means than assignment, those that a scope inside binds for
    itself, those of ``global`` and ``nonlocal``, those in f-strings (which may print them), and private ones.
    """
    names: set[str] = set()
    own = {id(node) for node in own_nodes(function.body)}
    for node in inner_nodes(function.body):
        names.update(_bound_otherwise(node))
        if isinstance(node, ast.Name):
            stored_inside = isinstance(node.ctx, ast.Store) and id(node) not in own
            names.update([node.id] if stored_inside or node.id.startswith("__") else [])
        elif isinstance(node, ast.JoinedStr) or type(node).__name__ == "TemplateStr":
            names.update(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return names


def _bound_otherwise(node: ast.AST) -> list[str]:
    match node:
        case ast.Global() | ast.Nonlocal():
            return list(node.names)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name, *(parameter.arg for parameter in parameters(node.args))]
        case ast.ClassDef():
            return [node.name]
        case ast.Lambda():
            return [parameter.arg for parameter in parameters(node.args)]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            return [node.name] if node.name else []
        case ast.MatchMapping():
            return [node.rest] if node.rest else []
        case _:  # type parameters, from Python 3.12 on
            return [node.name] if type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple") else []  # type: ignore[attr-defined]


def renamed(program: Program, body: Sequence[ast.AST], name: str, word: str) -> list[Edit]:
    """Edits of every mention of ``name`` in ``body``."""
    mentions = [node for node in inner_nodes(body) if isinstance(node, ast.Name) and node.id == name]
    return [Edit(*program.span(node), word) for node in mentions]


def binds(program: Program, name: str) -> bool:
    """Whether a program gives a builtin's ``name`` another meaning, anywhere."""
    for node in ast.walk(program.tree):
        stored = isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
        starred = isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        parameter = isinstance(node, ast.arg) and node.arg == name
        if stored or starred or parameter or name in _bound_otherwise(node):
            return True
    return False
