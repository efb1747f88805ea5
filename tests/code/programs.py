"""Programs with everything that a transformation may get wrong, and calls of their functions."""

PROGRAMS = {
    "closures": (
        '''
def counter(start):
    """Count up from start."""
    total = start
    step = 1

    def up(by=step):
        nonlocal total
        factor = 2
        total += by * factor
        return total

    return [up(), up(3), up(by=5)], total


def adders(n):
    made = [lambda x, i=i: x + i for i in range(n)]
    results = [add(10) for add in made]
    return results
''',
        [("counter", (0,), {}), ("counter", (7,), {}), ("adders", (4,), {}), ("adders", (0,), {})],
    ),
    "comprehensions": (
        """
def pairs(values, size):
    found = {x: y for x in values for y in range(size) if (last := y) >= 0}
    size = size + 1
    rows = [[x * size for x in row] for row in [values, values]]
    unique = {value % size for value in values}
    return found, rows, sorted(unique), last if values else None


def flat(table):
    out = [cell for row in table for cell in row]
    row = "outer"
    return out, row
""",
        [
            ("pairs", ([1, 2, 3], 2), {}),
            ("pairs", ([], 2), {}),
            ("pairs", ([5], 0), {}),
            ("flat", ([[1], [2, 3]],), {}),
        ],
    ),
    "global names": (
        """
count = 0
limit = 3


def bump(by):
    global count
    before = count
    count += by
    if count > limit:
        count = limit
    return before, count


def read():
    try:
        value = count + later
    except NameError:
        value = count
    return value
""",
        [("bump", (1,), {}), ("bump", (9,), {}), ("read", (), {})],
    ),
    "while else": (
        """
def find(values, wanted):
    position = 0
    while position < len(values):
        if values[position] == wanted:
            break
        position += 1
    else:
        position = -1
    return position


def collatz(n):
    steps = 0
    while n != 1 and steps < 50:
        # halve it, or grow
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        for ignored in range(2):
            if ignored:
                continue
        steps += 1
    return steps


def nested(n):
    rows = []
    while n > 0:
        inner = n
        row = []
        while inner > 0:
            row.append(inner)
            inner -= 1
        rows.append(row)
        n -= 1
    return rows
""",
        [
            ("find", ([1, 2, 3], 2), {}),
            ("find", ([], 1), {}),
            ("collatz", (27,), {}),
            ("collatz", (1,), {}),
            ("nested", (3,), {}),
        ],
    ),
    "keyword arguments": (
        """
def price(amount, *, rate=0.5, extra=None):
    total = amount * (1 + rate)
    return total if extra is None else total + extra


def invoice(amount, note="none", /, tax=2, *items, **more):
    base = price(amount, rate=tax, extra=len(items))
    return base, note, sorted(more)


def call(values):
    options = {"tax": 1}
    return invoice(values, "n", **options), invoice(values), price(amount=values)
""",
        [
            ("invoice", (10,), {}),
            ("invoice", (10, "a", 3, 4, 5), {"z": 1}),
            ("call", (4,), {}),
            ("price", (3,), {"rate": 0}),
        ],
    ),
    "docstrings": (
        '''
def area(width, height=2):
    """Area.

    Of width times
        height.
    """
    text = """two
    lines"""
    size = width * height
    return size, text, area.__doc__


def nothing():
    "only a docstring"
''',
        [("area", (3,), {}), ("area", (3, 4), {}), ("nothing", (), {})],
    ),
    "generators": (
        """
def windows(values, size):
    buffer = []
    for value in values:
        buffer.append(value)
        if len(buffer) == size:
            sent = yield tuple(buffer)
            buffer = buffer[1:] if sent is None else []
    return buffer


def collect(values, size):
    source = windows(values, size)
    rows = list(source)
    total = sum(x for row in rows for x in row)
    return rows, total


def delegate(values):
    def walk():
        rest = yield from windows(values, 2)
        yield rest
    return list(walk())
""",
        [("collect", ([1, 2, 3, 4], 2), {}), ("collect", ([], 1), {}), ("delegate", ([1, 2, 3],), {})],
    ),
    "match": (
        """
class Point:
    __match_args__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y


def kind(value):
    label = "other"
    match value:
        case True:
            label = "yes"
        case [first, *rest]:
            label = (first, rest)
        case {"key": found, **others}:
            label = (found, others)
        case Point(x=0, y=where):
            label = where
        case str() as text if len(text) > 2:
            label = text.upper()
    return label


def all_kinds():
    return [kind(v) for v in (True, [1, 2], {"key": 1, "b": 2}, Point(0, 5), Point(1, 5), "abc", "a", None)]
""",
        [("all_kinds", (), {}), ("kind", ([3],), {}), ("kind", ("word",), {})],
    ),
    "classes": (
        """
class Account:
    bank = "first"
    open = True

    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        self.history.append(amount)
        return self

    @property
    def summary(self):
        largest = max(self.history, default=0)
        return f"{self.owner}: {self.balance} {largest=}"


class Saver(Account):
    def __init__(self, owner):
        super().__init__(owner, 5)
        self.goal = 100

    def missing(self):
        return self.goal - self.balance


def story(amounts):
    account, saver = Account("ann"), Saver("bob")
    for amount in amounts:
        account.deposit(amount)
        saver.deposit(amount)
    return account.summary, saver.missing(), account.open


class Meter:
    def __init__(self, limit):
        self.limit = limit
        self.ticks = 0

    def tick(self, by=1):
        self.ticks += by
        full = self.ticks > self.limit
        return full


def run(limit, n):
    meter = Meter(limit)
    return [meter.tick() for _ in range(n)]
""",
        [("story", ([1, 2],), {}), ("story", ([-1],), {}), ("story", ([],), {}), ("run", (2, 4), {})],
    ),
    "exceptions": (
        """
def parse(text):
    try:
        number = int(text)
    except ValueError as error:
        number = str(error)
    finally:
        done = True
    try:
        result = 10 / number
    except (TypeError, ZeroDivisionError):
        raise KeyError(text)
    return result, done


def shielded(texts):
    out = []
    for text in texts:
        try:
            out.append(parse(text))
        except KeyError as missing:
            out.append(missing.args)
            try:
                raise
            except KeyError:
                out.append("again")
    return out


def early(flag):
    if flag: return "one line"
    x = 1; y = 2
    return x + y
""",
        [
            ("parse", ("5",), {}),
            ("parse", ("0",), {}),
            ("shielded", (["a", "2", "0"],), {}),
            ("early", (True,), {}),
            ("early", (False,), {}),
        ],
    ),
    "shadows": (
        """
data = [3, 1, 2]


def best(key=len, values=data):
    data = sorted(values)
    max = data[-1]
    data += [max]
    print = repr
    return print(data), key(data)


def twice(data):
    def inner(data):
        data = data + 1
        return data
    first = inner(data)
    class Holder:
        data = first
        value = first * 2
    del first
    return Holder.data, Holder.value, data


def dynamic(a):
    b = a + 1
    return sum(v for v in [a, b])
""",
        [("best", (), {}), ("twice", (1,), {}), ("dynamic", (4,), {})],
    ),
    "output": (
        """
import functools
import io


def shout(words, times=2):
    for word in words:
        print(word.upper() * times, end="!\\n")
    buffer = io.StringIO()
    print("kept", file=buffer)
    return buffer.getvalue()


@functools.lru_cache(maxsize=None)
def fibonacci(n):
    if n < 2:
        return n
    else:
        smaller = fibonacci(n - 1)
        return smaller + fibonacci(n - 2)


def decide(a, b):
    if a is True:
        answer = 1
    elif b is False:
        answer = 2
    else:
        answer = 3
    flag = not (a and b)
    return answer, flag is True
""",
        [
            ("shout", (["a", "b"],), {}),
            ("fibonacci", (9,), {}),
            ("decide", (True, False), {}),
            ("decide", (False, False), {}),
            ("decide", (0, 1), {}),
        ],
    ),
    "async": (
        """
import asyncio


async def double(value):
    await asyncio.sleep(0)
    result = value * 2
    return result


async def gather(values):
    parts = [await double(value) for value in values]
    async def numbers():
        for part in parts:
            yield part
    return [x async for x in numbers()]


def run(values):
    return asyncio.run(gather(values))
""",
        [("run", ([1, 2],), {}), ("run", ([],), {})],
    ),
    "names in strings": (
        """
def describe(width, height):
    area = width * height
    label = f"{area=} of {width!r}"
    scope = locals()
    return label, sorted(scope)


def plain(width):
    area = width * width
    return "area", area
""",
        [("describe", (2, 3), {}), ("plain", (4,), {})],
    ),
    "fields": (
        """
class Stack:
    def __init__(self, limit):
        self.items = []
        self.limit = limit
        self.dropped = self.pushed = 0

    def push(self, item):
        self.pushed += 1
        if len(self.items) < self.limit:
            self.items.append(item)
        else:
            self.dropped += 1
        return self

    def state(self):
        first, *rest = self.items or [None]
        return first, rest, self.dropped, self.pushed


def fill(limit, n):
    stack = Stack(limit)
    for number in range(n):
        stack.push(number)
    return stack.state()
""",
        [("fill", (limit, n), {}) for limit in range(3) for n in range(4)],
    ),
}
"""Name to source and calls ``(function, arguments, keyword arguments)``."""
