"""Classifiers that look at made images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.models import ImageClassifier


class Judge:
    """An image classifier in evaluation mode, built when it is first used, on the device of the images.

    Args:
        classifier: with the weights of a trained classifier.
        size: height and width that images are resized to; None to leave them.
    """

    def __init__(self, classifier: ImageClassifier, size: Sequence[int] | None = None) -> None:
        self.classifier = classifier
        self.size = size
        self._network: nn.Module | None = None

    @torch.no_grad()
    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Classes ``[B]``, -1 for images that are not finite; features ``[B, D]``, what the last linear layer reads.

        Args:
            image: ``[B, C, H, W]`` in [0, 1].

        Raises:
            ValueError: if the network has no linear layer.
        """
        network = self._built(image.device)
        if self.size is not None and tuple(image.shape[2:]) != tuple(self.size):
            image = nn.functional.interpolate(image, tuple(self.size), mode="bilinear", antialias=True)
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError(f"{type(network).__name__} has no linear layer, whose input would be the features.")
        seen: list[Tensor] = []
        hook = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            zeros = torch.zeros(len(image), dtype=torch.int64, device=image.device)
            view = self.classifier.forward(network, {"image": image, "label": zeros, "index": zeros}, frozenset())
        finally:
            hook.remove()
        assert view.logits is not None
        found = view.logits[:, 0].argmax(dim=1)
        finite = image.flatten(1).isfinite().all(dim=1)
        return torch.where(finite, found, -1), seen[-1].flatten(1).float()

    def _built(self, device: torch.device) -> nn.Module:
        if self._network is None:
            self._network = self.classifier.build().eval().requires_grad_(False)
        return self._network.to(device)
