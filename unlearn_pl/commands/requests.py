"""``unlearn-pl requests``: deletion requests, one after another, each on the model of the previous one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.callbacks import AuditTrail, SavePretrained
from unlearn_pl.commands.trainer import UnlearnCLI, checkpoint_folder
from unlearn_pl.data import SequentialRequests
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.recording import class_path


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl requests ARGS``, where ARGS are those of ``fit``."""
    RequestsCLI(args)


class RequestsCLI(UnlearnCLI):
    """Fits and tests every request of :class:`~unlearn_pl.data.SequentialRequests` that the audit trail lacks.

    Everything about a request is in ``<default_root_dir>/<id>``, its model in ``hf`` there. The first request starts
    from the model of the configuration, every other one from the model of the previous request, and the random numbers
    of each depend only on the seed. So an interrupted run that is started again resumes with the first open request,
    and ends like a run that was not interrupted.

    Args:
        args: the arguments, as for ``unlearn-pl fit``.
    """

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(["fit", *args])

    def fit(self, **kwargs: Any) -> None:
        """Carry out the open requests.

        Raises:
            ValueError: if another process carries out requests in the same folder, or the configuration cannot be
                carried out request by request.
        """
        with locked_folder(self.trainer.default_root_dir, "requests"):
            self._carry_out()

    def _carry_out(self) -> None:
        trail, data = self._parts()
        root = Path(self.trainer.default_root_dir)
        settings: Namespace = self.config[self.subcommand]
        method = settings.model
        is_open, forgotten = trail.open_requests(data), trail.forgotten()
        model = trail.last_model()
        if not is_open:
            rank_zero_info(f"All {len(data.requests)} requests are done according to {trail.path}.")
        for request in is_open:
            folder = root / request
            settings.data.init_args.request = request
            settings.trainer.default_root_dir = str(folder)
            settings.checkpoint.dirpath = checkpoint_folder(folder)
            if request not in forgotten:
                settings.model = method if model is None else on_model(method, model)
                self._instantiate()
                self.trainer.fit(self.model, datamodule=self.datamodule)
                model = str(folder / "hf")
            settings.model = evaluated(method, str(model))
            self._instantiate()
            self.test(model=self.model, datamodule=self.datamodule, verbose=True)

    def _instantiate(self) -> None:
        self._set_seed()
        self.instantiate_classes()
        self.after_instantiate_classes()

    def _parts(self) -> tuple[AuditTrail, SequentialRequests]:
        """The audit trail and the requests.

        Raises:
            ValueError: if the configuration lacks one, or cannot be carried out request by request.
        """
        trails = [callback for callback in self._callbacks if isinstance(callback, AuditTrail)]
        exports = [callback for callback in self._callbacks if isinstance(callback, SavePretrained)]
        if not isinstance(self.datamodule, SequentialRequests):
            name = type(self.datamodule).__name__
            raise ValueError(f"data is a {name}; `unlearn-pl requests` needs SequentialRequests.")
        if len(trails) != 1 or len(exports) != 1:
            raise ValueError(
                f"trainer.callbacks has {len(trails)} AuditTrail and {len(exports)} SavePretrained; "
                "`unlearn-pl requests` needs one of each."
            )
        if exports[0].directory is not None or not exports[0].merge_lora:
            raise ValueError(
                f"SavePretrained has directory={exports[0].directory!r} and merge_lora={exports[0].merge_lora}; "
                "`unlearn-pl requests` writes a whole model per request, into folders of its own. Drop both arguments."
            )
        if self._ckpt_path is not None:
            raise ValueError(
                f"--ckpt_path {self._ckpt_path}: `unlearn-pl requests` resumes by itself with the first open request, "
                "from the model of the previous one. Drop the argument."
            )
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise ValueError("fast_dev_run leaves no model for the next request; try one with `unlearn-pl fit`.")
        return trails[0], self.datamodule


def on_model(method: Namespace, model: str) -> Namespace:
    """The configuration of a module that unlearns on another model.

    Args:
        method: class and arguments of the module.
        model: name or folder.
    """
    changed = method.clone()
    given = changed.init_args.model
    if isinstance(given, Namespace) and "name" in given.get("init_args", {}):
        given.init_args.name = model  # a CausalLM: keep its dtype, adapters and other arguments
    else:
        changed.init_args.model = model
    return changed


def evaluated(method: Namespace, model: str) -> Namespace:
    """The configuration of a module that evaluates ``model`` as ``method`` would.

    Args:
        method: class and arguments of the module that is trained.
        model: name or folder.
    """
    tokens = method.init_args.get("max_new_tokens")
    arguments = Namespace(model=model, **({} if tokens is None else {"max_new_tokens": tokens}))
    return Namespace(class_path=class_path(PretrainedModule), init_args=arguments)
