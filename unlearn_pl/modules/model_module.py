"""Base LightningModule: builds, shards, evaluates, records and loads a model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast, get_args

import lightning.pytorch as pl
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from transformers import PreTrainedTokenizerBase

from unlearn_pl.models import EvaluationRequest, EvaluationSetting, ModelLike, shard, spec_of
from unlearn_pl.models.precision import WEIGHTS_OF_PRECISION
from unlearn_pl.modules.checkpoints.guarding import announce_own_io, check_whole, guard_checkpoints
from unlearn_pl.modules.lightning_internals import (
    attached_datamodule,
    attached_trainer,
    buffers_keep_their_type,
    end_on_all_ranks_together,
    is_compiled,
    load_checked,
    transfer_and_see,
    written_record,
)
from unlearn_pl.modules.old_checkpoints import load_with_record
from unlearn_pl.modules.safety.recorded_classes import check_record
from unlearn_pl.modules.transfer import keep_batch_on_host
from unlearn_pl.recorded_paths import check_local, check_no_hparams_file
from unlearn_pl.recording import Recorded, arguments_of, check_given_again, class_path, record
from unlearn_pl.results.checkpoint_file import read_checkpoint
from unlearn_pl.types import Batch, Detail, InitialModel, Needs, Reads, Score, StreamProvider, StreamReader, TokenBatch
from unlearn_pl.upgrading import upgraded


class ModelModule(Recorded, StreamReader, pl.LightningModule):
    """Owns a model of any kind and evaluates it; subclasses train it.

    Everything that depends on the kind of model is in its :class:`~unlearn_pl.models.ModelSpec`.

    Args:
        model: name or path of a Hugging Face model, a specification (:class:`~unlearn_pl.models.CausalLM`, or that of
            another kind of model), or a live language model.
        max_new_tokens: length of generated answers in tests and predictions.
    """

    def __init__(self, model: ModelLike, max_new_tokens: int = 200) -> None:
        super().__init__()
        self.spec = spec_of(model)
        self.model: nn.Module | None = model if isinstance(model, nn.Module) else None
        self.max_new_tokens = max_new_tokens
        self._requests: dict[int, EvaluationRequest] = defaultdict(EvaluationRequest)
        if self.spec.saved_parts:
            self.strict_loading = False  # checkpoints hold these parts only
        self.keep_record({"_class_path": class_path(type(self)), **record(arguments_of(self))})

    @property
    def model_name(self) -> str | None:
        """Name or path that the model, and its tokenizer, are loaded from; None for a live model."""
        return self.spec.name

    @property
    def datamodule(self) -> pl.LightningDataModule | None:
        """The Trainer's data module; None if plain data loaders were given."""
        return attached_datamodule(self.trainer)

    @property
    def stream_data(self) -> StreamProvider | None:
        """The data module, if it is a :class:`~unlearn_pl.types.StreamProvider`."""
        data = self.datamodule
        return data if isinstance(data, StreamProvider) else None

    @property
    def trainer(self) -> pl.Trainer:
        """The Trainer that runs the module; Lightning sets it before it looks for a checkpoint."""
        return super().trainer

    @trainer.setter
    def trainer(self, trainer: pl.Trainer | None) -> None:
        pl.LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]
        if isinstance(trainer, pl.Trainer):
            guard_checkpoints(trainer)
            end_on_all_ranks_together(trainer)

    _apply_batch_transfer_handler = transfer_and_see

    def after_transfer(self, given: object, moved: object) -> None:
        """Keep on the host what it knows of a batch, so that a step need not ask the device."""
        keep_batch_on_host(self, given, moved)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Let the Trainer load checkpoints from files only, and check them; this is Lightning's first hook.

        Raises:
            ValueError: if the Trainer was given ``torch.compile(module)``.
        """
        if is_compiled(self):
            raise ValueError(
                "torch.compile(module) cannot compile a module that changes the graph with the objectives. Compile the "
                "decoder layers: CausalLM(name, compile=True)."
            )
        load_checked(self.trainer.strategy, self.check_file)
        announce_own_io(self.trainer)
        return []

    def check_file(self, checkpoint_path: object) -> None:
        """Check a checkpoint before the Trainer reads it.

        Args:
            checkpoint_path: a file or a folder.

        Raises:
            ValueError: for an address, and for a checkpoint that is torn, changed or could run code.
        """
        check_local(checkpoint_path)
        check_whole(self.trainer, checkpoint_path)

    def configure_model(self) -> None:
        """Build the model and, on a device mesh, shard it, unless that was done; check that the data fits it."""
        if self.model is None:
            self.model = self._built()
        if (trainer := attached_trainer(self)) is not None:
            guard_checkpoints(trainer)  # callbacks that a subclass configures are there now
            data = self.stream_data
            self.spec.check(self.model, self.objective_needs(), 0 if data is None else data.longest_sequence)
            tokenizer = None if data is None else data.text_tokenizer()
            if tokenizer is not None:
                self.spec.check_tokenizer(self.model, tokenizer)
            if self.objective_needs():
                self.spec.freeze_unreached(self.model)
        self._shard(self.model)

    def objective_needs(self) -> Mapping[str, Needs]:
        """Objective name to the fields that it needs of its views; empty for a module without objectives."""
        return {}

    def _built(self) -> nn.Module:
        """A new model with the weights before unlearning, in the dtype that the Trainer's precision implies."""
        trainer = attached_trainer(self)
        return self.spec.build(None if trainer is None else WEIGHTS_OF_PRECISION.get(str(trainer.precision)))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """See ``nn.Module``; if checkpoints keep parts of the weights, ``state_dict`` must hold all of these parts.

        After a ``fit`` in processes that Lightning has started from this one (``ddp_spawn``, ``ddp_notebook``), it
        gives the weights back to the module here, whose model was built only there.
        """
        if self.model is None and any(name.startswith("model.") for name in state_dict):
            self.model = self._built()
        if not self.spec.saved_parts:
            return super().load_state_dict(state_dict, strict, assign)
        under = {name: value for name, value in self.state_dict().items() if not self._in_saved_parts(name)}
        return super().load_state_dict({**under, **state_dict}, True, assign)

    def _in_saved_parts(self, name: str) -> bool:
        return any(part in name for part in self.spec.saved_parts)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Like ``nn.Module.to``, but buffers keep their dtype when the parameters are cast.

        Under ``bf16-true`` Lightning casts the whole module, which would round the frequencies of rotary embeddings
        to 3 digits; ``from_pretrained`` keeps them in fp32.
        """
        with buffers_keep_their_type(self):
            return super().to(*args, **kwargs)

    def _shard(self, model: nn.Module) -> nn.Module:
        mesh = self.device_mesh
        return model if mesh is None else shard(model, mesh["data_parallel"])

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the data module, or else that of the model.

        Raises:
            ValueError: if the data module has none and the model is a live one.
        """
        data = self.stream_data
        return (None if data is None else data.text_tokenizer()) or self._own_tokenizer

    @cached_property
    def _own_tokenizer(self) -> PreTrainedTokenizerBase:
        # Cached, because every batch of an evaluation needs it.
        tokenizer = self.spec.tokenizer()
        if tokenizer is None:
            raise ValueError(
                "A live model comes without its tokenizer. Give the data module a tokenizer, or construct the module "
                "from the model's name or a CausalLM."
            )
        return tokenizer

    def model_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer that comes with the model; None for a live one."""
        return self.spec.tokenizer()

    def initial_model(self) -> InitialModel:
        """The model with the weights before unlearning; a live one as it is now."""
        return InitialModel(self._built, self.spec.forward, self.trainer.strategy.root_device)

    def evaluate(self, batch: Batch, request: EvaluationRequest) -> Mapping[str, Any] | None:
        """The outputs of one evaluation batch: scores of answers or generated texts, for language models.

        Args:
            batch: of one evaluation dataloader.
            request: the outputs that are read.

        Returns:
            None if nothing is read.
        """
        assert self.model is not None
        trainer = attached_trainer(self)
        sharded = trainer is not None and isinstance(trainer.strategy, ModelParallelStrategy)
        setting = EvaluationSetting(self.load_tokenizer, self.max_new_tokens, sharded)
        return self.spec.evaluate(self.model, batch, request, setting)

    def score(self, batch: TokenBatch, details: frozenset[Detail] = frozenset()) -> Score:
        """Log-likelihood of the labels of ``batch``: summed NLL and number of scored tokens, each ``[B]``.

        Args:
            batch: candidate answers.
            details: extra outputs per scored token of candidate 0, from the same forward.
        """
        return cast(Score, self.evaluate(cast(Batch, batch), EvaluationRequest(details)))

    def wish(
        self,
        dataloader_idx: int,
        details: frozenset[Detail] = frozenset(),
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        reads: Reads = "candidates",
    ) -> None:
        """Request extra outputs for one dataloader; cleared when the next evaluation starts.

        Callbacks call it when an evaluation has started. As soon as one callback declares what it reads, anything that
        no callback reads is skipped.

        Args:
            dataloader_idx: number of the dataloader.
            details: extra outputs per scored token, in addition to those that other callbacks request.
            max_new_tokens: length of generated answers.
            stop: texts before which generated answers are cut off.
            reads: which outputs are read.

        Raises:
            ValueError: if another callback has requested different generations.
        """
        before = self._requests[dataloader_idx]
        mine, theirs = (max_new_tokens, tuple(stop)), (before.max_new_tokens, tuple(before.stop))
        if theirs != (None, ()) and mine not in ((None, ()), theirs):
            raise ValueError(
                f"Two callbacks want different generations from dataloader {dataloader_idx}: max_new_tokens and stop "
                f"{theirs} and {mine}. Evaluate them in separate runs."
            )
        longest, ends = theirs if mine == (None, ()) else mine
        most = max(reads, before.reads or reads, key=get_args(Reads).index)
        self._requests[dataloader_idx] = EvaluationRequest(before.details | details, longest, ends, most)

    def on_validation_start(self) -> None:
        """Clear the requests of an earlier evaluation."""
        self._requests.clear()

    on_test_start = on_predict_start = on_validation_start

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Any] | None:
        """The outputs that callbacks read of one batch; None if they read nothing."""
        return self.evaluate(batch, self._requests[dataloader_idx])

    test_step = predict_step = validation_step

    def keep_record(self, hyperparameters: dict[str, Any]) -> None:
        """Set the record of this module's construction that checkpoints keep, in the form that LightningCLI writes.

        Args:
            hyperparameters: ``_class_path`` and the recorded arguments.
        """
        hyperparameters = {**hyperparameters, "_instantiator": "lightning.pytorch.cli.instantiate_module"}
        self.hparams.clear()
        self.save_hyperparameters(hyperparameters, logger=True)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, *, allow: Sequence[str] = (), **kwargs: Any
    ) -> Self:
        """Build the module that a checkpoint was written by, components included, and load its weights.

        A checkpoint is untrusted input: before anything is built, every class that it names must fit its argument, and
        be in this library, PyTorch, transformers or a module that is imported already.

        Args:
            checkpoint_path: a ``.ckpt`` file.
            allow: further packages whose modules may be imported and whose classes may be built.
            kwargs: arguments that replace recorded ones, or that could not be recorded; also those of Lightning
                (``map_location``, ``strict``, ...).

        Raises:
            ValueError: naming every argument that was a live object when the checkpoint was written and is not
                among ``kwargs``; naming a class that does not fit its argument or is not imported; for an address,
                and for Lightning's ``hparams_file``.
        """
        check_local(checkpoint_path)
        check_no_hparams_file(kwargs)
        written = written_record(read_checkpoint(checkpoint_path, mmap=True))
        recorded = upgraded(written)
        check_given_again(checkpoint_path, recorded.get("_class_path", cls.__name__), recorded, kwargs)
        check_record({name: value for name, value in recorded.items() if name not in kwargs}, allow)
        if recorded == written:
            loaded = super().load_from_checkpoint(checkpoint_path, **kwargs)
        else:
            loaded = load_with_record(cls, checkpoint_path, recorded, **kwargs)
        # Keep the record that it was built from: what jsonargparse made of it (its own partials) cannot be recorded.
        replaced = record({name: value for name, value in kwargs.items() if name in arguments_of(loaded)})
        loaded.keep_record({**recorded, **replaced})
        return loaded
