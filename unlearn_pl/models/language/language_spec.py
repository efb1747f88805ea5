"""What every causal language model has in common, wherever it comes from."""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.models.language.generation import generate
from unlearn_pl.models.language.scoring import score
from unlearn_pl.models.model_shape import ModelShape
from unlearn_pl.models.spec import EvaluationRequest, EvaluationSetting, ModelSpec
from unlearn_pl.types import (
    Batch,
    Generation,
    LanguageView,
    MeanOver,
    Needs,
    PromptBatch,
    TokenBatch,
    count_labels,
    label_mask,
    right_answers,
)


class LanguageSpec(ModelSpec):
    """A causal language model of transformers: views of labeled tokens, scores of answers, continuations of prompts."""

    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> LanguageView:
        """The log-probabilities of the labels, and what else is needed; see :func:`stream_forward`."""
        return stream_forward(model, cast(TokenBatch, batch), needs)

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """Number of labeled tokens, or of sequences with at least one; ``[]`` fp64."""
        return count_labels(label_mask(batch["labels"]), mean_over)

    def evaluate(
        self, model: nn.Module, batch: Batch, request: EvaluationRequest, setting: EvaluationSetting
    ) -> Mapping[str, Any] | None:
        """A :class:`~unlearn_pl.types.Score` of answers, or a :class:`~unlearn_pl.types.Generation` of prompts."""
        if request.reads == "nothing":
            return None
        if "prompt_ids" in batch:
            prompts = cast(PromptBatch, batch)
            return Generation(index=batch["index"], text=self.continuations(model, prompts, request, setting))
        tokens = cast(TokenBatch, batch)
        answers = right_answers(tokens) if request.reads == "answers" else tokens
        tokenizer = setting.tokenizer() if "text" in request.details else None
        return score(model, answers, request.details, tokenizer)

    def continuations(
        self, model: nn.Module, batch: PromptBatch, request: EvaluationRequest, setting: EvaluationSetting
    ) -> list[str]:
        """B greedy continuations."""
        longest = setting.max_new_tokens if request.max_new_tokens is None else request.max_new_tokens
        return generate(model, batch, setting.tokenizer(), longest, synced_gpus=setting.sharded, stop=request.stop)

    def check(self, model: nn.Module, needs: Mapping[str, Needs], longest: int) -> None:
        """Check that no example exceeds the context, and that layers exist whose hidden states are read.

        Raises:
            ValueError: naming both lengths, or the objective and the layers that there are.
        """
        config = getattr(model, "config", None)
        context = getattr(config, "max_position_embeddings", None)
        if context is not None and longest > context:
            raise ValueError(
                f"The longest sequence has {longest} tokens, but the model's context is {context}. "
                f"Set max_length to at most {context} on the data module to find the rows."
            )
        layers = getattr(config, "num_hidden_layers", None)
        for name, wanted in needs.items():
            read = [need.layer for need in wanted if need.field == "hidden" and need.layer is not None]
            if layers is not None and read and max(read) > layers:
                raise ValueError(
                    f"Objective {name!r} reads the hidden states of layer {max(read)}, but the model has {layers} "
                    f"layers. Accepted: 0 (the embedding) to {layers}."
                )

    def memory_shape(self, model: nn.Module) -> ModelShape | None:
        """The sizes of a decoder, where its configuration names them."""
        return ModelShape.of(model)
