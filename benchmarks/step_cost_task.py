"""What is trained in the benchmarks of a step: a model with random weights, random tokens, and two or three losses."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from unlearn_pl.models import LoRA, QLoRA
from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.models.precision import cast_parameters
from unlearn_pl.types import StreamProvider, TokenBatch

MODELS = {
    "tiny": {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1},
    "12m": {"vocab_size": 8192, "hidden_size": 320, "intermediate_size": 1280, "num_hidden_layers": 6,
            "num_attention_heads": 5, "num_key_value_heads": 5},
    "135m": {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
             "num_attention_heads": 9, "num_key_value_heads": 3},
    "1b": {"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
           "num_attention_heads": 32, "num_key_value_heads": 8},
}  # fmt: skip
"""Shapes: one to see whether anything works, one for a laptop, SmolLM2-135M, and Llama-3.2-1B."""


RANK = 16
"""Of adapters."""

STEPS_PER_EPOCH = 1_000_000
"""Of a run without end."""

Streams = Mapping[str, TokenBatch]
"""A batch per stream."""


@cache
def _stored_models() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # removed when the process ends


@dataclass(frozen=True)
class Task:
    """One configuration of a step.

    Attributes:
        model: a key of ``MODELS``.
        objectives: 2 (UCE on forget, NLL on retain), or 3 (a KL divergence on retain between them).
        batch_size: examples per stream.
        length: tokens per example, all of them scored but the first.
        lora: train adapters of rank 16 instead of all weights.
        quantized: keep the weights under the adapters in 4 bits.
        pairs: the streams are a forget answer and an answer to prefer, instead of ``forget`` and ``retain``.
        checkpointing: recompute activations.
        reference: for K = 3: ``given`` log-probabilities, or computed by a model in ``memory``.
        tied: the output head shares the weights of the embedding.
        dtype: type of the weights.
        layers: decoder layers; 0 for as many as the model has.
    """

    model: str = "12m"
    objectives: int = 2
    batch_size: int = 4
    length: int = 128
    lora: bool = False
    quantized: bool = False
    pairs: bool = False
    checkpointing: bool = False
    reference: str = "given"
    tied: bool = True
    dtype: str = "float32"
    layers: int = 0

    def make_model(self, device: torch.device) -> nn.Module:
        """The model, in training mode; the same random weights every time.

        Raises:
            ValueError: if it is to be quantized without adapters.
        """
        if self.quantized and not self.lora:
            raise ValueError("quantized=True with lora=False; accepted: adapters on weights in 4 bits.")
        model: nn.Module = self.make_plain(device)
        if self.lora:
            model = (QLoRA if self.quantized else LoRA)(r=RANK).apply(model)
        return model.train()

    def make_plain(self, device: torch.device) -> PreTrainedModel:
        """The model without adapters."""
        model = self._quantized(device) if self.quantized else self._random(device)
        if self.checkpointing:
            checkpoint_activations(model)
        return model

    def _random(self, device: torch.device) -> PreTrainedModel:
        sizes = MODELS[self.model] | ({"num_hidden_layers": self.layers} if self.layers else {})
        config = LlamaConfig(
            **sizes,
            max_position_embeddings=max(256, self.length),
            tie_word_embeddings=self.tied,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
        torch.manual_seed(0)
        with device:
            model = LlamaForCausalLM(config)
        cast_parameters(model, getattr(torch, self.dtype))
        return model

    def _quantized(self, device: torch.device) -> PreTrainedModel:
        folder = Path(_stored_models().name, f"{self.model}-{self.layers}-{self.tied}-{self.dtype}-{self.length}")
        if not folder.exists():
            self._random(torch.device("cpu")).save_pretrained(folder)
        dtype = getattr(torch, self.dtype)
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=dtype, quantization_config=QLoRA().quantization(), device_map={"": device}
        )
        for parameter in model.parameters():
            # What is not quantized is a view of the mapped file, all pages of which would count as resident memory.
            parameter.data = parameter.data.clone()
        return model

    @property
    def streams(self) -> list[str]:
        """Names of the streams."""
        return ["forget.alternate", "forget"] if self.pairs else ["forget", "retain"]

    @property
    def tokens(self) -> int:
        """Tokens per step, all streams together."""
        return len(self.streams) * self.batch_size * self.length

    def batch(self, device: torch.device) -> Streams:
        """The tokens of every step."""
        examples = {name: TokenExamples(self, i) for i, name in enumerate(self.streams)}
        return {name: collate([e[i] for i in range(len(e))], device) for name, e in examples.items()}

    def json(self) -> str:
        """Can be read by ``Task(**json.loads(...))``."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Example:
    """A sequence whose tokens are all scored, as data modules of the library make them."""

    index: int
    input_ids: list[int]

    @property
    def labels(self) -> list[int]:
        """The tokens."""
        return self.input_ids


class TokenExamples(Dataset[Example]):
    """Random sequences, one batch of them; those of pairs begin alike, with the token that is the prompt.

    Args:
        task: gives their number and length.
        seed: of the random tokens.
    """

    def __init__(self, task: Task, seed: int) -> None:
        shape = task.batch_size, task.length
        vocabulary = MODELS[task.model]["vocab_size"]
        self.tokens = torch.randint(3, vocabulary, shape, generator=torch.Generator().manual_seed(seed))
        if task.pairs:
            prompts = torch.Generator().manual_seed(0)
            self.tokens[:, 0] = torch.randint(3, vocabulary, shape[:1], generator=prompts)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Example:
        return Example(index, self.tokens[index].tolist())


def collate(examples: Sequence[Example], device: torch.device) -> TokenBatch:
    """Sequences of equal length as a batch."""
    tokens = torch.tensor([example.input_ids for example in examples], device=device)
    index = torch.tensor([example.index for example in examples], device=device)
    return TokenBatch(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens, index=index)


class RandomTokens(StreamProvider, pl.LightningDataModule):
    """The same batch again and again, as the data module of a run without end.

    Args:
        task: gives streams and sizes.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.micro_batch_size = task.batch_size
        self.examples = {name: TokenExamples(task, i) for i, name in enumerate(self.streams)}

    @property
    def streams(self) -> list[str]:
        """Names of the streams."""
        return self.task.streams

    @property
    def steps_per_epoch(self) -> int:
        """More than are taken."""
        return STEPS_PER_EPOCH

    @property
    def longest_sequence(self) -> int:
        """Tokens of every example."""
        return self.task.length

    def stream_fingerprint(self, stream: str) -> str:
        """Which examples these are."""
        return stream

    def training_examples(self, stream: str, num_steps: int | None) -> list[Example]:
        """All of them."""
        return [self.examples[stream][i] for i in range(self.micro_batch_size)]

    def train_dataloader(self) -> CombinedLoader:
        """A loader per stream."""
        loaders = {name: DataLoader(_Repeated(batch)) for name, batch in self.examples.items()}
        for loader in loaders.values():
            loader.collate_fn = lambda examples: collate(examples[0], torch.device("cpu"))
        return CombinedLoader(loaders, mode="min_size")


class _Repeated(Dataset[list[Example]]):
    def __init__(self, examples: TokenExamples) -> None:
        self.batch = [examples[i] for i in range(len(examples))]

    def __len__(self) -> int:
        return STEPS_PER_EPOCH

    def __getitem__(self, index: int) -> list[Example]:
        return self.batch


def token_log_probs(logits: Tensor, batch: TokenBatch) -> Tensor:
    """Log-probabilities of the labels ``[M]``, as a training loop in plain PyTorch computes them."""
    return -F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), reduction="none")


def unlearning_cross_entropy(logits: Tensor, batch: TokenBatch) -> Tensor:
    """``-log(1 - p/2)``, mean over the tokens."""
    return -torch.log1p(-token_log_probs(logits, batch).exp() / 2).mean()


def negative_log_likelihood(logits: Tensor, batch: TokenBatch) -> Tensor:
    """``-log p``, mean over the tokens."""
    return -token_log_probs(logits, batch).mean()


def divergence(logits: Tensor, ref_logps: Tensor) -> Tensor:
    """``KL(reference || model)``, mean over the tokens; ``ref_logps [B, T, V]``."""
    logps = torch.log_softmax(logits[:, :-1].flatten(0, 1).float(), dim=-1)
    return F.kl_div(logps, ref_logps[:, :-1].flatten(0, 1), log_target=True, reduction="batchmean")
