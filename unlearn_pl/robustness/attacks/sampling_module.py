"""Evaluation of a model whose answers are drawn at random instead of greedily."""

from collections.abc import Mapping
from typing import Any, cast

from unlearn_pl.models import EvaluationRequest, ModelLike, Sampling, sample
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.types import Batch, Generation, PromptBatch


class SamplingModule(PretrainedModule):
    """Evaluates a model whose answers are sampled from its distribution.

    Args:
        model: as in :class:`~unlearn_pl.modules.PretrainedModule`.
        sampling: sampling parameters; draws use PyTorch's global random state.
        max_new_tokens: maximum length of the answers, in tokens.
    """

    def __init__(self, model: ModelLike, sampling: Sampling, max_new_tokens: int = 200) -> None:
        super().__init__(model, max_new_tokens)
        self.sampling = sampling

    def evaluate(self, batch: Batch, request: EvaluationRequest) -> Mapping[str, Any] | None:
        """A random continuation of each prompt; scores of answers as they are.

        Args:
            batch: prompts or candidate answers.
            request: length of the continuations, and texts that end them.
        """
        if "prompt_ids" not in batch or request.reads == "nothing":
            return super().evaluate(batch, request)
        assert self.model is not None
        longest = self.max_new_tokens if request.max_new_tokens is None else request.max_new_tokens
        prompts = cast(PromptBatch, batch)
        text = sample(self.model, prompts, self.load_tokenizer(), longest, self.sampling, request.stop)
        return Generation(index=batch["index"], text=text)
