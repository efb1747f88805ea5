"""Sampled continuation of prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from unlearn_pl.models.language.generation import cut
from unlearn_pl.models.markers import ending_tokens
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.types import PromptBatch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
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
) -> list[str]:
    """Continue each prompt with tokens sampled from the model, until the text ends.

    Args:
        model: a causal language model of transformers; switched to evaluation mode during the call.
        batch: ``[B, T]`` left-padded prompts.
        tokenizer: decodes the continuations; its end-of-sequence token ends them, as do the end of its chat template's
            turns and the ends of the model.
        max_new_tokens: length of the longest continuation, in tokens.
        sampling: sampling parameters; draws use PyTorch's global random state.
        stop: texts that end a continuation and are cut off, white space included.

    Returns:
        B continuations without special tokens or surrounding white space.
    """
    from transformers import GenerationConfig

    causal_lm = cast("GenerativePreTrainedModel", model)
    ends = ending_tokens(causal_lm.generation_config, tokenizer)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=True,
        temperature=sampling.temperature,
        top_k=0,
        top_p=sampling.top_p,
        repetition_penalty=1.0,
        num_beams=1,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
    )
    with evaluation_mode(model):
        tokens = causal_lm.generate(
            input_ids=batch["prompt_ids"], attention_mask=batch["prompt_mask"], generation_config=config
        )
    continuations = tokens[:, batch["prompt_ids"].shape[1] :]
    return [cut(text, stop).strip() for text in tokenizer.batch_decode(continuations, skip_special_tokens=True)]
