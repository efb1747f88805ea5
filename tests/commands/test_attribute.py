"""``unlearn-pl attribute``: from recipes to a mask, and from the mask to training."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from unlearn_pl.cli import main
from unlearn_pl.masks import read_mask, read_mask_header
from unlearn_pl.models import tiny_llama
from unlearn_pl.results import weights_fingerprint

DEBUG = ["-c", str(Path(__file__).parents[2] / "experiments" / "debug" / "mollm.yaml")]
QUIET = ["--trainer.callbacks=[SavePretrained]", "--trainer.limit_val_batches=0", "--trainer.default_root_dir=root"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)


def test_a_recipe_gives_a_mask_that_the_same_recipe_trains_with(tmp_path, capsys):
    # The recipe may name the mask that is yet to be written.
    mask = ["--model.mask=MaskFile", "--model.mask.path=masks/wagle.safetensors"]
    main(
        [
            "attribute",
            *DEBUG,
            *mask,
            "--attribution=WAGLE",
            "--attribution.keep=0.05",
            "--output=masks/wagle.safetensors",
        ]
    )
    assert "Written to masks/wagle.safetensors" in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["wagle.safetensors"]
    header = read_mask_header(Path("masks/wagle.safetensors"))
    assert sum(header.kept.values()) == round(0.05 * sum(torch.Size(s).numel() for s in header.parameters.values()))
    assert header.made_by["attribution"]["class_path"] == "unlearn_pl.attribution.WAGLE"
    assert header.made_by["findings"]["gamma"] > 0

    original = tiny_llama(512, hidden_size=16, num_layers=1, num_heads=2)  # as the recipe has it
    assert weights_fingerprint(original) == header.weights
    main(["fit", *DEBUG, *QUIET, *mask, "--model.optimizer.weight_decay=0.1"])
    trained = dict(AutoModelForCausalLM.from_pretrained("root/hf").named_parameters())
    for name, parameter in original.named_parameters():
        mask_of = read_mask(Path("masks/wagle.safetensors"), name, parameter.shape)
        assert torch.equal(trained[name][~mask_of], parameter[~mask_of])
    assert sum(int((trained[name] != p).sum()) for name, p in original.named_parameters()) > 0


@pytest.mark.parametrize("keep", ["0", "1.5", "-0.1"])
def test_a_share_that_is_none_is_refused(keep, capsys):
    with pytest.raises((ValueError, SystemExit)):
        main(["attribute", *DEBUG, "--attribution=SNIP", f"--attribution.keep={keep}", "--output=mask.safetensors"])
    assert not Path("mask.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attribution=Magnitude", "--attribution.keep=0.1", "--attribution.include=[gate_porj]"], "gate_porj"),
        (["--attribution=Magnitude", "--attribution.keep=1e-9"], "not a single weight"),
        (["--attribution=Magnitude", "--attribution.keep=0.5", "--attribution.scope=row"], "exclude it"),
        (["--attribution=SNIP", "--attribution.keep=0.5", "--attribution.forget_stream=forgotten"], "forgotten"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["attribute", *DEBUG, *arguments, "--output=mask.safetensors"])
    assert exit_.value.code == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "error: " in printed
    assert not Path("mask.safetensors").exists()


def test_a_module_that_trains_nothing_is_refused(capsys):
    pretrained = ["--model=PretrainedModule", "--model.model=m"]
    with pytest.raises(SystemExit) as exit_:
        main(["attribute", *DEBUG, *pretrained, "--attribution=SNIP", "--attribution.keep=1", "--output=mask"])
    assert exit_.value.code == 1
    assert "PretrainedModule computes no gradients" in capsys.readouterr().err


def test_with_a_rank_a_recipe_with_adapters_gives_the_file_that_it_trains_from(capsys):
    start = [
        "--model.model=CausalLM",
        "--model.model.name=model",
        "--model.model.lora=LoRA",
        "--model.model.lora.r=2",
        "--model.model.lora.initializer=AdapterFile",
        "--model.model.lora.initializer.path=loku.safetensors",
    ]
    tiny_llama(512, hidden_size=16, num_layers=1, num_heads=2).save_pretrained("model")
    main(["attribute", *DEBUG, *start, "--attribution=FisherRatio", "--rank=3", "--output=loku.safetensors"])
    assert "Written to loku.safetensors" in capsys.readouterr().out
    main(["fit", *DEBUG, *QUIET, *start, "--trainer.max_steps=1"])
    trained, original = (AutoModelForCausalLM.from_pretrained(folder) for folder in ("root/hf", "model"))
    moved = {n for (n, a), b in zip(trained.named_parameters(), original.parameters(), strict=True) if not a.equal(b)}
    assert len(moved) == 7
