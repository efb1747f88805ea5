"""Transformations of Python source that keep its behavior."""

from unlearn_pl.code.add_dead_code import AddDeadCode
from unlearn_pl.code.insert_print import InsertPrint
from unlearn_pl.code.program import Program
from unlearn_pl.code.rename_field import RenameField
from unlearn_pl.code.rename_local import RenameLocal
from unlearn_pl.code.rename_parameter import RenameParameter
from unlearn_pl.code.replace_booleans import ReplaceBooleans
from unlearn_pl.code.transform import CodeTransform, Site
from unlearn_pl.code.unroll_while import UnrollWhile
from unlearn_pl.code.wrap_try import WrapTry

TRANSFORMS: tuple[type[CodeTransform], ...] = (
    RenameLocal,
    RenameParameter,
    RenameField,
    ReplaceBooleans,
    InsertPrint,
    AddDeadCode,
    UnrollWhile,
    WrapTry,
)
"""All transformations."""

__all__ = [
    "TRANSFORMS",
    "AddDeadCode",
    "CodeTransform",
    "InsertPrint",
    "Program",
    "RenameField",
    "RenameLocal",
    "RenameParameter",
    "ReplaceBooleans",
    "Site",
    "UnrollWhile",
    "WrapTry",
]
