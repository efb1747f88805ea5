"""Noising, sampling steps and ESD's target, against diffusers' DDIMScheduler."""

import pytest
import torch

from unlearn_pl.functional import ddim_step, denoising_error, esd_target, q_sample
from unlearn_pl.models import NoiseSchedule

CONFIGS = [
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    | {"set_alpha_to_one": False, "clip_sample": False},
    {
        "beta_schedule": "linear",
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "clip_sample": False,
    },
    {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50, "clip_sample": True},
    {"timestep_spacing": "linspace", "clip_sample": True, "num_train_timesteps": 100},
]


@pytest.fixture(params=CONFIGS, ids=str)
def both(request):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(**request.param)
    return NoiseSchedule.from_config(theirs.config), theirs


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 3, 4, 4, generator=generator) for _ in range(2)]


def test_noising_and_targets_are_those_of_diffusers(both):
    ours, theirs = both
    clean, noise = pair()
    t = torch.tensor([0, 1, 7, 20, 48, ours.num_train_timesteps - 1])
    torch.testing.assert_close(ours.add_noise(clean, noise, t), theirs.add_noise(clean, noise, t), rtol=0, atol=1e-5)
    wanted = theirs.get_velocity(clean, noise, t) if ours.prediction_type == "v_prediction" else noise
    torch.testing.assert_close(ours.target(clean, noise, t), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 7, 10, 50])
def test_every_step_of_sampling_is_that_of_diffusers(both, steps):
    ours, theirs = both
    theirs.set_timesteps(steps)
    assert ours.timesteps(steps) == theirs.timesteps.tolist()
    noisy, prediction = pair(1)
    for t in ours.timesteps(steps):
        wanted = theirs.step(prediction, t, noisy).prev_sample
        found = ours.step(noisy, prediction, t, steps)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        noisy = wanted


def test_a_step_with_the_true_noise_comes_back_to_less_of_it():
    clean, noise = pair()
    many, few = torch.tensor(0.3), torch.tensor(0.9)
    stepped = ddim_step(q_sample(clean, noise, many), noise, many, few)
    torch.testing.assert_close(stepped, q_sample(clean, noise, few), rtol=0, atol=1e-5)


def test_esd_starts_from_the_null_or_the_concept_prediction():
    concept, null = pair()
    assert torch.equal(esd_target(concept, null, 0.0), null)
    torch.testing.assert_close(esd_target(concept, null, 1.0), 2 * null - concept)
    torch.testing.assert_close(esd_target(concept, null, 2.0, "concept"), esd_target(concept, null, 1.0))


def test_the_error_is_a_mean_over_all_pixels_in_single_precision():
    prediction, target = pair()
    by_hand = sum((a - b) ** 2 for a, b in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True))
    assert denoising_error(prediction, target).item() == pytest.approx(by_hand / prediction.numel(), rel=1e-5)
    assert denoising_error(prediction.bfloat16(), target.bfloat16()).dtype == torch.float32
    assert denoising_error(prediction[:0], target[:0]).item() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start=0.5 and beta_end=0.1; accepted: 0 < start <= end < 1"),
        ({"num_train_timesteps": 0}, "num_train_timesteps=0"),
        ({"num_train_timesteps": 10**10}, "num_train_timesteps=10000000000.*1 to 1000000"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'; accepted: linear, scaled_linear"),
        ({"prediction_type": "sample"}, "prediction_type is 'sample'; accepted: epsilon, v_prediction"),
    ],
)
def test_impossible_schedules_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(**arguments)


@pytest.mark.parametrize(
    ("setting", "accepted"),
    [
        ({"num_train_timesteps": [1000]}, "type int"),
        ({"num_train_timesteps": True}, "type int"),
        ({"steps_offset": {}}, "type int"),
        ({"beta_start": "0.1"}, "type float"),
        ({"beta_schedule": 1}, "type str"),
        ({"clip_sample": 1}, "type bool"),
    ],
)
def test_settings_of_another_type_raise(setting, accepted):
    with pytest.raises(ValueError, match=f"The scheduler has {next(iter(setting))}=.*; accepted: values of {accepted}"):
        NoiseSchedule.from_config(setting)


def test_settings_that_are_not_implemented_raise():
    with pytest.raises(ValueError, match="rescale_betas_zero_snr=True; accepted: False"):
        NoiseSchedule.from_config({"rescale_betas_zero_snr": True})
    with pytest.raises(ValueError, match="clip_sample_range=2"):
        NoiseSchedule.from_config({"clip_sample": True, "clip_sample_range": 2.0})
    with pytest.raises(ValueError, match="steps=2000; accepted: 1 to 1000"):
        NoiseSchedule().timesteps(2000)
    with pytest.raises(ValueError, match="begins at timestep 1000"):
        NoiseSchedule().timesteps(1000)
