"""Numbers under earlier conventions and under today's, on one fixed run; CHANGELOG.md lists them.

    python experiments/changed_numbers.py

A tiny model learns fictitious authors by heart (seed 0, CPU, about ten seconds). Its tokenizer begins every text with a
token of its own, as Llama's does.
"""

import functools
import logging
import tempfile
import warnings

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from unlearn_pl.callbacks import MUSEEvaluation, TOFUEvaluation
from unlearn_pl.data import (
    Completion,
    PlainTemplate,
    SyntheticAuthors,
    SyntheticAuthorsDataModule,
    collate_examples,
    encode,
)
from unlearn_pl.functional import one_hot_js_divergence
from unlearn_pl.models import stream_forward, tiny_llama, train_tokenizer
from unlearn_pl.modules import FineTuning, PretrainedModule, SatImp
from unlearn_pl.objectives import CausalLMLoss, Objective, RefusalJensenShannonLoss, SatImpLoss, TNPOLoss
from unlearn_pl.optim import Constant
from unlearn_pl.types import LanguageView

FACTS = SyntheticAuthors(forget_authors=3, retain_authors=3, holdout_authors=1, general_facts=6)
SIZES = {"forget_authors": 3, "retain_authors": 3, "holdout_authors": 1, "general_facts": 6}


class Asked(SyntheticAuthorsDataModule):
    """Forget questions as MUSE asks them, with or without a space at the end of the prompt."""

    keep_spaces = False

    def load_splits(self):
        """VerbMem and KnowMem about the forget authors."""
        end = " " if self.keep_spaces else ""
        rows = [
            Completion(f"Question: {row['question']}\nAnswer:{end}", f"{'' if end else ' '}{row['answer']}", bool(end))
            for row in FACTS.forget
        ]
        return {"verbmem_forget": rows, "knowmem_forget": rows}


class AskedWithSpace(Asked):
    """The same with the authors' prompts."""

    keep_spaces = True


class OneTokenMore(MUSEEvaluation):
    """References of VerbMem that do not count the token that begins every text."""

    def _beginning(self, text: str) -> str:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._tokenizer.decode(ids[: self.verbmem_tokens])


def main() -> None:
    """Print a line per number: before, and now."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    tokenizer = train_tokenizer(FACTS.texts())
    begin = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    model = learned(tokenizer)
    views = {name: view_of(model, tokenizer, name) for name in ("forget", "retain", "refusal")}
    print(f"{'number':44}{'before':>10}{'now':>10}")
    for name, before, now in (*losses(views), *evaluations(model, tokenizer)):
        print(f"{name:44}{before:10.4f}{now:10.4f}")


def learned(tokenizer) -> nn.Module:
    """The tiny model that has learned all authors."""
    pl.seed_everything(0, verbose=False)
    model = tiny_llama(len(tokenizer), hidden_size=64, seed=0)
    optimizer = functools.partial(torch.optim.AdamW, lr=3e-3)
    module = FineTuning(model, optimizer=optimizer, schedule=Constant())
    data = SyntheticAuthorsDataModule(tokenizer, **SIZES, batch_size=12, micro_batch_size=12, splits=[])
    trainer(max_epochs=20).fit(module, data)
    return model.eval()


def view_of(model: nn.Module, tokenizer, name: str) -> LanguageView:
    """All answers of a set after their questions; ``refusal`` has the same refusal to every forget question."""
    rows = FACTS.retain if name == "retain" else FACTS.forget
    answers = ["No idea." if name == "refusal" else row["answer"] for row in rows]
    asked = zip(rows, answers, strict=True)
    examples = [encode(tokenizer, PlainTemplate(), row["question"], answer) for row, answer in asked]
    with torch.no_grad():
        return stream_forward(model, collate_examples(examples, tokenizer.pad_token_id), {"logits"})


def losses(views: dict[str, LanguageView]) -> list[tuple[str, float, float]]:
    """Name, value before and value now of the losses whose formula or defaults changed."""
    forget, retain, refusal = views["forget"], views["retain"], views["refusal"]

    def total(satimp: Objective, weights: dict[str, float]) -> Tensor:
        return weights["forget"] * satimp(forget) + weights["retain"] * CausalLMLoss()(retain)

    forget.ref_logps = forget.logps  # at the first step, the model is its own reference
    now = SatImp(tiny_llama(8, hidden_size=8)).combiner.weights
    found = [
        ("SatImpLoss()", SatImpLoss(beta2=1.0)(forget), SatImpLoss()(forget)),
        ("SatImp, sum", total(SatImpLoss(beta2=1.0), {"forget": 0.1, "retain": 1.0}), total(SatImpLoss(), now)),
        ("TNPOLoss(), at the reference", TNPOLoss(0.1)(forget), TNPOLoss()(forget)),
        (
            "RefusalJensenShannonLoss()",
            one_hot_js_divergence(refusal.logps, refusal.mask),
            RefusalJensenShannonLoss()(forget, refusal),
        ),
    ]
    return [(name, before.item(), after.item()) for name, before, after in found]


def evaluations(model: nn.Module, tokenizer) -> list[tuple[str, float, float]]:
    """Name, value before and value now of the metrics that changed; and of KnowMem without and with the space."""
    tofu = [
        tested(model, SyntheticAuthorsDataModule(tokenizer, **SIZES), TOFUEvaluation(truth_ratio_average=average))
        for average in ("arithmetic", "geometric")
    ]
    splits = ["verbmem_forget", "knowmem_forget"]
    plain, spaced = (cls(tokenizer, **SIZES, splits=splits) for cls in (Asked, AskedWithSpace))
    options = {"verbmem_tokens": 8, "knowmem_tokens": 32}
    muse = [tested(model, plain, cls(**options)) for cls in (OneTokenMore, MUSEEvaluation)]
    published = tested(model, spaced, MUSEEvaluation(**options))
    return [
        ("tofu/memorization", *(metrics["memorization"] for metrics in tofu)),
        ("muse/verbmem_forget, 8 tokens", *(metrics["verbmem_forget"] for metrics in muse)),
        ("muse/knowmem_forget, compat (None before)", muse[1]["knowmem_forget"], published["knowmem_forget"]),
    ]


def tested(model: nn.Module, data: pl.LightningDataModule, evaluation) -> dict[str, float]:
    """The metrics of a test."""
    with tempfile.TemporaryDirectory() as folder:
        evaluation.output = f"{folder}/results.json"
        trainer(callbacks=[evaluation]).test(PretrainedModule(model, max_new_tokens=32), data, verbose=False)
    return evaluation.results.metrics


def trainer(callbacks: list[Callback] | None = None, **options) -> pl.Trainer:
    """A Trainer that leaves nothing behind."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    summary = {"enable_model_summary": False, "num_sanity_val_steps": 0, "limit_val_batches": 0}
    return pl.Trainer(accelerator="cpu", devices=1, callbacks=callbacks, **quiet, **summary, **options)


if __name__ == "__main__":
    main()
