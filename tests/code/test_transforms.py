"""What each transformation writes, and what it leaves alone."""

import ast
import random

import pytest

from unlearn_pl.code import (
    TRANSFORMS,
    AddDeadCode,
    InsertPrint,
    Program,
    RenameField,
    RenameLocal,
    RenameParameter,
    ReplaceBooleans,
    UnrollWhile,
    WrapTry,
)
from unlearn_pl.code.words import RESERVED, fresh_word


def names_of(transform, source):
    return sorted({site.name for site in transform.sites(Program.parse(source))})


def only(transform, source, word="zebra"):
    program = Program.parse(source)
    (site,) = transform.sites(program)
    return transform.rewrite(program, site, word)


def test_comments_and_white_space_stay():
    source = "def f( a ):   # odd\n    total  =  a  # sum\n\n    return total # end"
    assert only(RenameLocal(), source) == source.replace("total", "zebra")


def test_windows_line_ends_and_wide_characters():
    source = 'def f(a):\r\n    s = "é𝒳"; x = a\r\n    return x\r\n'
    program = Program.parse(source)
    (site,) = (site for site in RenameLocal().sites(program) if site.name == "x")
    assert RenameLocal().rewrite(program, site, "zebra") == source.replace("x = a", "zebra = a").replace(
        "return x", "return zebra"
    )
    assert "\n" not in (InsertPrint().apply(source, random.Random(0)) or "\n").replace("\r\n", "")


def test_locals_that_have_another_meaning_keep_their_names():
    source = """
import os
def f(p):
    global g
    import sys
    g = shown = inner = handled = free = 1
    print(f"{shown}")
    for comp in []: pass
    [comp for comp in range(3)]
    try: pass
    except Exception as handled: pass
    def inner(own=free):
        own = 2
        return free
    return sys, p
"""
    assert names_of(RenameLocal(), source) == ["free"]


@pytest.mark.parametrize("word", ["locals()", "eval('x')", "getattr(o, 'x')", "inspect"])
def test_programs_that_look_names_up_keep_all_names(word):
    source = f"def f(o):\n    x = 1\n    {word}\n    return x\n"
    assert not names_of(RenameLocal(), source)
    assert not names_of(RenameParameter(), source)


def test_parameters():
    source = (
        "def f(a, b, /, c, *d, e, **g): return a, b, c, d, e, g\ndef h(x, y): return x\nf(1, 2, 3, e=4)\nh(y=1, x=2)\n"
    )
    assert names_of(RenameParameter(), source) == ["a", "b", "c", "d", "g"]
    assert names_of(RenameParameter(), source + "f(**{})\n") == ["a", "b", "d", "g"]
    assert not names_of(RenameParameter(), "@cache\ndef f(a): return a\n")
    assert not names_of(RenameParameter(), "class A:\n    def f(self): return self\n")


def test_fields():
    source = "class A:\n    def __init__(self):\n        self.x = self.y = self.z = 1\n    def y(self): return self.x\n"
    assert names_of(RenameField(), source) == ["x", "z"]
    assert names_of(RenameField(), source + "A().z\n") == ["x"]
    assert names_of(RenameField(), source + "'x'\n") == ["z"]
    assert not names_of(RenameField(), source.replace("class A", "class A(B)"))


def test_booleans():
    assert only_forms("x = True") == ["x = (1 == 1)", "x = (not False)"]
    assert only_forms("match x:\n    case True: pass") == []
    assert only_forms("def f(x: Literal[True]) -> Literal[False]: pass") == []


def only_forms(source):
    program = Program.parse(source)
    return sorted(ReplaceBooleans().rewrite(program, site, "") for site in ReplaceBooleans().sites(program))


def test_unrolled_loop():
    source = "def f(n):\n    while n > 0:\n        n -= 1\n    return n\n"
    expected = "def f(n):\n    if (n > 0):\n        n -= 1\n        while n > 0:\n            n -= 1\n    return n\n"
    assert only(UnrollWhile(), source) == expected
    for refused in ("        break\n", "        continue\n", "    else:\n        pass\n", '        """a\nb"""\n'):
        assert not UnrollWhile().sites(Program.parse(source.replace("    return", refused + "    return")))


def test_wrapped_statement():
    source = "def f(n):\n    return n  # end"
    assert only(WrapTry(), source) == (
        "def f(n):\n    try:\n        return n  # end\n    except Exception:\n        raise\n"
    )


def test_nothing_stands_before_docstrings_or_inside_an_elif():
    source = 'def f(a):\n    """Doc."""\n    if a:\n        b = 1\n    elif not a:\n        b = 2\n    return b\n'
    for transform in (InsertPrint(), AddDeadCode(), WrapTry()):
        program = Program.parse(source)
        for site in transform.sites(program):
            tree = ast.parse(transform.rewrite(program, site, "zebra"))
            assert ast.get_docstring(tree.body[0]) == "Doc."
        assert {site.node.lineno for site in transform.sites(program)} == {3, 4, 6, 7}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("source", ["def f(:", "", "\0", "x = 1", "print 'two'", "(" * 500])
def test_what_cannot_be_transformed_is_none(transform, source):
    assert transform().apply(source, random.Random(0)) is None


def test_fresh_words_are_new():
    rng = random.Random(0)
    taken = {fresh_word(set(), rng) for _ in range(300)}
    assert not taken & RESERVED
    for _ in range(20):
        word = fresh_word(taken, rng)
        assert word not in taken
        taken.add(word)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_equal_seeds_give_equal_views(transform):
    source = "class A:\n    def __init__(self, n):\n        self.k = True\n        while n: n -= 1\n        m = n\n"
    first, second = (transform().apply(source, random.Random(3)) for _ in range(2))
    assert first == second
