"""The part that every LightningModule here shares: it makes a language model, scores answers and generates them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from transformers import PreTrainedTokenizerBase

from unlearn_pl.models import CausalLM, generate, shard, shared_context_log_probs, stream_forward
from unlearn_pl.models.precision import WEIGHTS_OF_PRECISION
from unlearn_pl.modules.checks import check_context
from unlearn_pl.modules.details import token_statistics, with_details
from unlearn_pl.modules.old_checkpoints import load_with_record
from unlearn_pl.recording import Recorded, arguments_of, class_path, record, unrecordable
from unlearn_pl.types import Detail, Generation, PromptBatch, Reads, Score, TokenBatch, right_answers
from unlearn_pl.upgrading import upgraded


@dataclass
class Wishes:
    """What callbacks want to know about one evaluation dataloader, beyond the usual.

    Attributes:
        details: about every scored token.
        max_new_tokens: length of generated answers; None for the module's own.
        stop: texts before which generated answers are cut off.
        reads: how much of it; None when nobody has said so, for all.
    """

    details: frozenset[Detail] = frozenset()
    max_new_tokens: int | None = None
    stop: Sequence[str] = ()
    reads: Reads | None = None


class LanguageModule(Recorded, pl.LightningModule):
    """Owns a causal language model; evaluates it, does not train it.

    Args:
        model: name or path of a Hugging Face model, a :class:`~unlearn_pl.models.CausalLM` that says more than a
            name, or a live model.
        max_new_tokens: length of generated answers in tests and predictions.
    """

    def __init__(self, model: CausalLM | str | nn.Module, max_new_tokens: int = 200) -> None:
        super().__init__()
        self.spec = CausalLM(model) if isinstance(model, str) else model if isinstance(model, CausalLM) else None
        self.model: nn.Module | None = model if isinstance(model, nn.Module) else None
        self.max_new_tokens = max_new_tokens
        self._wishes: dict[int, Wishes] = defaultdict(Wishes)
        if self.spec is not None and self.spec.lora is not None:
            self.strict_loading = False  # checkpoints hold the adapters only
        self.keep_record({"_class_path": class_path(type(self)), **record(arguments_of(self))})

    @property
    def model_name(self) -> str | None:
        """Name or path that the model, and its tokenizer, are loaded from; None for a live model."""
        return self.spec.name if self.spec is not None else None

    @property
    def datamodule(self) -> Any:
        """The Trainer's data module; None when plain data loaders were given."""
        return getattr(self.trainer, "datamodule", None)

    def configure_model(self) -> None:
        """Make the model and, on a device mesh, shard it, when that was not done; check that the data fits it."""
        if self.model is None:
            self.model = self._built()
        if self._trainer is not None:
            check_context(self.model, getattr(self.datamodule, "longest_sequence", 0))
        self._shard(self.model)

    def _built(self) -> nn.Module:
        """A new model with the original weights, in the type that the Trainer's precision asks for."""
        assert self.spec is not None
        return self.spec.build(
            WEIGHTS_OF_PRECISION.get(str(self._trainer.precision)) if self._trainer is not None else None
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch; with LoRA, ``state_dict`` holds the adapters, all of them, and may leave out the rest."""
        if self.spec is None or self.spec.lora is None:
            return super().load_state_dict(state_dict, strict, assign)
        under = {name: value for name, value in self.state_dict().items() if "lora_" not in name}
        return super().load_state_dict({**under, **state_dict}, True, assign)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As in PyTorch, except that buffers keep their type, whatever that of the parameters becomes.

        Under ``bf16-true`` Lightning converts the whole module, which would round the frequencies of rotary embeddings
        to 3 digits; ``from_pretrained`` keeps them in fp32.
        """
        exact = [(m, name, b) for m in self.modules() for name, b in m.named_buffers(recurse=False)]
        super().to(*args, **kwargs)
        for module, name, buffer in exact:
            module._buffers[name] = buffer.to(module._buffers[name].device)  # type: ignore[union-attr]
        return self

    def _shard(self, model: nn.Module) -> nn.Module:
        mesh = self.device_mesh
        return model if mesh is None else shard(model, mesh["data_parallel"])

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the data module, or else that of the model.

        Raises:
            ValueError: if the data module has none, and the model was given live.
        """
        return getattr(self.datamodule, "tokenizer", None) or self._own_tokenizer

    @cached_property
    def _own_tokenizer(self) -> PreTrainedTokenizerBase:
        # Kept, for every batch of an evaluation asks for it.
        if self.spec is None:
            raise ValueError(
                "A live model comes without its tokenizer. Give the data module a tokenizer, or make the module from "
                "the model's name, or a CausalLM."
            )
        return self.spec.tokenizer()

    def score(self, batch: TokenBatch, details: frozenset[Detail] = frozenset()) -> Score:
        """Log-likelihood of the labels of ``batch``: summed NLL and number of scored tokens, each ``[B]``.

        Args:
            batch: a batch of candidate answers.
            details: what else to say about every scored token of candidate 0, from the same forward.
        """
        assert self.model is not None
        choice = batch.get("choice", torch.zeros_like(batch["index"]))
        if not details and (logps := shared_context_log_probs(self.model, batch)) is not None:
            return Score(index=batch["index"], choice=choice, nll=-logps, num_tokens=torch.ones_like(choice))
        statistics = token_statistics(details)
        view = stream_forward(self.model, batch, frozenset(), statistics=statistics, statistics_of=choice == 0)
        score = Score(
            index=batch["index"],
            choice=choice,
            nll=-view.logps.sum(dim=-1),
            num_tokens=view.mask.sum(dim=-1),
        )
        return with_details(score, view, details, self.load_tokenizer() if "text" in details else None)

    def generate(self, batch: PromptBatch, max_new_tokens: int | None = None, stop: Sequence[str] = ()) -> Generation:
        """Greedy continuations of the prompts of ``batch``.

        Args:
            batch: prompts.
            max_new_tokens: longest continuation; None for the module's own.
            stop: texts before which a continuation is cut off.
        """
        assert self.model is not None
        sharded = isinstance(self.trainer.strategy, ModelParallelStrategy)
        longest = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        text = generate(self.model, batch, self.load_tokenizer(), longest, synced_gpus=sharded, stop=stop)
        return Generation(index=batch["index"], text=text)

    def wish(
        self,
        dataloader_idx: int,
        details: frozenset[Detail] = frozenset(),
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        reads: Reads = "candidates",
    ) -> None:
        """Ask for more about a dataloader, until the next evaluation starts; callbacks do, when it has started.

        What nobody reads is not computed, once somebody has said what he reads.

        Args:
            dataloader_idx: which dataloader.
            details: about every scored token, in addition to what others have asked for.
            max_new_tokens: length of generated answers.
            stop: texts before which generated answers are cut off.
            reads: how much of it is read.

        Raises:
            ValueError: if somebody else has asked for other generations.
        """
        before = self._wishes[dataloader_idx]
        mine, theirs = (max_new_tokens, tuple(stop)), (before.max_new_tokens, tuple(before.stop))
        if theirs != (None, ()) and mine not in ((None, ()), theirs):
            raise ValueError(
                f"Two callbacks want different generations from dataloader {dataloader_idx}: max_new_tokens and stop "
                f"{theirs} and {mine}. Evaluate them in separate runs."
            )
        longest, ends = theirs if mine == (None, ()) else mine
        most = max(reads, before.reads or reads, key=get_args(Reads).index)
        self._wishes[dataloader_idx] = Wishes(before.details | details, longest, ends, most)

    def on_validation_start(self) -> None:
        """Forget what the callbacks of an earlier evaluation wished for."""
        self._wishes.clear()

    on_test_start = on_predict_start = on_validation_start

    def validation_step(
        self, batch: TokenBatch | PromptBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> Score | Generation | None:
        """Score answers, or continue prompts; None when every callback has said that it reads nothing of it."""
        wishes = self._wishes[dataloader_idx]
        if wishes.reads == "nothing":
            return None
        if "prompt_ids" in batch:
            return self.generate(cast(PromptBatch, batch), wishes.max_new_tokens, wishes.stop)
        answers = right_answers(batch) if wishes.reads == "answers" else batch
        return self.score(answers, wishes.details)

    test_step = predict_step = validation_step

    def keep_record(self, hyperparameters: dict[str, Any]) -> None:
        """Set what checkpoints keep of this module's construction, as LightningCLI would write it.

        Args:
            hyperparameters: ``_class_path`` and the recorded arguments.
        """
        hyperparameters = {**hyperparameters, "_instantiator": "lightning.pytorch.cli.instantiate_module"}
        self.hparams.clear()
        self.save_hyperparameters(hyperparameters, logger=True)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Build the module that a checkpoint was written by, components included, and load its weights.

        Args:
            checkpoint_path: a ``.ckpt`` file.
            kwargs: arguments that replace recorded ones, or that could not be recorded; also those of Lightning
                (``map_location``, ``strict``, ...).

        Raises:
            ValueError: naming every argument that was a live object when the checkpoint was written and is not
                among ``kwargs``.
        """
        recorded = torch.load(checkpoint_path, map_location="cpu", weights_only=True, mmap=True)
        written = recorded.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {})
        recorded = upgraded(written)
        missing = [name for name in unrecordable(recorded) if name.split(".")[0] not in kwargs]
        if missing:
            arguments = dict.fromkeys(f"{name.split('.')[0]}=..." for name in missing)
            raise ValueError(
                f"{checkpoint_path} was written by a {recorded.get('_class_path', cls.__name__)} whose {missing} "
                "were live objects, which a checkpoint does not keep. Pass them again: load_from_checkpoint(path, "
                f"{', '.join(arguments)})."
            )
        if recorded == written:
            loaded = super().load_from_checkpoint(checkpoint_path, **kwargs)
        else:
            loaded = load_with_record(cls, checkpoint_path, recorded, **kwargs)
        # The record that it was built from, for what jsonargparse made of it (partials of its own) is not recordable.
        replaced = {name: record(value) for name, value in kwargs.items() if name in arguments_of(loaded)}
        loaded.keep_record({**recorded, **replaced})
        return loaded
