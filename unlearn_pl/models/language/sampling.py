"""Sampled continuation of prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from unlearn_pl.models.language.generation import cut
from unlearn_pl.models.markers import ending_tokens
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.types import PromptBatch

if TYPE_CHECKING:
    from transformers import LogitsProcessorList, PreTrainedTokenizerBase
    from transformers.generation.utils import GenerativePreTrainedModel


@dataclass(frozen=True)
class Sampling:
    """Parameters of next-token sampling.

    Attributes:
        temperature: divides the logits.
        top_p: sample from the most likely tokens with this total probability; 1 for all tokens.

    Raises:
        ValueError: if a number is out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature}; accepted is a positive number.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}; accepted is a number in (0, 1].")


@torch.no_grad()
def sample(
    model: nn.Module,
    batch: PromptBatch,
    tokenizer: "PreTrainedTokenizerBase",
    max_new_tokens: int,
    sampling: Sampling,
    stop: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    synced_gpus: bool = False,
) -> list[str]:
    """Continue each prompt with tokens sampled from the model, until the text ends.

    Args:
        model: a causal language model of transformers; switched to evaluation mode during the call.
        batch: ``[B, T]`` left-padded prompts.
        tokenizer: decodes the continuations; its end-of-sequence token ends them, as do the end of its chat template's
            turns and the ends of the model.
        max_new_tokens: length of the longest continuation, in tokens.
        sampling: sampling parameters.
        stop: texts that end a continuation and are cut off, white space included.
        seeds: B seeds: a continuation then depends on its prompt and its seed, not on the rest of the batch or the
            rank. None for draws from PyTorch's global random state.
        synced_gpus: continue until every rank has finished; needed under FSDP2, where each token is a collective.

    Returns:
        B continuations without special tokens or surrounding white space.
    """
    from transformers import GenerationConfig

    causal_lm = cast("GenerativePreTrainedModel", model)
    ends = ending_tokens(causal_lm.generation_config, tokenizer)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=seeds is None,
        temperature=sampling.temperature if seeds is None else 1.0,
        top_k=0 if seeds is None else 50,  # transformers warns of other values if it does not sample itself
        top_p=sampling.top_p if seeds is None else 1.0,
        repetition_penalty=1.0,
        num_beams=1,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
    )
    with evaluation_mode(model):
        tokens = causal_lm.generate(
            input_ids=batch["prompt_ids"],
            attention_mask=batch["prompt_mask"],
            generation_config=config,
            synced_gpus=synced_gpus,
            logits_processor=None if seeds is None else _seeded(batch, max_new_tokens, sampling, seeds),
        )
    continuations = tokens[:, batch["prompt_ids"].shape[1] :]
    return [cut(text, stop).strip() for text in tokenizer.batch_decode(continuations, skip_special_tokens=True)]


def _seeded(batch: PromptBatch, max_new_tokens: int, sampling: Sampling, seeds: Sequence[int]) -> "LogitsProcessorList":
    """What leaves, of all tokens, the one that each row draws at each step."""
    from transformers import LogitsProcessorList

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    drawn = [torch.rand(max_new_tokens, generator=generator, dtype=torch.float64) for generator in generators]
    uniforms, begin = torch.stack(drawn).to(batch["prompt_ids"].device), batch["prompt_ids"].shape[1]

    def leave_drawn(input_ids: Tensor, scores: Tensor) -> Tensor:
        # The inverse of the distribution function needs one number a step, and not one per token of the vocabulary.
        token = inverse_draw(scores, uniforms[:, input_ids.shape[1] - begin], sampling)
        return torch.full_like(scores, -math.inf).scatter(-1, token.unsqueeze(-1), 0.0)

    processors = LogitsProcessorList()
    processors.append(leave_drawn)
    return processors


def inverse_draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> Tensor:
    """The first token at which the cumulative probability exceeds a uniform number: a draw from the distribution.

    Args:
        logits: ``[B, V]``.
        uniforms: ``[B]`` fp64 in [0, 1).
        sampling: temperature, and share of the probability to draw from.

    Returns:
        ``[B]`` int64.
    """
    probabilities = (logits.double() / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered  # of the more likely tokens
        probabilities = probabilities.masked_fill(
            torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, before >= sampling.top_p), 0.0
        )
    cumulative = probabilities.cumsum(dim=-1)
    target = uniforms.unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1).squeeze(-1)
