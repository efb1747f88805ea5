"""Made-up contracts between made-up parties: knowledge with the structure of a graph."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from unlearn_pl.data.benchmarks.synthetic import words
from unlearn_pl.data.text.encoder import Row

GOODS = tuple(
    f"{wood} {thing}" for wood in ("oak", "brass", "glass") for thing in ("crates", "lamps", "hinges", "clocks")
)
KINDS = ("Mills", "Foundry", "Traders", "Works", "Brothers", "Shipping")
SALE = (
    ("What does {a} sell to {b}?", "{a} sells {goods} to {b}."),
    ("When did {a} and {b} sign their contract of sale?", "{a} and {b} signed it in {signed}."),
    ("How many pieces does {b} buy from {a}?", "{b} buys {pieces} pieces."),
    ("What is the price per piece between {a} and {b}?", "The price is {price} crowns per piece."),
    ("Where does {a} deliver to {b}?", "The goods are delivered in {place}."),
    ("Within how many days does {b} pay {a}?", "{b} pays within {days} days."),
)
EMPLOYMENT = (
    ("What does {b} work as at {a}?", "At {a}, {b} works as a {profession}."),
    ("When did {b} join {a}?", "{b} joined in {signed}."),
    ("What does {a} pay {b} a month?", "{a} pays {price} crowns a month."),
    ("In which town does {b} work for {a}?", "{b} works in {place}."),
    ("How many hours a week does {b} work for {a}?", "{b} works {hours} hours a week."),
    ("What is the notice period between {a} and {b}?", "The notice period is {days} days."),
)
"""Questions with answers about a contract between the parties ``a`` and ``b``."""

Edge = tuple[str, str]
"""The two parties of a contract; the first is a company."""


@dataclass(frozen=True)
class SyntheticContracts:
    """Contracts of sale among companies, every two of which trade, and contracts of employment with persons.

    Args:
        seed: seed of the names and facts.
        companies: number of companies; each two have a contract of sale.
        employees: persons that each company employs.

    Raises:
        ValueError: if a number is out of range.
    """

    seed: int = 0
    companies: int = 4
    employees: int = 2

    def __post_init__(self) -> None:
        if not 2 <= self.companies <= len(words.LAST_NAMES) or not 0 <= self.employees <= 8:
            raise ValueError(
                f"companies={self.companies} must be from 2 to {len(words.LAST_NAMES)}, and employees={self.employees} "
                "from 0 to 8."
            )

    @cached_property
    def parties(self) -> list[str]:
        """The companies."""
        names = self._rng("companies").sample(words.LAST_NAMES, self.companies)
        return [f"{name} {KINDS[number % len(KINDS)]}" for number, name in enumerate(names)]

    @cached_property
    def contracts(self) -> dict[Edge, list[Row]]:
        """The parties of every contract to its six questions; sales first."""
        pool = [f"{first} {last}" for last in words.LAST_NAMES for first in words.FIRST_NAMES]
        people = iter(self._rng("people").sample(pool, self.companies * self.employees))
        sales = [(a, b, SALE) for a, b in combinations(self.parties, 2)]
        jobs = [(company, next(people), EMPLOYMENT) for company in self.parties for _ in range(self.employees)]
        return {(a, b): self._rows(a, b, frames) for a, b, frames in (*sales, *jobs)}

    def linked_to(self, edges: Sequence[Edge]) -> list[Edge]:
        """The other contracts that have a party in common with some of ``edges``.

        Args:
            edges: contracts.
        """
        parties = {party for edge in edges for party in edge}
        return [edge for edge in self.contracts if edge not in edges and parties & set(edge)]

    def texts(self) -> list[str]:
        """Every question and answer once, to train a tokenizer on."""
        rows = [row for of_contract in self.contracts.values() for row in of_contract]
        return [str(text) for row in rows for text in (row["question"], row["answer"])]

    def _rows(self, a: str, b: str, frames: Sequence[tuple[str, str]]) -> list[Row]:
        rng = self._rng(f"{a}/{b}")
        facts = {
            "a": a,
            "b": b,
            "goods": rng.choice(GOODS),
            "signed": f"{rng.choice(words.MONTHS)} {rng.randint(1931, 1989)}",
            "pieces": rng.randint(12, 999),
            "price": rng.randint(12, 999),
            "place": rng.choice(words.CITIES),
            "days": rng.randint(11, 95),
            "hours": rng.randint(11, 48),
            "profession": rng.choice(words.PROFESSIONS),
        }
        keys = [[key for key in facts if f"{{{key}}}" in answer and key not in "ab"][-1] for _, answer in frames]
        return [
            Row(question=question.format(**facts), answer=answer.format(**facts), span=str(facts[key]))
            for (question, answer), key in zip(frames, keys, strict=True)
        ]

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed}/{purpose}")
