"""The files in ``experiments/data`` train on made-up folders, from the command line alone."""

from pathlib import Path

import pytest

from tests.data.benchmarks.benchmark_folders import muse, preference, text, wmdp
from unlearn_pl.cli import main
from unlearn_pl.models import train_tokenizer

ROOT = Path(__file__).parents[3] / "experiments"
LAYOUTS = {
    "muse_news": (muse, "val/muse/privleak"),
    "wmdp_bio": (wmdp, "val/wmdp/wmdp_bio_accuracy"),
    "preference": (preference, "val/preference/preference_margin"),
}
MODEL = """
model:
  init_args:
    model:
      class_path: unlearn_pl.models.tiny_llama
      init_args: {vocab_size: 400, hidden_size: 16, num_layers: 1, num_heads: 2, max_position_embeddings: 2048}
"""
CORPUS = """
data:
  init_args:
    forget: {class_path: Documents, init_args: {path: bio_remove_dataset.jsonl, chunk_length: 32}}
"""


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")  # see tests/test_cli.py
@pytest.mark.filterwarnings("ignore:privleak compares with chance")
@pytest.mark.parametrize("name", LAYOUTS)
def test_recipes_train_and_evaluate_on_local_files(name, tmp_path, monkeypatch):
    layout, metric = LAYOUTS[name]
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(layout(tmp_path))
    train_tokenizer([text(i) for i in range(9)], 400).save_pretrained("tokenizer")
    Path("model.yaml").write_text(MODEL)
    Path("corpus.yaml").write_text(CORPUS)
    files = [ROOT / "base.yaml", ROOT / f"data/{name}.yaml", ROOT / "methods/mollm.yaml", "model.yaml"]
    files += ["corpus.yaml"] if name == "wmdp_bio" else []
    extra = {"preference": ["--data.normal=normal.csv"]}.get(name, [])
    short = [
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.accelerator=cpu",
        "--data.batch_size=4",
        "--data.micro_batch_size=2",
    ]
    evaluation = [
        "--trainer.limit_val_batches=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    arguments = [part for file in files for part in ("-c", str(file))]

    main(["fit", *arguments, "--data.path=.", "--data.tokenizer=tokenizer", *extra, *short, *evaluation])

    assert Path("runs/unlearn/hf/model.safetensors").is_file()
    assert metric in Path("runs/unlearn/logs/version_0/metrics.csv").read_text()
