"""Soft prompts: embedding vectors that make a model answer again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from unlearn_pl.data import EvaluationRow, Example
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.relearning_sets.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet
from unlearn_pl.robustness.target import FORGET, RETAIN, Subject

SHOWN = "shown"


class SoftPrompt(Attack):
    """Leakage after the questions are followed by vectors that are optimized on some forget rows.

    The vectors stand between question and answer, the same ones for all questions; Adam lowers the loss of the answers
    that the attacker knows, and the weights stay as they are. ``forget`` metrics cover the rows that the vectors are
    not optimized on, ``shown`` metrics the others; ``retain`` metrics show what the vectors do to other questions.
    Vectors can teach a form of answer, and little knowledge: compare with the retain model under the same attack.

    Args:
        rows: forget rows that the attacker knows; ``RandomFraction(0.2)`` by default.
        vectors: number of vectors.
        steps: steps of Adam.
        learning_rate: its learning rate.
        batch_size: rows per step, drawn at random.

    Raises:
        ValueError: if a number is not positive; from ``check``, if no forget row is shown, or none is left.

    References:
        Schwinn et al., Soft Prompt Threats: Attacking Safety Alignment and Unlearning in Open-Source LLMs through the
        Embedding Space, NeurIPS 2024, arXiv 2402.09063 (there, one attack per question also).
    """

    def __init__(
        self,
        rows: RelearningSet | None = None,
        vectors: int = 20,
        steps: int = 100,
        learning_rate: float = 1e-3,
        batch_size: int = 8,
    ) -> None:
        if min(vectors, steps, batch_size) < 1 or not learning_rate > 0:
            raise ValueError(
                f"vectors={vectors}, steps={steps}, learning_rate={learning_rate}, batch_size={batch_size}; accepted "
                "are positive numbers."
            )
        self.rows = rows or RandomFraction()
        self.vectors = vectors
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size

    @property
    def name(self) -> str:
        """The attack, its rows and the number of vectors."""
        return f"SoftPrompt ({self.rows.name}, {self.vectors} vectors)"

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: two evaluations, and three forwards per example of a step."""
        rows = max(1, sum(map(len, subject.splits.values())))
        return 2 + 3 * self.steps * self.batch_size / rows / 8

    def check(self, subject: Subject) -> None:
        """Check that rows are shown, and that others are left."""
        self._parts(subject)

    def run(self, subject: Subject) -> Findings:
        """Optimize the vectors, and evaluate before and after."""
        parts, module = self._parts(subject), subject.pretrained(subject.build())
        before = subject.score(module, parts).metrics
        model = module.model
        assert model is not None
        model.to(subject.device).eval()
        soft = SoftEmbedding(model.get_input_embeddings(), self.vectors, subject.seed)  # type: ignore[operator]
        model.set_input_embeddings(soft)  # type: ignore[operator]
        followed = {name: [self._followed(row, soft, subject) for row in rows] for name, rows in parts.items()}
        known = [row.example for row in self._followed_shown(soft, subject)]
        loss = self._optimize(model, soft, known, subject)
        found = Findings.scored(subject.score(module, followed))
        return Findings({**found.after, "loss": loss}, before, rows=found.rows)

    def _parts(self, subject: Subject) -> dict[str, list[EvaluationRow]]:
        shown = set(self.rows.select(subject).shown)
        if not shown or len(shown) == len(subject.forget):
            raise ValueError(
                f"{self.name} is optimized on some forget rows and tested on the others, but {len(shown)} of "
                f"{len(subject.forget)} are shown. Accepted are sets that show a part, such as RandomFraction(0.2)."
            )
        parts = {
            FORGET: [row for i, row in enumerate(subject.forget) if i not in shown],
            SHOWN: [row for i, row in enumerate(subject.forget) if i in shown],
            RETAIN: subject.retain,
        }
        return {name: subject.limited(rows) for name, rows in parts.items() if rows}

    def _followed_shown(self, soft: "SoftEmbedding", subject: Subject) -> "list[Followed]":
        return [self._followed(subject.forget[i], soft, subject) for i in self.rows.select(subject).shown]

    @staticmethod
    def _followed(row: EvaluationRow, soft: "SoftEmbedding", subject: Subject) -> "Followed":
        example = row.examples(subject.encoder, f"a row of the split {subject.forget_split!r}")[0]
        start, ids = example.prompt_length, example.input_ids
        longer = replace(
            example, input_ids=ids[:start] + soft.ids + ids[start:], prompt_length=start + len(soft.ids), choice=0
        )
        return Followed(longer, row.expected())

    def _optimize(self, model: nn.Module, soft: "SoftEmbedding", known: Sequence[Example], subject: Subject) -> float:
        """Lower the loss of the answers; returns the last one."""
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        soft.vectors.requires_grad_()
        optimizer = torch.optim.Adam([soft.vectors], lr=self.learning_rate)
        generator, pad = torch.Generator().manual_seed(subject.seed), subject.tokenizer.pad_token_id or 0
        loss = torch.tensor(float("nan"))
        for _ in range(self.steps):
            drawn = torch.randperm(len(known), generator=generator)[: self.batch_size].tolist()
            batch = move_data_to_device(collate_examples([known[i] for i in drawn], pad), soft.vectors.device)
            with torch.enable_grad(), subject.forward_context():
                loss = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")}).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        soft.vectors.requires_grad_(False)
        return loss.item()


class SoftEmbedding(nn.Module):
    """An embedding with ids beyond its vocabulary, which stand for vectors of their own.

    Args:
        embedding: the model's.
        count: number of vectors.
        seed: of their first values: the mean embedding, plus noise of the size of an embedding's entries.
    """

    def __init__(self, embedding: nn.Embedding, count: int, seed: int) -> None:
        super().__init__()
        self.embedding = embedding
        weight = embedding.weight.detach()
        noise = torch.randn(count, weight.shape[1], generator=torch.Generator().manual_seed(seed))
        first = weight.float().mean(dim=0) + weight.float().std() * noise.to(weight.device)
        self.vectors = nn.Parameter(first)
        self.ids = list(range(len(weight), len(weight) + count))

    @property
    def weight(self) -> Tensor:
        """The vocabulary's embeddings ``[V, D]``."""
        return self.embedding.weight

    @property
    def num_embeddings(self) -> int:
        """Size of the vocabulary."""
        return self.embedding.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        """``[B, T]`` ids to ``[B, T, D]``."""
        first = self.ids[0]
        known: Tensor = self.embedding(ids.clamp(max=first - 1))
        own = self.vectors[(ids - first).clamp(min=0)].to(known.dtype)
        return torch.where((ids >= first).unsqueeze(-1), own, known)


@dataclass(frozen=True)
class Followed(EvaluationRow):
    """A tokenized question that is followed by vectors.

    Args:
        example: the question, the ids of the vectors, and the answer.
        answer: the text of the answer.
    """

    example: Example
    answer: str

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The answer, as candidate 0."""
        return [self.example]

    def content(self) -> str:
        """The tokens."""
        return str(self.example.input_ids)

    def prompt(self, encoder: Encoder) -> list[int]:
        """The question and the ids of the vectors."""
        return self.example.input_ids[: self.example.prompt_length]

    def expected(self) -> str:
        """The answer."""
        return self.answer
