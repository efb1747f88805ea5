"""Audit trail of unlearning requests: what was unlearned, when, and the metrics afterwards."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from torch import nn

from unlearn_pl.callbacks.evaluation import EvaluationCallback
from unlearn_pl.callbacks.save_pretrained import SavePretrained
from unlearn_pl.data import SequentialRequests
from unlearn_pl.models import CausalLM
from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.recording import class_path
from unlearn_pl.results import append_to_trail, config_hash, read_trail, software_versions, utc_now, weights_fingerprint

FORGOTTEN, EVALUATED = "forgotten", "evaluated"


class AuditTrail(pl.Callback):
    """Records every request of :class:`~unlearn_pl.data.SequentialRequests`, and enforces their order.

    A line of JSON at the end of ``fit`` (``forgotten``): the request; when it was made, begun and finished; the number
    of its rows and their SHA-256 (never the rows); method, hash of the configuration, fingerprints of the weights
    before and after, and the folder of :class:`~unlearn_pl.callbacks.SavePretrained`. Another line at the end of
    ``test`` (``evaluated``): the metrics of all evaluations, and the fingerprint of the evaluated weights. Every line
    holds the hash of the line before, see :func:`~unlearn_pl.results.append_to_trail`.

    A request is done when it has both lines. ``fit`` raises ValueError for a request that was forgotten already, if
    earlier requests are not done, and on another model than the one that resulted from the last request. So each
    request is one ``fit`` and one ``test``, and after an interruption the first open request is next::

        trail = AuditTrail("runs/requests/trail.jsonl")
        for request in trail.open_requests(data):
            folder = f"runs/requests/{request}"
            callbacks = [SavePretrained(folder), trail, RequestEvaluation(output=f"{folder}.json")]
            trainer = pl.Trainer(max_epochs=10, callbacks=callbacks)
            if request not in trail.forgotten():
                trainer.fit(MOLLM(trail.last_model() or "runs/target/hf"), data.at(request))
            trainer.test(PretrainedModule(folder), data.at(request))

    ``unlearn-pl requests -c RECIPE.yaml`` runs this loop. Under ``fast_dev_run`` nothing is written.

    Args:
        path: the file; created if it does not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._begun: dict[str, str] = {}
        self._evaluated_weights = ""

    def forgotten(self) -> dict[str, dict[str, Any]]:
        """Request to its entry, for forgotten requests, in the order in which they were forgotten."""
        return self._entries(FORGOTTEN)

    def evaluated(self) -> dict[str, dict[str, Any]]:
        """Request to its entry, for requests that were evaluated after they were forgotten: those that are done."""
        return self._entries(EVALUATED)

    def open_requests(self, data: SequentialRequests) -> list[str]:
        """The requests of ``data`` that are not done, in their order."""
        done = self.evaluated()
        return [request["id"] for request in data.requests if request["id"] not in done]

    def last_model(self) -> str | None:
        """The folder with the model after the last request; None if nothing was forgotten or exported yet."""
        entries = list(self.forgotten().values())
        return entries[-1]["model"] if entries else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the current request is next.

        Raises:
            ValueError: if it is not, the data module is not SequentialRequests, or the trail was tampered with.
        """
        data = _requests(trainer)
        if stage == "fit":
            self._begun = {}
            self._check_next(data)
        if stage == "test":
            self._check_forgotten(data)
            if not _evaluations(trainer):
                raise ValueError("AuditTrail has no evaluation to record; add a callback such as RequestEvaluation.")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that this is the model after the last request; a resumed run was checked at its beginning.

        Raises:
            ValueError: if it is another model, or one with adapters that nothing merges.
        """
        if has_adapter(_model(pl_module)) and not _merges(trainer):
            raise ValueError(
                "AuditTrail with LoRA needs the callback SavePretrained, which merges the adapters (merge_lora=True): "
                "the next request begins with the merged model."
            )
        if self._begun.get("request") == _requests(trainer).request:
            return  # restored from a checkpoint
        before = _fingerprint_before(pl_module)
        entries = list(self.forgotten().items())
        if entries and before != entries[-1][1]["weights_after"]:
            request, last = entries[-1]
            raise ValueError(
                f"The model is not the one after the request {request!r}: its weights have the fingerprint {before}, "
                f"but {self.path!r} records {last['weights_after']}. Continue from {last['model']!r}."
            )
        self._begun = {"request": _requests(trainer).request, "begun": utc_now(), "weights_before": before}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Record the request, after other callbacks have exported the model; all ranks take part."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = _requests(trainer)
        rows, rows_hash = data.requested_rows()
        config = {"model": dict(pl_module.hparams), "data": dict(data.hparams)}
        folder = _export(trainer)
        entry = {
            "event": FORGOTTEN,
            "request": data.request,
            "asked": data.current.get("asked"),
            "begun": self._begun["begun"],
            "finished": utc_now(),
            "rows": rows,
            "rows_sha256": rows_hash,
            "method": class_path(type(pl_module)),
            "config_hash": config_hash(config),
            "weights_before": self._begun["weights_before"],
            "weights_after": _fingerprint_after(pl_module, folder),
            "model": folder,
            "versions": software_versions(),
        }
        self._begun = {}
        self._append(trainer, entry)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that this is the model after the current request.

        Raises:
            ValueError: if it is another model.
        """
        request = _requests(trainer).request
        entry = self.forgotten()[request]
        self._evaluated_weights = _fingerprint_before(pl_module)
        if self._evaluated_weights != entry["weights_after"]:
            raise ValueError(
                f"This is not the model after the request {request!r}: its weights have the fingerprint "
                f"{self._evaluated_weights}, but {self.path!r} records {entry['weights_after']}. "
                f"Evaluate {entry['model']!r}."
            )

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the metrics of the evaluations; all ranks take part."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        metrics = {
            f"{evaluation.benchmark}/{name}": value
            for evaluation in _evaluations(trainer)
            if evaluation.results is not None
            for name, value in evaluation.results.metrics.items()
        }
        entry = {
            "event": EVALUATED,
            "request": _requests(trainer).request,
            "finished": utc_now(),
            "weights": self._evaluated_weights,
            "metrics": metrics,
        }
        self._append(trainer, entry)

    def state_dict(self) -> dict[str, Any]:
        """State for a run that is resumed in the middle of a request."""
        return dict(self._begun)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the request that was begun."""
        self._begun = dict(state_dict)

    def _entries(self, event: str) -> dict[str, dict[str, Any]]:
        return {entry["request"]: entry for entry in read_trail(self.path) if entry["event"] == event}

    def _append(self, trainer: pl.Trainer, entry: Mapping[str, object]) -> None:
        if trainer.is_global_zero:
            append_to_trail(self.path, entry)
        trainer.strategy.barrier()  # no rank reads the trail before the line is written

    def _check_forgotten(self, data: SequentialRequests) -> None:
        if data.request not in self.forgotten():
            raise ValueError(
                f"The request {data.request!r} was not forgotten yet, according to {self.path!r}. Fit it first."
            )

    def _check_next(self, data: SequentialRequests) -> None:
        forgotten, evaluated = self.forgotten(), self.evaluated()
        if data.request in forgotten:
            when = forgotten[data.request]["finished"]
            raise ValueError(f"The request {data.request!r} was forgotten on {when}, according to {self.path!r}.")
        if missing := [request for request in data.earlier if request not in evaluated]:
            raise ValueError(
                f"The request {data.request!r} comes after {missing}, which are not forgotten and evaluated according "
                f"to {self.path!r}. Fit and test them first, in their order."
            )


def _requests(trainer: pl.Trainer) -> SequentialRequests:
    data = attached_datamodule(trainer)
    if not isinstance(data, SequentialRequests):
        raise ValueError(f"AuditTrail needs the data module SequentialRequests; the Trainer has {type(data).__name__}.")
    return data


def _callbacks(trainer: pl.Trainer) -> list[pl.Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]


def _evaluations(trainer: pl.Trainer) -> list[EvaluationCallback]:
    return [callback for callback in _callbacks(trainer) if isinstance(callback, EvaluationCallback)]


def _exports(trainer: pl.Trainer) -> list[SavePretrained]:
    return [callback for callback in _callbacks(trainer) if isinstance(callback, SavePretrained)]


def _merges(trainer: pl.Trainer) -> bool:
    """Whether the model is exported with its adapters merged."""
    return any(export.merge_lora for export in _exports(trainer)[-1:])


def _export(trainer: pl.Trainer) -> str | None:
    """The folder to which the model is exported, the last one of several; None without export."""
    folders = [str(export.path(trainer)) for export in _exports(trainer)]
    return folders[-1] if folders else None


def _model(pl_module: pl.LightningModule) -> nn.Module:
    model = getattr(pl_module, "model", None)
    return model if isinstance(model, nn.Module) else pl_module


def _fingerprint_before(pl_module: pl.LightningModule) -> str:
    """Fingerprint of the weights without adapters, which do not change the model at the start."""
    return weights_fingerprint(_model(pl_module), ignore=["lora_"])


def _fingerprint_after(pl_module: pl.LightningModule, folder: str | None) -> str:
    """Fingerprint of the model with which the next request begins: with merged adapters, if it has any."""
    model = _model(pl_module)
    if not has_adapter(model):
        return weights_fingerprint(model)
    assert folder is not None, "on_fit_start has checked that SavePretrained is there"
    dtype = next(model.parameters()).dtype
    return weights_fingerprint(CausalLM(folder).build(dtype))
