"""Specification of a tiny text-to-image model, for demos and tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.network import ConditionalUNet, WordEncoder
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.sampling import DDIM
from unlearn_pl.models.diffusion.spec import DiffusionSpec, check_share
from unlearn_pl.models.images.loading import load_weights


def short_schedule() -> NoiseSchedule:
    """50 timesteps and the velocity as the target, from which small models learn objects in half of the steps."""
    return NoiseSchedule(
        50,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        steps_offset=0,
        set_alpha_to_one=True,
        clip_sample=True,
    )


class TinyUNet(DiffusionSpec):
    """A model of small images (.15 M weights): pixels instead of latents, words instead of a language model.

    Args:
        words: the words that prompts may hold; ``MiniCanvasDataModule.WORDS`` are those of its prompts.
        weights: a ``.safetensors`` file, or a folder with ``model.safetensors``; None for random ones.
        image_size: height and width of the images, even.
        num_channels: channels of the images.
        width: channels of the network, a multiple of 8.
        seed: of the random weights.
        prompt_dropout: share of the prompts that are empty in training, so that samples can be guided.
        schedule: amounts of noise; 50 timesteps by default.
        sampler: of evaluations; 15 steps by default.

    Raises:
        ValueError: for sizes that the network cannot have.
    """

    def __init__(
        self,
        words: Sequence[str],
        weights: str | None = None,
        image_size: int = 8,
        num_channels: int = 3,
        width: int = 32,
        seed: int = 0,
        prompt_dropout: float = 0.0,
        schedule: NoiseSchedule | None = None,
        sampler: DDIM | None = None,
    ) -> None:
        check_share(prompt_dropout)
        if image_size < 2 or image_size % 2 or width < 8 or width % 8:
            raise ValueError(
                f"image_size={image_size} and width={width}; accepted: an even number, and a multiple of 8."
            )
        self.words = words
        self.weights = self.name = weights
        self.image_size = image_size
        self.num_channels = num_channels
        self.width = width
        self.seed = seed
        self.prompt_dropout = prompt_dropout
        self.schedule = schedule or short_schedule()
        self.sampler = sampler or DDIM(steps=15, guidance=1.5)

    def build(self, precision_dtype: torch.dtype | None = None) -> DiffusionModel:
        """A new model, in training mode.

        Raises:
            ValueError: if there is no such file, or the weights do not fit.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), _single_precision():
            torch.manual_seed(self.seed)
            unet = ConditionalUNet(self.num_channels, self.width, self.width, self.image_size)
            encoder = WordEncoder(self.words, self.width)
        model = DiffusionModel(unet, encoder, (self.num_channels, self.image_size, self.image_size))
        if self.weights is not None:
            load_weights(model, self.weights)
        return model.to(precision_dtype or torch.float32).train()


@contextmanager
def _single_precision() -> Iterator[None]:
    """The same random weights whatever the Trainer's precision."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)
