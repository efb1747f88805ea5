"""What all text-to-image models have in common, wherever they come from."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from unlearn_pl.functional.example_random import ExampleRandom
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.sampling import DDIM
from unlearn_pl.models.spec import EvaluationRequest, EvaluationSetting, ModelSpec
from unlearn_pl.types import Batch, DenoisingView, MeanOver, Needs, PromptedBatch, View

PROVIDED = ("prediction", "target", "timestep", "null_prediction", "pseudo_prediction", "uniform_noise")


class DiffusionSpec(ModelSpec):
    """A text-to-image model; batches are :class:`~unlearn_pl.types.PromptedBatch`.

    Timestep, noise and whether a prompt is dropped are functions of ``batch["seeds"]``, which data modules derive from
    the seed, the stream, the step and the example: accumulation and ranks change nothing, and a reference model sees
    the same noisy images.

    Attributes:
        schedule: amounts of noise.
        sampler: makes the images of evaluations.
        prompt_dropout: share of the prompts that training replaces with the empty one.
    """

    view: ClassVar[type[View]] = DenoisingView
    compared = "prediction"
    schedule: NoiseSchedule
    sampler: DDIM
    prompt_dropout: float = 0.0

    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> DenoisingView:
        """The predictions for noisy images at random timesteps.

        Raises:
            ValueError: if the batch has no prompts, no seeds, or no pseudo prompts where an objective needs them.
        """
        given = cast(PromptedBatch, batch)
        network = cast(DiffusionModel, model)
        wanted = {need.field for need in needs if not need.reference}
        _check_batch(given, wanted)
        random = ExampleRandom(given["seeds"])
        timestep = random.integers(self.schedule.num_train_timesteps)
        clean = network.encode(given["image"], random)
        noise = random.normal(clean.shape[1:], clean.dtype)
        noisy = self.schedule.add_noise(clean, noise, timestep)
        prompts = self._some_dropped(given["prompt"], random)
        view = DenoisingView(
            index=given["index"],
            prediction=network(noisy, timestep, prompts),
            target=self.schedule.target(clean, noise, timestep),
            timestep=timestep,
        )
        with torch.no_grad():
            if "null_prediction" in wanted:
                view.null_prediction = network(noisy, timestep, [""] * len(noisy))
            if "pseudo_prediction" in wanted:
                view.pseudo_prediction = network(noisy, timestep, given["pseudo_prompt"])
        if "uniform_noise" in wanted:
            view.uniform_noise = random.uniform(clean.shape[1:], clean.dtype)
        return view

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """Number of images, ``[]`` fp64."""
        return batch["index"].new_tensor(len(batch["index"]), dtype=torch.float64)

    def evaluate(
        self, model: nn.Module, batch: Batch, request: EvaluationRequest, setting: EvaluationSetting
    ) -> Mapping[str, Any] | None:
        """``index [B]`` and ``image [B, C, H, W]`` in [0, 1]: those of the batch, or samples for its prompts."""
        if request.reads == "nothing":
            return None
        given = cast(PromptedBatch, batch)
        image = given["image"] if "image" in given else self.sample(model, given["prompt"], given["seeds"])
        return {"index": given["index"], "image": image}

    def sample(self, model: nn.Module, prompts: Sequence[str], seeds: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` in [0, 1] that the model makes of texts.

        Args:
            model: in evaluation mode.
            prompts: B texts.
            seeds: ``[B]`` int64, of the noise.
        """
        return self.sampler.sample(cast(DiffusionModel, model), self.schedule, prompts, seeds)

    def check(self, model: nn.Module, needs: Mapping[str, Needs], longest: int) -> None:
        """Check that the objectives read what a diffusion model has.

        Raises:
            ValueError: naming an objective that reads something else, such as the losses of language models.
        """
        for name, wanted in needs.items():
            fields = {need.field for need in wanted}
            if missing := sorted(fields - set(PROVIDED)):
                raise ValueError(
                    f"Objective {name!r} needs {missing}, which {type(self).__name__} does not provide; it provides "
                    f"{list(PROVIDED)}."
                )

    def _some_dropped(self, prompts: Sequence[str], random: ExampleRandom) -> Sequence[str]:
        if not self.prompt_dropout:
            return prompts
        dropped = (random.uniform(()) < self.prompt_dropout).tolist()
        return ["" if drop else prompt for prompt, drop in zip(prompts, dropped, strict=True)]


def check_share(prompt_dropout: float) -> None:
    """Check the share of dropped prompts.

    Raises:
        ValueError: naming it.
    """
    if not 0 <= prompt_dropout <= 1:
        raise ValueError(f"prompt_dropout={prompt_dropout}; accepted: 0 to 1.")


def _check_batch(batch: PromptedBatch, wanted: set[str]) -> None:
    read = {"image", "prompt", "index", "seeds"} | ({"pseudo_prompt"} if "pseudo_prediction" in wanted else set())
    if missing := sorted(read - batch.keys()):
        raise ValueError(
            f"A batch has no {missing}; it has {sorted(batch)}. Data modules such as MiniCanvasDataModule and "
            "ImagePromptDataModule have them; StreamDataModule adds the seeds."
        )
