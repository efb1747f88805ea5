"""Changes of a file's bytes as disks, transfers, editors and attackers make them; each is a function of a seed."""

import json
import random
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, choose: random.Random) -> bytes:
    """One bit is another."""
    return _replaced(data, choose, 1, lambda byte: byte ^ (1 << choose.randrange(8)))


def flips(data: bytes, choose: random.Random) -> bytes:
    """Several bits are others."""
    return _replaced(data, choose, choose.randint(2, 16), lambda byte: byte ^ (1 << choose.randrange(8)))


def noise(data: bytes, choose: random.Random) -> bytes:
    """A stretch is random bytes."""
    start, stop = _stretch(data, choose)
    return data[:start] + choose.randbytes(stop - start) + data[stop:]


def zeros(data: bytes, choose: random.Random) -> bytes:
    """A stretch is zeros, as after a crash of the file system."""
    start, stop = _stretch(data, choose)
    return data[:start] + bytes(stop - start) + data[stop:]


def cut(data: bytes, choose: random.Random) -> bytes:
    """The end is missing; perhaps all."""
    return data[: choose.randrange(len(data))] if choose.random() < 0.95 else b""


def removed(data: bytes, choose: random.Random) -> bytes:
    """A stretch is missing."""
    start, stop = _stretch(data, choose)
    return data[:start] + data[stop:]


def repeated(data: bytes, choose: random.Random) -> bytes:
    """A stretch is there twice."""
    start, stop = _stretch(data, choose)
    return data[:stop] + data[start:]


def lengthened(data: bytes, choose: random.Random) -> bytes:
    """More follows."""
    return data + choose.randbytes(choose.randint(1, 64))


def not_utf8(data: bytes, choose: random.Random) -> bytes:
    """Bytes that are no UTF-8, or another encoding's mark at the beginning."""
    at = choose.choice([0, choose.randint(0, len(data))])
    bad = choose.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80", b"\xff\xfe", b"\xfe\xff", b"\0"])
    return data[:at] + bad + data[at:]


NUMBERS = (b"1e999", b"-1", b"9" * 400, b"9" * 5000, b"NaN", b"-Infinity", b"0.1", b"18446744073709551616")


def number(data: bytes, choose: random.Random) -> bytes:
    """A digit is a number that is huge, negative or none."""
    places = [at for at, byte in enumerate(data) if byte in b"0123456789"]
    if not places:
        return flip(data, choose)
    at = choose.choice(places)
    return data[:at] + choose.choice(NUMBERS) + data[at + 1 :]


def nested(data: bytes, choose: random.Random) -> bytes:
    """Thousands of brackets."""
    depth = choose.choice([200, 1000, 20_000])
    opening = choose.choice([b"[", b'{"a":'])
    closing = {b"[": b"]"}.get(opening, b"1}") if choose.random() < 0.7 else b""
    places = [at for at, byte in enumerate(data) if byte in b":,["] or [0]
    at = choose.choice(places) + 1
    return data[:at] + opening * depth + closing * depth + (b"," + data[at:] if choose.random() < 0.5 else data[at:])


VALUES = (None, True, 0, -1, 10**400, 1e308, float("nan"), "", "text", "\ud800", [], {}, [[]], {"a": {}}, [1, "a"])


def swapped(data: bytes, choose: random.Random) -> bytes:
    """A value of the JSON in the file is one of another type, or missing."""
    whole = data.strip()
    try:
        parsed = [json.loads(whole)]
        lines = False
    except ValueError:
        try:
            parsed = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            return flip(data, choose)
        lines = True
    at = choose.randrange(len(parsed)) if parsed else 0
    if not parsed:
        return flip(data, choose)
    parsed[at] = _swapped(parsed[at], choose)
    return b"\n".join(json.dumps(each).encode() for each in parsed) if lines else json.dumps(parsed[0]).encode()


def _swapped(value: object, choose: random.Random) -> object:
    if choose.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return choose.choice(VALUES)
    if isinstance(value, dict):
        key = choose.choice(list(value))
        if choose.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        if choose.random() < 0.1:
            return {(name if name != key else "other"): item for name, item in value.items()}
        return {**value, key: _swapped(value[key], choose)}
    at = choose.randrange(len(value))
    return [*value[:at], _swapped(value[at], choose), *value[at + 1 :]]


BYTES: tuple[Mutation, ...] = (flip, flip, flips, noise, zeros, cut, removed, repeated, lengthened)
TEXT: tuple[Mutation, ...] = (*BYTES, not_utf8, number, nested, swapped, swapped)


def _stretch(data: bytes, choose: random.Random) -> tuple[int, int]:
    start = choose.randrange(len(data))
    return start, min(len(data), start + choose.choice([1, 2, 8, 64, 512]))


def _replaced(data: bytes, choose: random.Random, count: int, change: Callable[[int], int]) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        at = choose.randrange(len(data))
        changed[at] = change(changed[at])
    return bytes(changed)
