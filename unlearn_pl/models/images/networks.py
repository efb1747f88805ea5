"""Small networks for small images, which a line of YAML can name."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """A perceptron with ReLU on the pixels.

    Args:
        num_pixels: channels times height times width.
        num_classes: number of classes.
        hidden_sizes: widths of the hidden layers.

    Example:
        >>> import torch
        >>> MLP(14 * 14, 10)(torch.zeros(2, 1, 14, 14)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_pixels: int, num_classes: int, hidden_sizes: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        widths = [num_pixels, *hidden_sizes]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of ``image [B, C, H, W]``."""
        return self.layers(image.flatten(1))


class ConvNet(nn.Module):
    """Convolutions with ReLU, each halving height and width, and a linear layer on the means over positions.

    It has no normalization layers, whose statistics would depend on the size of micro-batches.

    Args:
        num_channels: channels of the images.
        num_classes: number of classes.
        widths: channels after each convolution.

    Example:
        >>> import torch
        >>> ConvNet(3, 10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_channels: int, num_classes: int, widths: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        channels = [num_channels, *widths]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of ``image [B, C, H, W]``."""
        return self.head(torch.mean(self.features(image), dim=(2, 3)))
