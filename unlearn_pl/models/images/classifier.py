"""Specification of an image classifier."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unlearn_pl.functional import greedy_matches, log_prob_moments
from unlearn_pl.models.class_view import class_view
from unlearn_pl.models.images.loading import PREPROCESSING, load_pretrained, load_weights, normalization_of
from unlearn_pl.models.spec import EvaluationRequest, EvaluationSetting, ModelSpec
from unlearn_pl.recording import arguments_of
from unlearn_pl.types import Batch, LanguageView, MeanOver, Needs

Network = Callable[[], nn.Module] | str
"""What makes a network, or the folder of an image classifier of transformers."""

PROVIDED = ("logps", "logits")


class ImageClassifier(ModelSpec):
    """A network that gives every image a logit per class; batches are :class:`~unlearn_pl.types.ImageBatch`.

    The class of an image is the only token of its view, so that the objectives of language models run on it: UCE, NPO,
    SimNPO, KL, gradient difference, MOLLM, with goals as well. The probability of an answer is that of the class.

    Example::

        ImageClassifier(lambda: ConvNet(3, 10), weights="runs/target/model.safetensors")
        ImageClassifier("models/vit-tiny-cifar10")  # a folder of transformers

    In YAML, ``network`` is a class with its arguments::

        network: {class_path: unlearn_pl.models.ConvNet, init_args: {num_channels: 3, num_classes: 10}}

    Args:
        network: makes a network that maps ``[B, C, H, W]`` to logits ``[B, classes]`` (or to an output of transformers
            with ``logits``): a class, a partial, or a function; the network itself is copied. Or the folder of an image
            classifier of transformers, whose weights are in safetensors.
        weights: a ``.safetensors`` file, or a folder with ``model.safetensors``, for the network; None for what
            ``network`` makes.
        seed: of the random weights that ``network`` makes.
        mean: per channel, subtracted from the images; by default that in the folder of ``weights`` or ``network``, or
            none.
        std: per channel, by which images are divided; by default like ``mean``.
        freeze_statistics: keep the running statistics of batch normalization as they are, and normalize with them.
            Otherwise a step depends on how its examples are divided into micro-batches.

    Raises:
        ValueError: if only one of mean and standard deviation is given, they differ in length, or a standard deviation
            is not positive.
    """

    compared = "logits"

    def __init__(
        self,
        network: Network,
        weights: str | None = None,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        freeze_statistics: bool = False,
    ) -> None:
        if isinstance(network, nn.Module):
            raise ValueError(
                f"network is a {type(network).__name__}; accepted: what makes one, such as its class, a partial, or "
                "lambda: network (which is copied)."
            )
        _check_normalization(mean, std)
        self.network = network
        self.weights = weights
        self.seed = seed
        given = (mean, std) if mean is not None and std is not None else None
        folders = [folder for folder in (weights, network) if isinstance(folder, str)]
        self.normalization = given or next(filter(None, map(normalization_of, folders)), None)
        self.freeze_statistics = freeze_statistics
        self.name = weights or (network if isinstance(network, str) else None)

    def build(self, precision_dtype: torch.dtype | None = None) -> nn.Module:
        """A new network, in training mode.

        Args:
            precision_dtype: dtype of the weights; None for float32.

        Raises:
            ValueError: if there is no such folder or file, the weights do not fit, or what was made is no network.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            made = load_pretrained(self.network) if isinstance(self.network, str) else self.network()
        if not isinstance(made, nn.Module):
            raise ValueError(f"network has made a {type(made).__name__}; accepted: a torch.nn.Module.")
        network = copy.deepcopy(made)  # the function may return the same network again, which training would change
        if self.weights is not None:
            load_weights(network, self.weights)
        return network.to(precision_dtype or torch.float32).train()

    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> LanguageView:
        """The log-probabilities of the classes and the logits, ``[B, 1]`` and ``[B, 1, C]``.

        Raises:
            ValueError: naming labels that are no class of the model.
        """
        return class_view(self._logits(model, batch), batch["label"], batch["index"])

    def exported(self, folder: str) -> Self:
        """See :meth:`ModelSpec.exported`; of a model of transformers, the folder also says what the network is."""
        if not isinstance(self.network, str):
            return super().exported(folder)
        return type(self)(**(arguments_of(self) | {"network": folder, "weights": None}))

    def export_files(self) -> Mapping[str, str]:
        """How images are normalized, as transformers writes it."""
        if self.normalization is None:
            return {}
        mean, std = map(list, self.normalization)
        settings = {"do_normalize": True, "image_mean": mean, "image_std": std}
        return {PREPROCESSING: json.dumps(settings, indent=2) + "\n"}

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """Number of images, ``[]`` fp64."""
        return batch["label"].new_tensor(len(batch["label"]), dtype=torch.float64)

    def evaluate(
        self, model: nn.Module, batch: Batch, request: EvaluationRequest, setting: EvaluationSetting
    ) -> Mapping[str, Any] | None:
        """A :class:`~unlearn_pl.types.Score` of the classes, with ``label [B]`` and ``class_logps [B, C]`` in fp64.

        Raises:
            ValueError: if the labels are requested as texts.
        """
        if request.reads == "nothing":
            return None
        if "text" in request.details:
            raise ValueError("The classes of images are no texts; metrics that compare texts do not apply to them.")
        view = class_view(self._logits(model, batch).double(), batch["label"], batch["index"])
        assert view.logits is not None
        scores: dict[str, Any] = {
            "index": view.index,
            "choice": torch.zeros_like(view.index),
            "nll": -view.logps[:, 0],
            "num_tokens": torch.ones_like(view.index),
            "label": view.labels[:, 0],
            "class_logps": view.logits[:, 0].log_softmax(dim=-1),
        }
        if request.details:
            scores |= {"logps": view.logps, "mask": view.mask}
        if "greedy" in request.details:
            scores["greedy"] = greedy_matches(view.logits, view.labels).double()
        if "moments" in request.details:
            scores["mean"], scores["variance"] = log_prob_moments(view.logits, view.mask)
        return scores

    def check(self, model: nn.Module, needs: Mapping[str, Needs], longest: int) -> None:
        """Check that the objectives read what a classifier has; warn of statistics that depend on micro-batches.

        Raises:
            ValueError: naming an objective that needs hidden states.
        """
        for name, wanted in needs.items():
            if missing := sorted({need.field for need in wanted} - set(PROVIDED)):
                raise ValueError(
                    f"Objective {name!r} needs {missing}, which ImageClassifier does not provide; it provides "
                    f"{list(PROVIDED)}."
                )
        if needs and not self.freeze_statistics and any(isinstance(m, _BatchNorm) for m in model.modules()):
            rank_zero_warn(
                "The network has batch normalization, whose statistics depend on the stream, the size of micro-batches "
                "and the device. ImageClassifier(..., freeze_statistics=True) keeps those of the trained model."
            )

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """``[B, C]``."""
        if self.freeze_statistics:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        output = model(self._normalized(batch["image"], _dtype_of(model)))
        logits = output if isinstance(output, Tensor) else output.logits
        labels = batch["label"]
        if logits.ndim != 2:
            raise ValueError(f"The network's output has the shape {list(logits.shape)}; accepted: [images, classes].")
        if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < logits.shape[1]):
            raise ValueError(
                f"Labels reach from {int(labels.min())} to {int(labels.max())}, but the model has {logits.shape[1]} "
                f"classes; accepted: 0 to {logits.shape[1] - 1}."
            )
        return logits

    def _normalized(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        if self.normalization is None:
            return image.to(dtype)
        mean, std = (image.new_tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in self.normalization)
        if mean.shape[1] not in (1, image.shape[1]):
            raise ValueError(f"Images have {image.shape[1]} channels, but mean and std have {mean.shape[1]} values.")
        return ((image - mean) / std).to(dtype)


def _dtype_of(model: nn.Module) -> torch.dtype:
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.float32)


def _check_normalization(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    if (mean is None) != (std is None):
        raise ValueError(f"mean={mean} and std={std}; accepted: both or neither.")
    if mean is not None and std is not None:
        if len(mean) != len(std):
            raise ValueError(f"mean has {len(mean)} values and std has {len(std)}; accepted: as many.")
        if not all(value > 0 for value in std):
            raise ValueError(f"std={std} must be positive.")
