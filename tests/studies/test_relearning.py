"""How the study of relearning chooses settings and compares areas, on trials that were made up."""

import json
import math
import re
from dataclasses import asdict

import pytest
import torch

from experiments.studies.relearning.report import RETAIN, chosen, difference, draw, groups, halves, print_table
from experiments.studies.relearning.run import FORGET, METHODS, Setting
from experiments.studies.relearning.study import Runner, robust_arms
from unlearn_pl.gradients import SharpnessAware
from unlearn_pl.results import config_hash


def trial(setting, seed, forget=0.1, utility=0.8, attacked=False, **found):
    plain = None if setting is None else asdict(setting)
    seen = {"setting": plain, "seed": seed, "attacked": attacked, FORGET: forget, "utility": utility, "seconds": 6.0}
    return seen | found


def attack(setting, seed, area, half=math.inf, curve=(0.1, 0.3)):
    return trial(setting, seed, attacked=True, area=area, half=half, step=[0, 2], curve=list(curve))


SLOW, FAST, WILD = (Setting("NPO", rate, 0.5) for rate in (1e-3, 2e-3, 4e-3))


def test_the_most_useful_setting_that_forgets_enough_is_chosen_on_tuning_seeds_only():
    trials = [
        *(trial(None, seed, forget=0.1) for seed in (0, 1)),
        *(trial(SLOW, seed, forget=0.2, utility=0.99) for seed in (0, 1)),
        trial(FAST, 0, forget=0.14, utility=0.7),
        trial(FAST, 1, forget=0.05, utility=0.7),
        *(trial(WILD, seed, forget=0.01, utility=0.6) for seed in (0, 1)),
        trial(WILD, 2, forget=0.01, utility=1.0),
    ]
    assert chosen(trials, [0, 1], [SLOW, FAST, WILD]) == FAST
    assert chosen(trials, [0], [SLOW, FAST, WILD]) == WILD  # on the first seed alone, FAST does not forget enough
    assert chosen(trials, [0, 1], [SLOW]) == SLOW
    broken = [*trials[:2], *(trial(FAST, seed, forget=math.nan, utility=math.nan) for seed in (0, 1)), *trials[6:8]]
    assert chosen(broken, [0, 1], [FAST, WILD]) == WILD


def test_areas_are_compared_seed_by_seed():
    mine = [attack(FAST, 3, 0.5), attack(FAST, 2, 0.2)]
    others = [attack(None, 2, 0.1), attack(None, 3, 0.1), attack(None, 4, 9.0)]
    assert difference(mine, others) == "+0.25 [+0.10, +0.40]"


def test_steps_to_half_say_in_how_many_seeds_it_came_back():
    runs = [attack(FAST, 2, 0.2, half=10.0), attack(FAST, 3, 0.2, half=14.0), attack(FAST, 4, 0.2)]
    assert halves(runs[:2]) == "12"
    assert halves(runs) == "12 (2 of 3 seeds)"
    assert halves(runs[2:]) == "never"


def test_table_and_picture_hold_every_method_and_training(capsys, tmp_path):
    sharp, averaged = robust_arms(FAST, 2.0)
    trials = [
        attack(setting, seed, area + seed / 100)
        for setting, area in ((None, 0.2), (FAST, 0.6), (WILD, 0.5), (sharp, 0.3), (averaged, 0.4))
        for seed in (2, 3)
    ]
    found = groups(trials)
    arms = [RETAIN, *(("NPO", trained, "0.004") for trained in ("SAM, rho 0.1", "averaged", "plain"))]
    assert {arm: len(mine) for arm, mine in found.items() if arm[2] != "0.002"} == dict.fromkeys(arms, 2)
    print_table(trials)
    rows = [re.split(r" *\| *", line)[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [tuple(row[:3]) for row in rows] == [*arms, ("NPO", "plain", "0.002")]
    assert rows[1][9:11] == ["+0.10 [+0.10, +0.10]", "-0.20 [-0.20, -0.20]"]
    assert rows[4][9:11] == ["+0.40 [+0.40, +0.40]", "-"]
    draw(trials, tmp_path / "relearning.png")
    assert (tmp_path / "relearning.png").read_bytes().startswith(b"\x89PNG")


def test_only_what_was_asked_for_is_shown_and_nothing_runs_twice(tmp_path):
    path = tmp_path / "trials.jsonl"
    runner = Runner(tmp_path, attack_rate=1e-3, attack_steps=2)
    for setting, seed, attacked in (
        (None, 0, True),
        (FAST, 3, True),
        (FAST, 2, True),
        (SLOW, 2, True),
        (FAST, 2, False),
    ):
        what = {"setting": None if setting is None else asdict(setting), "seed": seed, "attacked": attacked}
        name = config_hash({**what, "attack": runner.attack if attacked else None})
        with path.open("a") as file:
            file.write(json.dumps({**what, "config_hash": name}) + "\n")
    runner = Runner(tmp_path, attack_rate=1e-3, attack_steps=2)
    runner.run([FAST], [3, 2], attacked=True)  # would need models that are not there
    assert [(t["setting"]["rate"], t["seed"]) for t in runner.of([None, FAST], [2, 3])] == [(2e-3, 2), (2e-3, 3)]


@pytest.mark.parametrize("name", list(METHODS))
def test_methods_take_their_weights_and_sharp_gradients(name, tiny_model):
    method = METHODS[name]
    for weight in method.forget_weights:
        options = {} if weight is None else {"forget_weight": weight}
        module = method.module(tiny_model(), gradient=SharpnessAware(0.1), **options)
        assert type(module).__name__ == name
        if weight is not None:
            weights = module.combiner(None, torch.ones(len(module.objectives)))
            assert weights.tolist() == [weight, 1.0]
