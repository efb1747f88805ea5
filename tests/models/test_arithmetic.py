"""Models made of the weights of two others: values, memory, files, and what cannot be combined."""

import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import kit
from unlearn_pl.models import save_pretrained, train_tokenizer
from unlearn_pl.models.arithmetic.combine import combine_folders, extrapolated
from unlearn_pl.models.arithmetic.noise import noised


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Two models with the same tokenizer."""
    root = tmp_path_factory.mktemp("models")
    for name, seed in (("original", 0), ("trained", 1)):
        save_pretrained(kit.model(seed=seed), root / name, kit.tokenizer())
    return root / "original", root / "trained"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def split(folder: Path, target: Path, dtype: torch.dtype | None = None) -> Path:
    """The same model in two files, as large models are stored; perhaps in another dtype."""
    shutil.copytree(folder, target)
    (target / "model.safetensors").unlink()
    found = {name: tensor.to(dtype or tensor.dtype) for name, tensor in weights(folder).items()}
    places = {name: f"model-{i % 2 + 1:05d}-of-00002.safetensors" for i, name in enumerate(sorted(found))}
    for file in set(places.values()):
        save_file({n: t for n, t in found.items() if places[n] == file}, target / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


@pytest.mark.parametrize("factor", [0.0, 0.3, 2.0, -1.0])
def test_weights_are_extrapolated(folders, tmp_path, factor):
    combine_folders(*folders, tmp_path / "out", extrapolated(factor))
    before, after, new = (weights(folder) for folder in (*folders, tmp_path / "out"))
    assert set(new) == set(before)
    for name, tensor in new.items():
        torch.testing.assert_close(tensor, (1 + factor) * before[name] - factor * after[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("factor", [0.7, -3.0])
def test_a_model_and_itself_make_the_same_model_bit_for_bit(folders, tmp_path, dtype, factor):
    original = split(folders[0], tmp_path / "original", dtype)
    combine_folders(original, original, tmp_path / "out", extrapolated(factor))
    for path in original.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_models_may_be_stored_in_different_files(folders, tmp_path):
    combine_folders(*folders, tmp_path / "whole", extrapolated(0.5))
    combine_folders(split(folders[0], tmp_path / "first"), folders[1], tmp_path / "one", extrapolated(0.5))
    combine_folders(folders[0], split(folders[1], tmp_path / "second"), tmp_path / "other", extrapolated(0.5))
    expected = weights(tmp_path / "whole")
    for name in ("one", "other"):
        found = weights(tmp_path / name)
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_the_new_model_loads_and_answers(folders, tmp_path):
    combine_folders(*folders, tmp_path / "out", extrapolated(0.5))
    model, tokenizer = (cls.from_pretrained(tmp_path / "out") for cls in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer("Who keeps it?", return_tensors="pt")["input_ids"]
    assert model(ids).logits.isfinite().all()
    assert tokenizer.get_vocab() == kit.tokenizer().get_vocab()
    combine_folders(*folders, tmp_path / "out", extrapolated(0.1))  # takes the place of the earlier export


def test_no_more_than_one_weight_of_each_model_is_in_memory(folders, tmp_path):
    seen: list[weakref.ref[torch.Tensor]] = []

    def rule(name, before, after):
        assert not any(tensor() is not None for tensor in seen), name
        seen[:] = weakref.ref(before), weakref.ref(after)
        return before + after

    combine_folders(*folders, tmp_path / "out", rule)
    assert seen


def test_integers_are_copied(folders, tmp_path):
    targets = []
    for folder in folders:
        target = tmp_path / folder.name
        shutil.copytree(folder, target)
        save_file({**weights(folder), "steps": torch.tensor([len(targets), 7])}, target / "model.safetensors")
        targets.append(target)
    combine_folders(*targets, tmp_path / "out", extrapolated(2.0))
    assert weights(tmp_path / "out")["steps"].tolist() == [0, 7]


def other_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mistral"}))


def other_tokenizer(folder: Path) -> None:
    train_tokenizer(["Entirely other words: quartz, jackdaw, sphinx."], 320).save_pretrained(folder)


def rewritten(change):
    def rewrite(folder: Path) -> None:
        save_file(change(weights(folder)), folder / "model.safetensors", {"format": "pt"})

    return rewrite


def longer(found):
    name = next(iter(found))
    return {**found, name: torch.cat([found[name], found[name]])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_config, "differ in their model_type: llama and mistral"),
        (other_tokenizer, "The tokenizers in .* differ, in "),
        (
            rewritten(lambda found: {name: t.half() for name, t in found.items()}),
            "differ in the dtype of .*F32 and F16",
        ),
        (rewritten(longer), "differ in the shape of"),
        (rewritten(lambda found: dict(list(found.items())[1:])), "Only one of the folders"),
        (rewritten(lambda found: {n: t.fill_(float("nan")) for n, t in found.items()}), "NaN or infinite"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"torn"), "is no safetensors file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in safetensors"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "must hold a JSON object"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not a JSON file"),
        (lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"), "holds adapters alone"),
    ],
)
def test_what_cannot_be_combined_is_named_and_nothing_is_written(folders, tmp_path, change, message):
    second = tmp_path / "second"
    shutil.copytree(folders[1], second)
    change(second)
    with pytest.raises(ValueError, match=message):
        combine_folders(folders[0], second, tmp_path / "out", extrapolated(1.0))
    assert not (tmp_path / "out").exists()


def test_the_folders_that_are_read_are_not_written(folders, tmp_path):
    with pytest.raises(ValueError, match="a folder that is read"):
        combine_folders(*folders, folders[0], extrapolated(1.0))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not an earlier export"):
        combine_folders(*folders, tmp_path, extrapolated(1.0))
    with pytest.raises(ValueError, match=r"factor=nan; accepted: a finite number"):
        extrapolated(float("nan"))


def test_noise_shrinks_weights_and_is_as_large_as_xaviers(folders, tmp_path):
    combine_folders(folders[0], folders[0], tmp_path / "out", noised(0.4, 0.1, seed=3))
    before, new = weights(folders[0]), weights(tmp_path / "out")
    deviations = []
    for name, tensor in before.items():
        noise = (new[name].double() - 0.6 * tensor.double()) / (0.4 * 0.1)
        if tensor.dim() < 2:
            torch.testing.assert_close(new[name], 0.6 * tensor)
            continue
        bound = (6 / sum(tensor.shape)) ** 0.5
        assert noise.abs().max() <= bound * 1.001
        assert abs(noise.mean()) < 5 * bound / (3 * noise.numel()) ** 0.5
        deviations.append((noise.std() / bound * 3**0.5).item())  # 1 for a uniform distribution
    assert deviations == pytest.approx([1] * len(deviations), rel=0.1)


def test_noise_depends_on_seed_and_name_alone(folders, tmp_path):
    combine_folders(folders[0], folders[0], tmp_path / "first", noised(0.4, seed=3))
    combine_folders(split(folders[0], tmp_path / "parts"), folders[0], tmp_path / "again", noised(0.4, seed=3))
    combine_folders(folders[0], folders[0], tmp_path / "other", noised(0.4, seed=4))
    first, again, other = (weights(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in first.items())
    matrices = [name for name, tensor in first.items() if name.endswith("q_proj.weight")]
    noise = [first[name] - 0.6 * weights(folders[0])[name] for name in matrices]
    assert not torch.allclose(noise[0], noise[1])  # of one shape, in two layers


@pytest.mark.parametrize(
    ("arguments", "message"), [((0.0,), "share=0.0"), ((1.1,), "share"), ((0.5, -1.0), "scale=-1")]
)
def test_noise_is_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        noised(*arguments)
