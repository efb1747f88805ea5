"""The part that every LightningModule here shares: it makes a language model, scores answers and generates them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypedDict, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn

from unlearn_pl.models import CausalLM, generate, load_tokenizer, shard, stream_forward
from unlearn_pl.modules.checks import check_context
from unlearn_pl.recording import Recorded, arguments_of, class_path, record, unrecordable
from unlearn_pl.types import PromptBatch, TokenBatch

_DTYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


class Score(TypedDict):
    """Teacher-forced scores of B answers: positions, candidate numbers, summed NLL and its number of tokens."""

    index: Tensor
    choice: Tensor
    nll: Tensor
    num_tokens: Tensor


class Generation(TypedDict):
    """Continuations of B prompts."""

    index: Tensor
    text: list[str]


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
        return self.spec.build(_DTYPES.get(str(self._trainer.precision)) if self._trainer is not None else None)

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

    def score(self, batch: TokenBatch) -> Score:
        """Log-likelihood of the labels of ``batch``: summed NLL and number of scored tokens, each ``[B]``."""
        assert self.model is not None
        view = stream_forward(self.model, batch, frozenset())
        return Score(
            index=batch["index"],
            choice=batch.get("choice", torch.zeros_like(batch["index"])),
            nll=-view.logps.sum(dim=-1),
            num_tokens=view.mask.sum(dim=-1),
        )

    def generate(self, batch: PromptBatch) -> Generation:
        """Greedy continuations of the prompts of ``batch``."""
        assert self.model is not None
        sharded = isinstance(self.trainer.strategy, ModelParallelStrategy)
        tokenizer = getattr(self.datamodule, "tokenizer", None) or load_tokenizer(self.model_name or "")
        text = generate(self.model, batch, tokenizer, self.max_new_tokens, synced_gpus=sharded)
        return Generation(index=batch["index"], text=text)

    def validation_step(
        self, batch: TokenBatch | PromptBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> Score | Generation:
        """Score answers, or continue prompts."""
        if "prompt_ids" in batch:
            return self.generate(cast(PromptBatch, batch))
        return self.score(batch)

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
        recorded = recorded.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {})
        missing = [name for name in unrecordable(recorded) if name.split(".")[0] not in kwargs]
        if missing:
            arguments = dict.fromkeys(f"{name.split('.')[0]}=..." for name in missing)
            raise ValueError(
                f"{checkpoint_path} was written by a {recorded.get('_class_path', cls.__name__)} whose {missing} "
                "were live objects, which a checkpoint does not keep. Pass them again: load_from_checkpoint(path, "
                f"{', '.join(arguments)})."
            )
        loaded = super().load_from_checkpoint(checkpoint_path, **kwargs)
        # The record that it was built from, for what jsonargparse made of it (partials of its own) is not recordable.
        replaced = {name: record(value) for name, value in kwargs.items() if name in arguments_of(loaded)}
        loaded.keep_record({**recorded, **replaced})
        return loaded
