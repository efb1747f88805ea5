"""What every causal language model has in common, wherever it comes from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.models.language.generation import generate
from unlearn_pl.models.language.scoring import score
from unlearn_pl.models.model_shape import ModelShape
from unlearn_pl.models.spec import EvaluationRequest, EvaluationSetting, ModelSpec
from unlearn_pl.models.text_path import off_text_path
from unlearn_pl.types import (
    Batch,
    Generation,
    LanguageView,
    MeanOver,
    Needs,
    PromptBatch,
    TokenBatch,
    count_labels,
    right_answers,
    scored_mask,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class LanguageSpec(ModelSpec):
    """A causal language model of transformers: views of labeled tokens, scores of answers, continuations of prompts."""

    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> LanguageView:
        """The log-probabilities of the labels, and what else is needed; see :func:`stream_forward`."""
        return stream_forward(model, cast(TokenBatch, batch), needs)

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """Number of labeled tokens (the sum of their weights), or of sequences with at least one; ``[]`` fp64."""
        return count_labels(scored_mask(batch), mean_over)

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

        Warns of the last entry, which is not the output of the last layer but that of the final norm.

        Raises:
            ValueError: naming both lengths, or the objective and the layers that there are.
        """
        config = _text_config(model)
        context = getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", None))
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
            if layers and layers in read:
                rank_zero_warn(
                    f"Objective {name!r} reads layer {layers}, the last one, whose states come after the final norm: "
                    f"they all have about the same length. Layers 1 to {layers - 1} are the outputs of decoder layers."
                )

    def freeze_unreached(self, model: nn.Module) -> None:
        """Freeze the vision and audio towers of a multimodal model, which texts do not reach, and log their size.

        DDP would wait for their gradients, and weight decay would shrink them. Specifications with a forward of their
        own are left alone: theirs may reach everything.
        """
        if type(self).forward is not LanguageSpec.forward:
            return
        names = set(off_text_path(model))
        frozen = [p for name, p in model.named_parameters() if name in names and p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
        if frozen:
            rank_zero_info(
                f"{sum(p.numel() for p in frozen)} weights of {type(model).__name__} are frozen, because texts do not "
                f"reach them; {sorted(names)[0]} is one of them."
            )

    def check_tokenizer(self, model: nn.Module, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Check that every token that texts, their padding or the chat template can hold has an embedding.

        Other special tokens may lack one: the tokenizers of some text models list the image tokens of their family.

        Raises:
            ValueError: naming the tokens and both numbers.
        """
        known = _num_embeddings(model)
        if known is None or len(tokenizer) <= known:
            return
        beyond = {name: id for name, id in tokenizer.get_vocab().items() if id >= known}
        missing = sorted((name for name in beyond if _is_used(name, tokenizer)), key=beyond.__getitem__)
        if missing:
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise ValueError(
                f"The tokenizer has {len(tokenizer)} tokens, but the model has {known} embeddings; without one are "
                f"{', '.join(map(repr, missing[:8]))}{more}. Use the tokenizer of the model, or enlarge the model with "
                "resize_token_embeddings and save it."
            )

    def memory_shape(self, model: nn.Module) -> ModelShape | None:
        """The sizes of a decoder, where its configuration names them."""
        return ModelShape.of(model)


def _text_config(model: nn.Module) -> object:
    """The configuration of the language model, which multimodal configurations hold as a part."""
    config = getattr(model, "config", None)
    return config.get_text_config() if config is not None and hasattr(config, "get_text_config") else config


def _num_embeddings(model: nn.Module) -> int | None:
    """Rows of the input embedding; None if they are not known."""
    try:
        embedding = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return None
    return cast(int | None, getattr(embedding, "num_embeddings", None))


def _is_used(token: str, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether ``token`` may occur in encoded examples: in texts, around them, or from the chat template."""
    if token not in tokenizer.all_special_tokens and token not in _added_specials(tokenizer):
        return True
    around = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    return token in around or token in str(tokenizer.chat_template or "")


def _added_specials(tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    return {str(added.content) for added in tokenizer.added_tokens_decoder.values() if added.special}
