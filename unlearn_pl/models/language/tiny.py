"""Tiny language models and tokenizers for demonstrations and tests without downloads."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from unlearn_pl.models.precision import cast_parameters

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"


def tiny_llama(
    vocab_size: int,
    hidden_size: int = 64,
    num_layers: int = 2,
    num_heads: int = 4,
    max_position_embeddings: int = 256,
    tie: bool = True,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> "LlamaForCausalLM":
    """A Llama with random weights, in training mode; the global random state does not change.

    Args:
        vocab_size: number of tokens, ``len(tokenizer)`` of its tokenizer.
        hidden_size: width; the feed-forward layers are four times as wide.
        num_layers: number of decoder layers.
        num_heads: attention heads; divides ``hidden_size``.
        max_position_embeddings: length of the longest sequence, in tokens.
        tie: whether the output head shares the weights of the input embedding.
        seed: random seed of the weights.
        dtype: dtype of the weights; the draws are the same for every dtype.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=max_position_embeddings,
        tie_word_embeddings=tie,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    cast_parameters(model, dtype)
    return model.train()


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 1024, chat_template: str | None = None, pad_is_eos: bool = False
) -> "PreTrainedTokenizerFast":
    """A byte-level BPE tokenizer trained on ``texts``; it encodes any text and adds no special tokens.

    Args:
        texts: training texts.
        vocab_size: largest number of tokens, including the 256 bytes and the special tokens.
        chat_template: Jinja template, for chat tokenizers.
        pad_is_eos: whether padding uses the end-of-sequence token, as SmolLM2 and many others do.

    Returns:
        A tokenizer whose begin, end and padding tokens have the ids 0, 1 and 2.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS if pad_is_eos else PAD,
        chat_template=chat_template,
    )
