"""Speed of the full TOFU evaluation, side by side with one that goes metric by metric.

Both compute the same numbers per example, of the same model, questions and batch size: probabilities, truth ratios and
ROUGE of TOFU's four splits, memorization of three, four membership attacks on forget and holdout set, fluency. The runs
of a pair follow each other, and the ratio is taken pair by pair, so that other work on the machine cancels.

Usage: ``python -m benchmarks.evaluation_speed [--questions 100] [--pairs 3] [--tofu FOLDER] [--model NAME]``
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

# Before torch is imported: one thread, which does not spin while it waits.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

import lightning.pytorch as pl
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from benchmarks.harness import Clock, machine, table
from benchmarks.metric_by_metric import MetricByMetric
from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.data import Row, SyntheticAuthors, UnlearningDataModule
from unlearn_pl.data.io.rows import read_rows
from unlearn_pl.models import CausalLM, load_tokenizer, tiny_llama, train_tokenizer
from unlearn_pl.modules import FineTuning, PretrainedModule
from unlearn_pl.optim import LinearWarmup
from unlearn_pl.results import PerExample

MAX_NEW_TOKENS = 200
MEMORIZATION = ("exact_memorization", "extraction_strength")
ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus")
METRICS: dict[str, Sequence[str]] = {
    "forget": (
        "probability", "truth_ratio", "rouge", "fluency", "paraphrase_probability", "truth_share",
        *MEMORIZATION, *ATTACKS,
    ),
    "retain": ("probability", "truth_ratio", "rouge", *MEMORIZATION),
    "real_authors": ("probability_with_options", "truth_ratio", "rouge"),
    "world_facts": ("probability_with_options", "truth_ratio", "rouge"),
    "holdout": (*MEMORIZATION, *ATTACKS),
}  # fmt: skip
DEVICE = torch.device("cpu")
Seconds = tuple[float, float]
"""Elapsed, and of the processor."""
HEADER = (
    "model", "tokens", "metric by metric, tokens/s", "unlearn_pl, tokens/s", "ratio of processor time (range)",
    "ratio of elapsed time (range)", "equal numbers", "largest difference",
)  # fmt: skip


class Splits(UnlearningDataModule):
    """Questions to evaluate on, and those of some of them to train on."""

    def __init__(
        self,
        rows: Mapping[str, Sequence[Row]],
        known: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
    ) -> None:
        self.rows = rows
        self.known = known
        super().__init__(tokenizer, streams=["train"], batch_size=8, micro_batch_size=8, eval_batch_size=batch_size)

    def load_streams(self) -> Mapping[str, Sequence[Row]]:
        return {"train": [row for name in self.known for row in self.rows[name]]}

    def load_splits(self) -> Mapping[str, Sequence[Row]]:
        return self.rows


def made_up(questions: int) -> dict[str, list[Row]]:
    """Fictitious authors."""
    authors = max(1, questions // 10)
    facts = SyntheticAuthors(0, authors, authors, authors, min(questions, 60))
    return {name: getattr(facts, name)[:questions] for name in METRICS}


def tofu(folder: Path, questions: int) -> dict[str, list[Row]]:
    """TOFU's questions; the holdout are forget questions that no model here is trained on."""
    files = {"forget": "forget10", "retain": "retain", "real_authors": "real_authors", "world_facts": "world_facts"}
    columns = ("question", "answer", "perturbed_answer")
    rows = {name: read_rows(folder / f"{file}_perturbed.json", columns) for name, file in files.items()}
    rows["holdout"] = rows["forget"][questions:]
    return {name: rows[name][:questions] for name in METRICS}


def small_model(data: Splits, options: argparse.Namespace) -> nn.Module:
    """A Llama that has learned the answers of the splits in ``data.known``."""
    model = tiny_llama(len(data.tokenizer), options.width, options.layers, max_position_embeddings=512)
    module = FineTuning(model, optimizer=partial(torch.optim.AdamW, lr=2e-3), schedule=LinearWarmup(1.0))
    trainer(max_epochs=options.epochs, limit_val_batches=0).fit(module, data)
    return model.eval()


def trainer(**options: object) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def ours(model: nn.Module, data: Splits) -> tuple[Seconds, PerExample]:
    """Seconds and scores of the callback."""
    with tempfile.TemporaryDirectory() as folder:
        evaluation = TOFUEvaluation(output=f"{folder}/results.json")
        clock = Clock(DEVICE)
        trainer(callbacks=[evaluation]).test(PretrainedModule(model, MAX_NEW_TOKENS), data, verbose=False)
        seconds = clock.seconds()
    assert evaluation.results is not None
    return seconds, evaluation.results.per_example


def theirs(model: nn.Module, data: Splits, batch_size: int) -> tuple[Seconds, PerExample, int]:
    """Seconds and scores of the straightforward way, and how many tokens were scored and generated."""
    splits = {
        name: MetricByMetric(model, data.tokenizer, rows, batch_size, MAX_NEW_TOKENS)
        for name, rows in data.rows.items()
    }
    clock = Clock(DEVICE)
    scores = {
        name: {metric.removesuffix("_with_options"): getattr(splits[name], metric)() for metric in metrics}
        for name, metrics in METRICS.items()
    }
    seconds = clock.seconds()
    tables = {
        name: {metric: dict(enumerate(values)) for metric, values in table.items()} for name, table in scores.items()
    }
    return seconds, tables, sum(split.tokens() for split in splits.values())


def largest_difference(mine: PerExample, others: PerExample) -> tuple[int, float]:
    """How many numbers there are, and the largest difference of two of them."""
    assert {name: set(table) for name, table in mine.items()} == {name: set(table) for name, table in others.items()}
    pairs = [
        (value, others[split][metric][index])
        for split, table in mine.items()
        for metric, values in table.items()
        for index, value in values.items()
    ]
    return len(pairs), max(abs(a - b) / max(1, abs(b)) for a, b in pairs)


def compare(name: str, model: nn.Module, data: Splits, options: argparse.Namespace) -> list[str]:
    """A row of the table."""
    pairs: list[tuple[Seconds, Seconds]] = []
    for turn in range(options.pairs + 1):  # the first one warms up
        slow, their_scores, tokens = theirs(model, data, options.batch_size)
        fast, my_scores = ours(model, data)
        pairs += [(slow, fast)] if turn else []
        print(f"{name}, pair {turn}: {slow[0]:.1f} s and {fast[0]:.1f} s", file=sys.stderr, flush=True)
    count, difference = largest_difference(my_scores, their_scores)
    if difference > options.tolerance:
        raise SystemExit(f"{name}: the numbers differ by up to {difference:.1e}, more than {options.tolerance:.0e}.")
    slow_rate, fast_rate = (tokens / statistics.median(pair[side][1] for pair in pairs) for side in (0, 1))
    cells = [name, f"{tokens}", f"{slow_rate:.0f}", f"{fast_rate:.0f}"]
    for kind in (1, 0):
        ratios = sorted(slow[kind] / fast[kind] for slow, fast in pairs)
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return [*cells, f"{count}", f"{difference:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tofu", type=Path, help="folder with TOFU's files; made-up authors when not given")
    parser.add_argument("--model", help="name or folder of a model to evaluate, instead of the small ones")
    parser.add_argument("--questions", type=int, default=100, help="at most, of every split")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    rows = tofu(options.tofu, options.questions) if options.tofu else made_up(options.questions)
    results = []
    if options.model:
        tokenizer = load_tokenizer(options.model)
        data = Splits(rows, [], tokenizer, options.batch_size)
        results.append(compare(options.model, CausalLM(options.model).build().eval(), data, options))
    else:
        texts = [
            t for split in rows.values() for r in split for t in (r["question"], r["answer"], *r["perturbed_answer"])
        ]
        tokenizer = train_tokenizer(texts, 4096)
        general = ["retain", "real_authors", "world_facts"]
        for name, known in {"target": ["forget", *general], "retain": general}.items():
            data = Splits(rows, known, tokenizer, options.batch_size)
            results.append(compare(name, small_model(data, options), data, options))
    print(f"\n{options.questions} questions per split at most, batch size {options.batch_size}; {machine()}\n")
    print(table(HEADER, results))


if __name__ == "__main__":
    main()
