"""The points of a sweep, the axes of its front, and the files for schedulers."""

import shlex

import pytest
import yaml

from unlearn_pl.commands.sweep.command import main, parsed_axes
from unlearn_pl.commands.sweep.points import parsed_grid, points_of


def test_every_combination_has_every_seed():
    points = points_of(parsed_grid(["model.beta=[0.1, 1]", "model.optimizer.init_args.lr=[1.0e-5, 2.0e-5]"]), 3)
    assert len({point.name for point in points}) == len(points) == 12
    assert [point.setting for point in points[:4]] == ["beta=0.1,lr=1e-05"] * 3 + ["beta=0.1,lr=2e-05"]
    assert points[4].arguments(["seed_everything", "data.seed"]) == [
        "--model.beta=0.1",
        "--model.optimizer.init_args.lr=2e-05",
        "--seed_everything=1",
        "--data.seed=1",
    ]


def test_without_a_grid_the_seeds_remain():
    assert [(point.name, point.setting) for point in points_of({}, 2)] == [("seed=0", "all"), ("seed=1", "all")]


def test_names_are_folders_and_stay_distinct():
    values = ["a/b", "a:b", "../../x", "x" * 400, {"class_path": "MinNorm"}]
    names = [point.name for point in points_of({"model.combiner": values}, 1)]
    assert len(set(names)) == 5
    assert all("/" not in name and len(name) < 160 for name in names)


def test_arguments_with_the_same_last_part_are_written_out():
    (point,) = points_of({"model.forget.weight": [1], "model.retain.weight": [2]}, 1)
    assert point.name == "model.forget.weight=1,model.retain.weight=2,seed=0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["model.beta"], r"NAME=\[VALUE, \.\.\.\]"),
        (["model.beta=0.1"], "accepted"),
        (["model.beta=[]"], "accepted"),
        (["model.beta=[1, 1]"], "a value is given twice"),
        (["a=[1]", "a=[2]"], "a is given twice"),
        (["=[1]"], "accepted"),
        (["a=[1"], "accepted"),
        (["seed_everything=[1]"], "set by the sweep"),
    ],
)
def test_a_wrong_grid_says_what_is_accepted(given, message):
    with pytest.raises(ValueError, match=message):
        parsed_grid(given)


def test_seeds_are_one_or_more():
    with pytest.raises(ValueError, match="--seeds 0; accepted: 1 or more"):
        points_of({}, 0)


@pytest.mark.parametrize("given", [["forget"], ["forget:down"], ["a:lower", "a:higher"], [":lower"]])
def test_wrong_axes_say_what_is_accepted(given):
    with pytest.raises(ValueError, match="METRIC:higher or METRIC:lower"):
        parsed_axes(given)


def test_metrics_may_have_colons():
    assert parsed_axes(["a:b:lower"]) == {"a:b": "lower"}


SWEEP = ["-c", "debug/mollm", "--grid", "model.optimizer.init_args.lr=[0.1, 0.2]", "--seeds", "2"]


def test_a_job_array_has_an_element_per_point(tmp_path, capsys):
    main([*SWEEP, "--output", str(tmp_path / "my sweep"), "--write", "slurm", "--trainer.max_epochs", "1"])
    script = (tmp_path / "my sweep" / "sweep.sbatch").read_text()
    assert "#SBATCH --array=0-3\n" in script
    words = shlex.split(script.splitlines()[-1])
    assert words[:4] == ["srun", "--ntasks=1", "unlearn-pl", "sweep"]
    assert words[-2:] == ["--point", "$SLURM_ARRAY_TASK_ID"]
    assert words[words.index("--output") + 1] == str(tmp_path / "my sweep")
    assert words[words.index("-c") + 1] == "debug/mollm"
    assert "sbatch" in capsys.readouterr().out


def test_agents_of_weights_and_biases_take_a_point_each(tmp_path):
    main([*SWEEP, "--output", str(tmp_path), "--write", "wandb"])
    content = yaml.safe_load((tmp_path / "wandb_sweep.yaml").read_text())
    assert content["parameters"] == {"point": {"values": [0, 1, 2, 3]}}
    assert content["command"][:2] == ["unlearn-pl", "sweep"]
    assert content["command"][-1] == "${args}"
    assert "--write" not in content["command"]


def test_a_point_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="--point 4; accepted: 0 to 3"):
        main([*SWEEP, "--output", str(tmp_path), "--point", "4"])
