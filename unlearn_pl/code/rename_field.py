"""Other names of fields."""

import ast
from collections import defaultdict
from collections.abc import Sequence

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.transform import CodeTransform, Site


class RenameField(CodeTransform):
    """Renames a field of a class: an attribute that its methods set on ``self``.

    Only a field that the program mentions nowhere but as ``self.field`` inside one class, which has no base class, no
    decorator and no member of that name.
    """

    def sites(self, program: Program) -> Sequence[Site]:
        """One per field and class."""
        if program.looks_up_names:
            return []
        inside: dict[str, set[int]] = defaultdict(set)
        sites = []
        for node in ast.walk(program.tree):
            if isinstance(node, ast.ClassDef):
                for attribute in _of_self(node):
                    inside[attribute.attr].add(id(attribute))
        mentions: dict[str, set[int]] = defaultdict(set)
        for node in ast.walk(program.tree):
            if isinstance(node, ast.Attribute):
                mentions[node.attr].add(id(node))
        for node in ast.walk(program.tree):
            if isinstance(node, ast.ClassDef) and not (node.bases or node.keywords or node.decorator_list):
                own = {attribute.attr for attribute in _of_self(node) if isinstance(attribute.ctx, ast.Store)}
                of_class = {id(attribute) for attribute in _of_self(node)}
                for name in sorted(own - _other_words(program, node)):
                    if mentions[name] <= of_class and not name.startswith("__"):
                        sites.append(Site(node, name))
        return sites

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, ast.ClassDef)
        ends = [program.span(attribute)[1] for attribute in _of_self(site.node) if attribute.attr == site.name]
        return program.edited(Edit(end - len(site.name), end, word) for end in ends)


def _of_self(owner: ast.ClassDef) -> list[ast.Attribute]:
    """``self.field`` in the methods of a class, but not in classes inside."""
    found: list[ast.Attribute] = []
    waiting: list[ast.AST] = list(owner.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef):
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            found.append(node)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def _other_words(program: Program, owner: ast.ClassDef) -> set[str]:
    """Names that mean something besides a field: members, keywords and patterns, texts, and what f-strings hold."""
    names: set[str] = set()
    for statement in owner.body:
        for node in ast.walk(statement) if not isinstance(statement, ast.FunctionDef) else [statement]:
            names.add(str(getattr(node, "name", None) or getattr(node, "id", "")))
    for node in ast.walk(program.tree):
        match node:
            case ast.Constant(value=str()):
                names.update(str(node.value).split())
            case ast.keyword():
                names.add(node.arg or "")
            case ast.MatchClass():
                names.update(node.kwd_attrs)
            case ast.JoinedStr():
                names.update(part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return names
