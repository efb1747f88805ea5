"""What the approximation of ``CachedReference`` costs in accuracy, and saves in memory.

A model learns made-up authors, and then unlearns half of them for some steps, so that it differs from the original. On
answers of both kinds, losses that compare with the original model are computed with a frozen copy and with caches of
growing ``top_k``: relative error of the value, relative error and cosine of the gradient by all weights.

Usage: ``python benchmarks/cached_reference.py [--model smollm2-135m] [--learn 200] [--unlearn 5 20]``; without a model,
a tiny one is made. Prints Markdown tables.
"""

import argparse
import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

# Before torch is imported: one thread, which does not spin while it waits.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.models import CausalLM, stream_forward, tiny_llama
from unlearn_pl.modules import FineTuning, GradDiff
from unlearn_pl.objectives import KLDivergenceLoss, Objective, UNDIALLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import CachedReference, FrozenReference, Reference, ReferenceContext, StreamExamples
from unlearn_pl.types import TokenBatch

SIZES = (1, 4, 16, 64, 256, 1024)
NEEDS = frozenset({"logits", "ref_logits"})
OBJECTIVES: dict[str, Objective] = {
    "KL on retain": KLDivergenceLoss(),
    "KL on forget": KLDivergenceLoss(stream="forget"),
    "UNDIAL on forget": UNDIALLoss(),
}


def make_data(model: str | None, batch_size: int, streams: Sequence[str]) -> SyntheticAuthorsDataModule:
    tokenizer = CausalLM(model).tokenizer() if model else None
    return SyntheticAuthorsDataModule(
        tokenizer, streams=streams, splits=[], batch_size=batch_size, micro_batch_size=batch_size
    )


def fit(module: pl.LightningModule, data: pl.LightningDataModule, steps: int) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)


def memorized(options: argparse.Namespace) -> nn.Module:
    """The original model: it has seen all authors."""
    data = make_data(options.model, options.batch_size, ["train"])
    model = CausalLM(options.model).build() if options.model else tiny_llama(len(data.tokenizer))
    optimizer = partial(AdamW, lr=1e-4 if options.model else 3e-3)
    fit(FineTuning(model, optimizer=optimizer, schedule=Constant()), data, options.learn)
    return model


def unlearned(original: nn.Module, options: argparse.Namespace, steps: int) -> nn.Module:
    model = copy.deepcopy(original)
    optimizer = partial(AdamW, lr=2e-5 if options.model else 3e-4)
    module = GradDiff(model, optimizer=optimizer, schedule=Constant())
    fit(module, make_data(options.model, options.batch_size, ["forget", "retain"]), steps)
    return model


def references(original: nn.Module, examples: StreamExamples, folder: Path) -> Iterator[tuple[int | None, Reference]]:
    """A frozen copy (None), and a cache per ``top_k``."""
    vocabulary = original.config.vocab_size
    sizes = sorted({min(k, vocabulary) for k in SIZES})
    for k in (None, *sizes):
        reference = FrozenReference() if k is None else CachedReference(str(folder / str(k)), k)
        reference.prepare(
            ReferenceContext(
                original,
                lambda: copy.deepcopy(original),
                stream_forward,
                is_original=True,
                needs={"stream": NEEDS},
                examples=lambda stream: examples,
                batch_size=8,
            )
        )
        yield k, reference


def loss_and_gradient(
    model: nn.Module, objective: Objective, reference: Reference, batch: TokenBatch
) -> tuple[float, Tensor]:
    fields = reference.annotate("stream", batch, NEEDS, model)
    view = stream_forward(model, batch, NEEDS)
    for field, value in fields.items():
        setattr(view, field, value)
    reference.complete("stream", batch, NEEDS, view)
    loss = objective.loss(view)
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    return loss.item(), torch.cat([g.flatten() for g in gradient]).double()


def print_errors(original: nn.Module, options: argparse.Namespace, folder: Path) -> None:
    data = make_data(options.model, options.batch_size, ["forget", "retain"])
    pad_id = data.tokenizer.pad_token_id
    models = {steps: unlearned(original, options, steps).eval() for steps in options.unlearn}
    for name, objective in OBJECTIVES.items():
        examples = data.training_examples(objective.streams[0], None)[: options.examples]
        batch = collate_examples(examples, pad_id)
        exact: dict[int, tuple[float, Tensor]] = {}
        print(f"\n{name}\n")
        columns = [f"{what} after {steps}" for steps in models for what in ("value", "gradient", "cosine")]
        print(f"| top_k | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
        for k, reference in references(original, StreamExamples("rows", examples), folder / name):
            cells = []
            for steps, model in models.items():
                value, gradient = loss_and_gradient(model, objective, reference, batch)
                if k is None:
                    exact[steps] = value, gradient
                    cells += [f"{value:.3g}", "-", "-"]
                    continue
                of_copy, true = exact[steps]
                error = ((gradient - true).norm() / true.norm()).item()
                cosine = torch.cosine_similarity(gradient, true, dim=0).item()
                cells += [percent((value - of_copy) / of_copy), percent(error), f"{cosine:.4f}"]
            print(f"| {'frozen copy' if k is None else k} | {' | '.join(cells)} |", flush=True)


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if abs(share) > 1e-6 else "0"


def print_sizes(original: nn.Module, folder: Path) -> None:
    weights = sum(p.numel() * p.element_size() for p in original.parameters())
    vocabulary = original.config.vocab_size
    print(f"\nThe frozen copy takes {weights / 2**20:.1f} MiB; the vocabulary has {vocabulary} tokens.\n")
    print("| top_k | bytes per scored token | scored tokens in the memory of the copy |\n|---|---|---|")
    bytes_per_token = {"ref_logps only": 4.0}
    for file in sorted(folder.glob("*retain/*/*.safetensors"), key=lambda path: int(path.parent.name)):
        bytes_per_token[file.parent.name] = _bytes_per_token(file)
    for k, size in bytes_per_token.items():
        print(f"| {k} | {size:.0f} | {weights / size:.2g} |")


def _bytes_per_token(file: Path) -> float:
    from safetensors.torch import load_file

    values = load_file(file)
    return sum(value.nbytes for name, value in values.items()) / len(values["logps"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name of a model; a tiny one is made by default")
    parser.add_argument("--learn", type=int, default=200, help="optimizer steps in which the authors are learned")
    parser.add_argument("--unlearn", type=int, nargs="+", default=[5, 40], help="steps of GradDiff before measuring")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--examples", type=int, default=20, help="examples that are measured on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        original = memorized(options).eval()
        print_errors(original, options, Path(folder))
        print_sizes(original, Path(folder))


if __name__ == "__main__":
    main()
