"""The recipes for text-to-image models lead from one to the next, from the command line."""

import runpy
from pathlib import Path

import pytest
import yaml

from unlearn_pl.cli import main
from unlearn_pl.results import read_results
from unlearn_pl.robustness import read_outcomes, read_report

ROOT = Path(__file__).parents[1] / "experiments"
RETAIN = [
    *("--model.stream=retain", "--data.forget=ForgetStyle", "--data.forget.style=crimson"),
    "--trainer.default_root_dir=runs/canvas/retain",
]

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")


def test_the_model_is_trained_and_forgets(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "mini_canvas.py"))["write_images"](Path("data/canvas"), images_per_pair=1)
    short = ["--trainer.max_steps=1", "--trainer.enable_progress_bar=false"]
    few = ["--data.images_per_pair=2", "--data.batch_size=4", "--data.micro_batch_size=4"]
    main(["fit", "-c", str(ROOT / "canvas" / "target.yaml"), *short, *few])
    classifier = ["fit", "-c", str(ROOT / "canvas" / "classifier.yaml"), *short]
    main(classifier)
    main(
        [
            *classifier,
            "--data.train=data/canvas/object.npz",
            "--model.model.init_args.network.init_args.num_classes=6",
            "--trainer.default_root_dir=runs/canvas/object",
        ]
    )
    mini = ["-c", str(ROOT / "canvas" / "mini.yaml"), *few, "--data.sample_seeds=[188]", "--data.real_per_pair=1"]
    main(["fit", *mini, *short])
    assert Path("runs/canvas/mini/hf/model.safetensors").exists()
    main(["test", *mini, "--ckpt_path=last"])
    results = read_results("runs/canvas/mini/results.json")
    assert 0 <= results.metrics["unlearning_accuracy"] <= 1
    assert results.config["data"]["init_args"]["forget"]["class_path"] == "unlearn_pl.data.ForgetStyle"
    assert Path("runs/canvas/mini/results.png").exists()
    main(["fit", "-c", str(ROOT / "canvas" / "target.yaml"), *short, *few, *RETAIN])
    recipe = yaml.safe_load((ROOT / "attacks" / "canvas.yaml").read_text())
    for attack in recipe["attacks"]:
        attack["init_args"]["steps"] = 2
    Path("attacks.yaml").write_text(yaml.safe_dump(recipe))
    attacked = ["-c", "attacks.yaml", "--data.sample_seeds=[188]", "--data.images_per_pair=2"]
    main(["attack", *attacked])
    outcomes = read_outcomes("runs/attacks/canvas/attacks.json")
    assert [outcome.role for outcome in outcomes] == ["audited", "retain", "original", *["audited", "retain"] * 2]
    assert "TextualInversion (20 images, 2 vectors)" in capsys.readouterr().out
    main(["audit", *attacked])  # evaluates, and repeats no attack
    assert read_outcomes("runs/attacks/canvas/attacks.json") == outcomes
    report = read_report("runs/attacks/canvas/audit.json")
    assert "unlearning_accuracy" in report["evaluation"]["canvas"]
    text = Path("runs/attacks/canvas/audit.md").read_text()
    assert "## Accuracy" in text
    assert "## Both accuracy" in text
    with pytest.raises(SystemExit):
        main(["attack", *attacked, "--evaluation=QAEvaluation"])
    assert "evaluation is QAEvaluation; accepted for MiniCanvasDataModule: CanvasEvaluation" in capsys.readouterr().err
