"""Module that samples its answers instead of decoding greedily."""

from collections.abc import Sequence

from torch import nn

from unlearn_pl.models import CausalLM, Sampling, sample
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.types import Generation, PromptBatch


class SamplingModule(PretrainedModule):
    """Evaluates a model whose answers are sampled from its distribution.

    Args:
        model: as in :class:`~unlearn_pl.modules.PretrainedModule`.
        sampling: sampling parameters; draws use PyTorch's global random state.
        max_new_tokens: maximum length of the answers, in tokens.
    """

    def __init__(self, model: CausalLM | str | nn.Module, sampling: Sampling, max_new_tokens: int = 200) -> None:
        super().__init__(model, max_new_tokens)
        self.sampling = sampling

    def generate(self, batch: PromptBatch, max_new_tokens: int | None = None, stop: Sequence[str] = ()) -> Generation:
        """A random continuation of each prompt of ``batch``.

        Args:
            batch: prompts.
            max_new_tokens: longest continuation; None for the module's own.
            stop: texts that end a continuation and are cut off.
        """
        assert self.model is not None
        longest = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        text = sample(self.model, batch, self.load_tokenizer(), longest, self.sampling, stop)
        return Generation(index=batch["index"], text=text)
