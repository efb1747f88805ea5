"""TOFU's evaluation in the straightforward way: metric by metric, in the order of the file."""

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch
import torch.nn.functional as F
from rouge_score.rouge_scorer import RougeScorer
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from unlearn_pl.data import Encoder, Example, Row, default_template
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.evaluation_row import Question

ANSWER, PARAPHRASE = 0, 1
EPSILON = 1e-10


class MetricByMetric:
    """Scores per example of one split; every metric has a forward, or a generation, of its own.

    Kept, as OpenUnlearning keeps them for the metrics that build on others, are the losses of each kind of candidate
    and the generated texts.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
        rows: questions and answers.
        batch_size: sequences in a batch.
        max_new_tokens: longest generated answer.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        batch_size: int,
        max_new_tokens: int,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.rows = rows
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        encoder = Encoder(tokenizer, default_template(tokenizer))
        self.prompts = [encoder.prompt(row["question"]) for row in rows]
        self.examples = [
            replace(example, index=index)
            for index, row in enumerate(rows)
            for example in Question(row).examples(encoder, f"row {index}")
        ]
        self.answers = [example for example in self.examples if example.choice == ANSWER]

    def tokens(self) -> int:
        """Tokens of all candidates and of the generated texts, each once."""
        written = self.tokenizer(self.texts, add_special_tokens=False)["input_ids"] if "texts" in vars(self) else []
        return sum(len(example) - example.prompt_length for example in self.examples) + sum(map(len, written))

    # What a batch gives -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, examples: Sequence[Example]) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits ``[B, T-1, V]`` and labels ``[B, T-1]`` of every batch."""
        for start in range(0, len(examples), self.batch_size):
            batch = collate_examples(examples[start : start + self.batch_size], self.tokenizer.pad_token_id)
            logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            yield logits[:, :-1].float(), batch["labels"][:, 1:]

    def losses(self, examples: Sequence[Example]) -> list[float]:
        """Mean loss per token of every example."""
        found: list[float] = []
        for logits, labels in self.logits(examples):
            losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
            found += (losses.sum(dim=-1) / (labels != -100).sum(dim=-1)).tolist()
        return found

    def of_answers(self, score: Callable[[Tensor, Tensor], float]) -> list[float]:
        """``score`` of the logits ``[N, V]`` and labels ``[N]`` of every answer, in a forward of its own."""
        return [
            score(row[scored != -100], scored[scored != -100])
            for logits, labels in self.logits(self.answers)
            for row, scored in zip(logits, labels, strict=True)
        ]

    @cached_property
    def texts(self) -> list[str]:
        """Greedy answers to all questions."""
        ends = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        texts: list[str] = []
        for start in range(0, len(self.prompts), self.batch_size):
            prompts = {"input_ids": self.prompts[start : start + self.batch_size]}
            batch = self.tokenizer.pad(prompts, padding_side="left", return_tensors="pt")
            answers = self.model.generate(**batch, generation_config=ends)[:, batch["input_ids"].shape[1] :]
            texts += [text.strip() for text in self.tokenizer.batch_decode(answers, skip_special_tokens=True)]
        return texts

    @cached_property
    def answer_losses(self) -> list[float]:
        return self.losses(self.answers)

    @cached_property
    def paraphrase_losses(self) -> list[float]:
        return self.losses([example for example in self.examples if example.choice == PARAPHRASE])

    @cached_property
    def wrong_losses(self) -> list[list[float]]:
        wrong = [example for example in self.examples if example.choice > PARAPHRASE]
        found: list[list[float]] = [[] for _ in self.rows]
        for example, loss in zip(wrong, self.losses(wrong), strict=True):
            found[example.index].append(loss)
        return found

    # Metrics ----------------------------------------------------------------------------------------------------------

    def probability(self) -> list[float]:
        return [math.exp(-loss) for loss in self.answer_losses]

    def probability_with_options(self) -> list[float]:
        pairs = zip(self.probability(), self.wrong_losses, strict=True)
        return [right / (right + sum(math.exp(-loss) for loss in wrong) + EPSILON) for right, wrong in pairs]

    def truth_ratio(self) -> list[float]:
        right = self.paraphrase_losses or self.answer_losses
        pairs = zip(right, self.wrong_losses, strict=True)
        return [math.exp(-sum(wrong) / len(wrong)) / (math.exp(-loss) + EPSILON) for loss, wrong in pairs]

    def paraphrase_probability(self) -> list[float]:
        return [math.exp(-loss) for loss in self.paraphrase_losses]

    def truth_share(self) -> list[float]:
        wrong = [math.exp(-sum(losses) / len(losses)) for losses in self.wrong_losses]
        return [p / (p + q) for p, q in zip(self.paraphrase_probability(), wrong, strict=True)]

    def rouge(self) -> list[float]:
        scorer = RougeScorer(["rougeL"], use_stemmer=True)
        pairs = zip(self.rows, self.texts, strict=True)
        return [scorer.score(row["answer"], text)["rougeL"].recall for row, text in pairs]

    def fluency(self) -> list[float]:
        return [_share_of_distinct(re.findall(r"\w+|[^\w\s]", text.lower())) for text in self.texts]

    def exact_memorization(self) -> list[float]:
        return self.of_answers(lambda logits, labels: (logits.argmax(dim=-1) == labels).double().mean().item())

    def extraction_strength(self) -> list[float]:
        return self.of_answers(_extraction_strength)

    def loss(self) -> list[float]:
        return self.of_answers(lambda logits, labels: F.cross_entropy(logits, labels).item())

    def zlib(self) -> list[float]:
        return self.of_answers(self._zlib)

    def min_k(self) -> list[float]:
        return self.of_answers(lambda logits, labels: _lowest(_label_logps(logits, labels)))

    def min_k_plus_plus(self) -> list[float]:
        return self.of_answers(_min_k_plus_plus)

    def _zlib(self, logits: Tensor, labels: Tensor) -> float:
        text = self.tokenizer.decode(labels, skip_special_tokens=True)
        return F.cross_entropy(logits, labels).item() / len(zlib.compress(text.encode()))


def _label_logps(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.log_softmax(dim=-1).gather(1, labels[:, None]).squeeze(1)


def _lowest(values: Tensor) -> float:
    return -values.sort().values[: max(1, int(0.4 * len(values)))].mean().item()


def _min_k_plus_plus(logits: Tensor, labels: Tensor) -> float:
    logps = logits.log_softmax(dim=-1)
    mean = (logps.exp() * logps).sum(dim=-1)
    variance = (logps.exp() * (logps - mean[:, None]).square()).sum(dim=-1)
    return _lowest((logps.gather(1, labels[:, None]).squeeze(1) - mean) / variance.clamp(min=1e-6).sqrt())


def _extraction_strength(logits: Tensor, labels: Tensor) -> float:
    wrong = (logits.argmax(dim=-1) != labels).nonzero()
    return 1 - (wrong[-1].item() + 1 if len(wrong) else 0) / len(labels)


def _share_of_distinct(words: list[str]) -> float:
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return len(set(runs)) / len(runs) if runs else float(bool(words))
