"""The noise schedule of a diffusion model: how much noise there is at each timestep, and what is predicted."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from unlearn_pl.functional.diffusion import ddim_step, q_sample
from unlearn_pl.recording import Recorded

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
Prediction = Literal["epsilon", "v_prediction"]
Spacing = Literal["leading", "trailing", "linspace"]

REFUSED = {"rescale_betas_zero_snr": False, "thresholding": False, "trained_betas": None}
"""Settings of diffusers that are not implemented here, with the only value that is accepted."""
MAX_TIMESTEPS = 10**6
"""Every timestep takes a number in memory; published models have 1,000."""


class NoiseSchedule(Recorded):
    """Amounts of noise per timestep; arguments are named as in a ``scheduler_config.json`` of diffusers.

    Defaults are those of Stable Diffusion. All values equal those of diffusers' ``DDIMScheduler``.

    Args:
        num_train_timesteps: number of timesteps, T, up to ``MAX_TIMESTEPS``.
        beta_start: variance that the first timestep adds.
        beta_end: variance that the last timestep adds.
        beta_schedule: ``linear``, ``scaled_linear`` (linear in the square roots) or ``squaredcos_cap_v2``.
        prediction_type: whether the model predicts the noise (``epsilon``) or the velocity (``v_prediction``).
        timestep_spacing: how the timesteps of sampling are chosen.
        steps_offset: added to the timesteps of the spacing ``leading``.
        set_alpha_to_one: whether the last step of sampling goes to an image without noise, or to timestep 0.
        clip_sample: whether sampling limits x_0 to [-1, 1]; for models of pixels.

    Raises:
        ValueError: for values that are unknown or out of range.

    References:
        Ho et al., arXiv 2006.11239; Song et al., arXiv 2010.02502; Salimans and Ho, arXiv 2202.00512 (velocity).
    """

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: BetaSchedule = "scaled_linear",
        prediction_type: Prediction = "epsilon",
        timestep_spacing: Spacing = "leading",
        steps_offset: int = 1,
        set_alpha_to_one: bool = False,
        clip_sample: bool = False,
    ) -> None:
        if not 1 <= num_train_timesteps <= MAX_TIMESTEPS or steps_offset < 0:
            raise ValueError(
                f"num_train_timesteps={num_train_timesteps}, steps_offset={steps_offset}; accepted: 1 to "
                f"{MAX_TIMESTEPS}, and at least 0."
            )
        if not 0 < beta_start <= beta_end < 1:
            raise ValueError(f"beta_start={beta_start} and beta_end={beta_end}; accepted: 0 < start <= end < 1.")
        for name, value, accepted in (
            ("beta_schedule", beta_schedule, get_args(BetaSchedule)),
            ("prediction_type", prediction_type, get_args(Prediction)),
            ("timestep_spacing", timestep_spacing, get_args(Spacing)),
        ):
            if value not in accepted:
                raise ValueError(f"{name} is {value!r}; accepted: {', '.join(accepted)}.")
        self.num_train_timesteps = num_train_timesteps
        self.beta_start = beta_start
        self.beta_end = beta_end
        self.beta_schedule = beta_schedule
        self.prediction_type = prediction_type
        self.timestep_spacing = timestep_spacing
        self.steps_offset = steps_offset
        self.set_alpha_to_one = set_alpha_to_one
        self.clip_sample = clip_sample

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule in a ``scheduler_config.json``, of whatever sampler; what is absent is as in ``DDIMScheduler``.

        Only ``clip_sample`` is False where it is absent, as it must be for models of latents.

        Raises:
            ValueError: for settings that are not implemented, or of another type.
        """
        for name, accepted in REFUSED.items():
            if config.get(name, accepted) != accepted:
                raise ValueError(f"The scheduler has {name}={config[name]!r}; accepted: {accepted!r}.")
        if config.get("clip_sample") and config.get("clip_sample_range", 1.0) != 1.0:
            raise ValueError(f"The scheduler has clip_sample_range={config['clip_sample_range']!r}; accepted: 1.0.")
        defaults = {
            "num_train_timesteps": 1000,
            "beta_start": 0.0001,
            "beta_end": 0.02,
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
            "timestep_spacing": "leading",
            "steps_offset": 0,
            "set_alpha_to_one": True,
            "clip_sample": False,
        }
        settings = {name: config.get(name, default) for name, default in defaults.items()}
        for name, default in defaults.items():
            kinds = (int, float) if isinstance(default, float) else type(default)
            given = settings[name]
            if not isinstance(given, kinds) or isinstance(given, bool) != isinstance(default, bool):
                raise ValueError(
                    f"The scheduler has {name}={given!r}; accepted: values of type {type(default).__name__}."
                )
        return cls(**settings)

    def config(self) -> dict[str, Any]:
        """The arguments by name, as ``scheduler_config.json`` holds them."""
        names = (
            "num_train_timesteps beta_start beta_end beta_schedule prediction_type timestep_spacing steps_offset "
            "set_alpha_to_one clip_sample"
        )
        return {name: getattr(self, name) for name in names.split()}

    @cached_property
    def alpha_bars(self) -> Tensor:
        """``[T]`` fp64, on the CPU: the cumulated products of ``1 - beta``."""
        return torch.cumprod(1 - self._betas(), dim=0)

    def alpha_bar(self, timestep: Tensor, like: Tensor) -> Tensor:
        """Values at ``timestep [B]``, as ``[B, 1, 1, 1]`` of the dtype (fp32 or better) and the device of ``like``."""
        values = self.alpha_bars.to(like.device, torch.promote_types(like.dtype, torch.float32))
        return values[timestep].view(-1, 1, 1, 1)

    def add_noise(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """``x_t [B, C, H, W]`` of ``clean`` and ``noise``, at ``timestep [B]``; see :func:`q_sample`."""
        return q_sample(clean, noise, self.alpha_bar(timestep, clean)).to(clean.dtype)

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the model is to predict, ``[B, C, H, W]``: the noise, or ``sqrt(a) e - sqrt(1 - a) x_0``."""
        if self.prediction_type == "epsilon":
            return noise
        alpha_bar = self.alpha_bar(timestep, clean)
        return (alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean).to(clean.dtype)

    def timesteps(self, steps: int) -> list[int]:
        """The timesteps of sampling in ``steps`` steps, from the most noise to the least.

        Raises:
            ValueError: if there are fewer timesteps than steps, or the offset leads beyond the last timestep.
        """
        total = self.num_train_timesteps
        if not 1 <= steps <= total:
            raise ValueError(f"steps={steps}; accepted: 1 to {total}, the timesteps of the model.")
        if self.timestep_spacing == "leading":
            found = [i * (total // steps) + self.steps_offset for i in reversed(range(steps))]
        elif self.timestep_spacing == "trailing":
            found = (torch.arange(total, 0, -total / steps, dtype=torch.float64).round().long()[:steps] - 1).tolist()
        else:
            found = torch.linspace(0, total - 1, steps, dtype=torch.float64).round().long().flip(0).tolist()
        if found[0] >= total:
            raise ValueError(
                f"steps={steps} with steps_offset={self.steps_offset} begins at timestep {found[0]}; accepted: fewer "
                f"steps, so that it is at most {total - 1}."
            )
        return found

    def step(self, noisy: Tensor, prediction: Tensor, timestep: int, steps: int) -> Tensor:
        """One step of sampling in ``steps`` steps, from ``timestep`` to the next; see :func:`ddim_step`.

        Args:
            noisy: ``[B, C, H, W]``.
            prediction: ``[B, C, H, W]`` of the model.
            timestep: one of :meth:`timesteps`.
            steps: number of steps.

        Returns:
            ``[B, C, H, W]``.
        """
        before = timestep - self.num_train_timesteps // steps
        alpha_bar = self.alpha_bars[timestep].to(noisy.device)
        last = torch.ones_like(alpha_bar) if self.set_alpha_to_one else self.alpha_bars[0].to(noisy.device)
        alpha_bar_before = self.alpha_bars[before].to(noisy.device) if before >= 0 else last
        clip = 1.0 if self.clip_sample else None
        if self.prediction_type == "epsilon":
            return ddim_step(noisy, prediction, alpha_bar, alpha_bar_before, clip).to(noisy.dtype)
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        clean = signal * noisy - spread * prediction  # not by way of the noise: a division by signal would lose digits
        clean = clean if clip is None else clean.clamp(-clip, clip)
        return q_sample(clean, signal * prediction + spread * noisy, alpha_bar_before).to(noisy.dtype)

    def _betas(self) -> Tensor:
        """``[T]`` fp64."""
        total, start, end = self.num_train_timesteps, self.beta_start, self.beta_end
        if self.beta_schedule == "linear":
            return torch.linspace(start, end, total, dtype=torch.float64)
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(start**0.5, end**0.5, total, dtype=torch.float64).square()
        share = torch.arange(total + 1, dtype=torch.float64) / total
        kept = ((share + 0.008) / 1.008 * torch.pi / 2).cos().square()
        return (1 - kept[1:] / kept[:-1]).clamp(max=0.999)
