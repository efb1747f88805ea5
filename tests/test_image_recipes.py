"""The recipes for image classifiers lead from one to the next, from the command line."""

from pathlib import Path

import numpy as np
import pytest

from unlearn_pl.cli import main
from unlearn_pl.results import read_results

ROOT = Path(__file__).parents[1] / "experiments" / "images"

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")


def test_the_target_is_trained_and_forgets(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    Path("data/digits").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 40), ("test", 20)):
        images = rng.integers(0, 256, (count, 8, 8)).astype(np.uint8)
        np.savez(f"data/digits/{name}.npz", images=images, labels=np.arange(count) % 10)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.enable_progress_bar=false"]
    main(["fit", "-c", str(ROOT / "fine_tune.yaml"), *short])
    assert Path("runs/images/target/hf/model.safetensors").exists()
    goal = ["--model.goals.forget.level=start", "--model.goals.forget.share=0.5"]
    main(["fit", "-c", str(ROOT / "mollm.yaml"), *short, *goal, "--data.forget=ForgetRandom"])
    main(["test", "-c", str(ROOT / "mollm.yaml"), *goal, "--data.forget=ForgetRandom", "--ckpt_path=last"])
    results = read_results("runs/images/mollm/results.json")
    assert 0 <= results.metrics["unlearning_accuracy"] <= 1
    assert "seconds" in results.metrics
    assert results.config["data"]["init_args"]["forget"]["class_path"] == "unlearn_pl.data.ForgetRandom"
