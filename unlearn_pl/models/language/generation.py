"""Greedy continuation of prompts.

A batch takes as many steps as its longest text. To save steps, the accepted part of a draft is not decoded again, and
texts that have ended leave the batch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unlearn_pl.models.language.drafts import accepted_drafts, unpadded, until_end
from unlearn_pl.models.markers import ending_tokens
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.types import PromptBatch

if TYPE_CHECKING:
    from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase
    from transformers.generation.utils import GenerativePreTrainedModel

STRIDE = 16
"""Steps between removals of ended texts from the batch."""


@torch.no_grad()
def generate(
    model: nn.Module,
    batch: PromptBatch,
    tokenizer: "PreTrainedTokenizerBase",
    max_new_tokens: int,
    synced_gpus: bool = False,
    stop: Sequence[str] = (),
) -> list[str]:
    """Continue each prompt with the most probable token until the text ends.

    Args:
        model: a causal language model of transformers, also with adapters or sharded by FSDP2; switched to
            evaluation mode during the call.
        batch: ``[B, T]`` left-padded prompts; drafts of their continuations save steps where they are correct, and
            never change the result.
        tokenizer: decodes the continuations; its end-of-sequence token ends them, as do the end of its chat template's
            turns and the ends of the model.
        max_new_tokens: length of the longest continuation, in tokens.
        synced_gpus: continue until every rank has finished; needed under FSDP2, where each token is a collective.
        stop: texts that end a continuation and are cut off, white space included.

    Returns:
        B continuations without special tokens or surrounding white space.
    """
    causal_lm = cast("GenerativePreTrainedModel", model)
    config = _greedy(causal_lm.generation_config, tokenizer, max_new_tokens)
    ends = frozenset(cast(list[int], config.eos_token_id))

    def is_over(tokens: list[int]) -> bool:
        if len(tokens) >= max_new_tokens or not ends.isdisjoint(tokens):
            return True
        return bool(stop) and any(end in tokenizer.decode(tokens, skip_special_tokens=True) for end in stop)

    with evaluation_mode(model):
        begun = accepted_drafts(model, batch, ends, max_new_tokens)
        tokens = _decode(causal_lm, batch, begun, config, is_over, synced_gpus)
    written = [until_end(row[:max_new_tokens], ends) for row in tokens]
    return [cut(text, stop).strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


def cut(text: str, stop: Sequence[str]) -> str:
    """``text`` up to the first occurrence of one of the texts ``stop``."""
    return text[: min([len(text), *(place for end in stop if (place := text.find(end)) >= 0)])]


def _decode(
    model: "GenerativePreTrainedModel",
    batch: PromptBatch,
    begun: Sequence[list[int]],
    config: "GenerationConfig",
    is_over: Callable[[list[int]], bool],
    synced_gpus: bool,
) -> list[list[int]]:
    """The texts ``begun``, each continued until it ``is_over`` and possibly by a few more tokens."""
    texts, longest = list(begun), cast(int, config.max_new_tokens)
    rows = [row for row, text in enumerate(texts) if not is_over(text)]
    if synced_gpus and not rows:
        rows = [0]  # every rank makes the call; tokens after the end of a text are cut off
    if not rows:
        return texts
    prompts, device = unpadded(batch["prompt_ids"], batch["prompt_mask"]), batch["prompt_ids"].device
    sequences = [torch.tensor(prompts[row] + texts[row], device=device) for row in rows]
    ones = [torch.ones_like(sequence) for sequence in sequences]
    pad = float(cast(int, config.pad_token_id))
    ids = pad_sequence(sequences, batch_first=True, padding_value=pad, padding_side="left")
    mask = pad_sequence(ones, batch_first=True, padding_side="left")
    carried: dict[str, DynamicCache] = {}
    while rows:
        left = max(1, longest - min(len(texts[row]) for row in rows))
        config.max_new_tokens = left if synced_gpus else min(left, STRIDE)
        answer = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, synced_gpus=synced_gpus, **carried
        )
        for row, new in zip(rows, answer.sequences[:, ids.shape[1] :].tolist(), strict=True):
            texts[row] = texts[row] + new
        going = [place for place, row in enumerate(rows) if not is_over(texts[row])]
        rows, kept = [rows[place] for place in going], torch.tensor(going, dtype=torch.long, device=device)
        mask = F.pad(mask, (0, answer.sequences.shape[1] - ids.shape[1]), value=1)[kept]
        ids, carried = answer.sequences[kept], _selected(answer, kept)
    return texts


def _selected(answer: object, rows: Tensor) -> "dict[str, DynamicCache]":
    """The cache of these ``rows [n]``, as an argument; none, which starts afresh, if it has more than keys and values.

    Its name is the one that ``answer`` has it under: transformers 5.24 has renamed ``past_key_values`` to ``cache``.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    name = "cache" if hasattr(answer, "cache") else "past_key_values"
    cache = getattr(answer, name)
    if not isinstance(cache, DynamicCache) or not len(rows):
        return {}
    if not all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return {}
    cache.batch_select_indices(rows)
    return {name: cache}


def _greedy(own: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase", max_new_tokens: int) -> "GenerationConfig":
    from transformers import GenerationConfig

    ends = ending_tokens(own, tokenizer)
    # Options that are not set here would come from the model's own configuration, which is for sampling.
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        return_dict_in_generate=True,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
    )
