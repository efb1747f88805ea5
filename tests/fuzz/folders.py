"""Readers of folders that others may have made: models, images, checkpoints, and what a run leaves."""

import json
import shutil
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.fuzz.mutations import BYTES
from tests.fuzz.reader import Reader, file_reader

FILES_OF_A_MODEL = ("config.json", "generation_config.json", "model.safetensors")
FILES_OF_DIFFUSION = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "vae/config.json",
    "tokenizer/tokenizer_config.json",
)
FILES_OF_A_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def folder_readers() -> dict[str, Reader]:
    """Name to reader."""
    return {**_models(), **_images(), **_checkpoints(), **_runs()}


# Models --------------------------------------------------------------------------------------------------------------


def _models() -> dict[str, Reader]:
    return {
        "language model": Reader(_write_model, FILES_OF_A_MODEL, _read_model),
        "tokenizer": Reader(_write_model, FILES_OF_A_TOKENIZER, _read_tokenizer),
        "weights to combine": Reader(_write_model, ("config.json", "model.safetensors"), _read_weights),
        "adapter": Reader(_write_adapter, ("adapter_config.json", "adapter_model.safetensors"), _read_adapter),
        "image classifier": Reader(_write_classifier, ("config.json", "model.safetensors"), _read_classifier),
        "normalization": file_reader(
            "preprocessor_config.json",
            json.dumps({"do_normalize": True, "image_mean": [0.5, 0.25, 0.5], "image_std": [0.5, 1.0, 0.5]}).encode(),
            _read_normalization,
        ),
        "text-to-image model": Reader(_write_diffusion, FILES_OF_DIFFUSION, _read_diffusion),
        "weights of a network": Reader(_write_network, ("model.safetensors",), _read_network, mutations=BYTES),
    }


def _write_model(folder: Path) -> None:
    from tests import kit
    from unlearn_pl.models import save_pretrained, tiny_llama

    save_pretrained(tiny_llama(64, hidden_size=8, num_layers=1, num_heads=2), folder, kit.tokenizer())


def _read_model(folder: Path) -> object:
    from unlearn_pl.models import CausalLM

    return _plain(CausalLM(str(folder)).build())


def _read_tokenizer(folder: Path) -> object:
    from unlearn_pl.models import load_tokenizer

    tokenizer = load_tokenizer(str(folder))
    return tokenizer("Who is Ada, of Osk?")["input_ids"], len(tokenizer)


def _read_weights(folder: Path) -> object:
    from unlearn_pl.models.arithmetic.weights_folder import WeightsFolder

    weights = WeightsFolder(folder)
    return dict(weights.config), {name: weights.tensor(name).tolist() for name in weights.kinds}


def _write_adapter(folder: Path) -> None:
    from unlearn_pl.models import CausalLM, LoRA, save_pretrained

    base = folder.parent / f"{folder.name}-base"
    _write_model(base)
    save_pretrained(CausalLM(str(base), lora=LoRA(r=2)).build(), folder, merge_lora=False)


def _read_adapter(folder: Path) -> object:
    from unlearn_pl.models import CausalLM

    return _plain(CausalLM(str(folder)).build())


def _write_classifier(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    ViTForImageClassification(
        ViTConfig(**sizes, image_size=4, patch_size=2, num_channels=1, num_labels=3)
    ).save_pretrained(folder)


def _read_classifier(folder: Path) -> object:
    from unlearn_pl.models.images.loading import load_pretrained

    return _plain(load_pretrained(str(folder)))


def _write_diffusion(folder: Path) -> None:
    from tests.diffusion_folder import make_folder

    shutil.copytree(make_folder(folder.parent), folder, dirs_exist_ok=True)


def _read_diffusion(folder: Path) -> object:
    from unlearn_pl.models import UNet

    return _plain(UNet(str(folder)).build())


def _read_normalization(folder: Path) -> object:
    from unlearn_pl.models.images.loading import normalization_of

    return normalization_of(str(folder))


def _write_network(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(nn.Linear(3, 2).state_dict(), folder / "model.safetensors")


def _read_network(folder: Path) -> object:
    from unlearn_pl.models.images.loading import load_weights

    network = nn.Linear(3, 2)
    load_weights(network, str(folder))
    return _plain(network)


def _plain(model: nn.Module) -> dict[str, object]:
    return {name: weight.tolist() for name, weight in model.state_dict().items()}


# Images --------------------------------------------------------------------------------------------------------------


def _images() -> dict[str, Reader]:
    return {
        "captions": Reader(_write_captions, ("metadata.jsonl",), _read_captions),
        "picture": Reader(_write_captions, ("0.png",), _read_captions, mutations=BYTES),
    }


def _write_captions(folder: Path) -> None:
    from PIL import Image

    lines = []
    for i in range(4):
        Image.new("RGB", (6, 6), (40 * i, 200, 7)).save(folder / f"{i}.png")
        lines.append({"file_name": f"{i}.png", "text": f"A bridge, {i} é.", "pseudo_text": "A tree."})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _read_captions(folder: Path) -> object:
    from unlearn_pl.data import ImagePromptDataModule

    data = ImagePromptDataModule(forget=str(folder))
    stream = data.load_streams()["forget"]
    return [(stream.prompts[i], stream.images.image(i).tolist()) for i in range(len(stream.prompts))]


# Checkpoints ---------------------------------------------------------------------------------------------------------


def _checkpoints() -> dict[str, Reader]:
    shards = (".metadata", "__0_0.distcp", "meta.pt", "digests.json")
    return {
        "checkpoint": Reader(_write_checkpoint, ("last.ckpt",), _read_checkpoint, sealed=True, mutations=BYTES),
        "checkpoint of PyTorch": Reader(_write_unsealed, ("last.ckpt",), _read_checkpoint, mutations=BYTES),
        "folder of shards": Reader(_write_shards, shards, _read_shards, sealed=True, mutations=BYTES),
        "folder of shards of PyTorch": Reader(_write_unsealed_shards, shards[:2], _read_shards, mutations=BYTES),
    }


STATE = {"state_dict": {"w": torch.arange(64.0), "b": torch.ones(3)}, "optimizer_0": {"lr": 0.1}, "global_step": 4}


def _write_checkpoint(folder: Path) -> None:
    from unlearn_pl.results.checkpoint_file import save_with_digest

    with (folder / "last.ckpt").open("wb") as file:
        save_with_digest(STATE, file)


def _write_unsealed(folder: Path) -> None:
    torch.save(STATE, folder / "last.ckpt")


def _read_checkpoint(folder: Path) -> object:
    from unlearn_pl.results.checkpoint_file import read_checkpoint

    return _listed(read_checkpoint(folder / "last.ckpt"))


def _write_unsealed_shards(folder: Path) -> None:
    from torch.distributed import checkpoint as dcp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({**STATE}, checkpoint_id=folder, no_dist=True)
    torch.save({"global_step": 4}, folder / "meta.pt")


def _write_shards(folder: Path) -> None:
    from unlearn_pl.modules.checkpoints.folder import complete, digests, file_names

    _write_unsealed_shards(folder)
    complete(folder, digests(folder, file_names(folder)))


def _read_shards(folder: Path) -> object:
    from lightning.pytorch.strategies import SingleDeviceStrategy
    from torch.distributed import checkpoint as dcp

    from unlearn_pl.modules.checkpoints.sharded import check_sharded
    from unlearn_pl.modules.lightning_internals import load_checked

    read = {"state_dict": {"w": torch.zeros(64), "b": torch.zeros(3)}, "optimizer_0": {"lr": 0.0}, "global_step": 0}
    strategy = SingleDeviceStrategy()
    strategy.load_checkpoint = lambda path, **_: dcp.load(read, checkpoint_id=path, no_dist=True)  # type: ignore
    load_checked(strategy, partial(check_sharded, strategy))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy.load_checkpoint(folder)
    return _listed(read)


def _listed(state: object) -> object:
    if isinstance(state, Tensor):
        return state.tolist()
    return {name: _listed(value) for name, value in state.items()} if isinstance(state, Mapping) else state


# What a run leaves ---------------------------------------------------------------------------------------------------


def _runs() -> dict[str, Reader]:
    files = ("config_fit.yaml", "cost.json", "predictions.jsonl", "logs/metrics.csv")
    return {
        "run of a report": Reader(_write_run, files, _read_run),
        "weights of tokens": Reader(_write_token_weights, ("weights.safetensors",), _read_token_weights),
    }


def _write_run(folder: Path) -> None:
    from unlearn_pl.results import Results, write_results

    write_results(folder / "results.json", Results("tofu", {"a": 0.3}, {}, {}, "0" * 64, "f" * 64, "tiny"))
    (folder / "config_fit.yaml").write_text(
        "model:\n  class_path: x.Y\n  init_args:\n    beta: 0.1\n    names: [a, b]\n"
    )
    (folder / "cost.json").write_text(json.dumps({"seconds": 2.5, "backward_passes": 12, "optimizer_steps": 4}))
    answers = [{"split": "forget", "index": i, "question": "Who?", "answer": "A", "prediction": "B"} for i in range(4)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    (folder / "logs").mkdir()
    table = "epoch,step,train/loss/forget\n" + "".join(f"0,{i},0.{i}\n" for i in range(6))
    (folder / "logs" / "metrics.csv").write_text(table)


def _read_run(folder: Path) -> object:
    from unlearn_pl.report.page.folder import read_run

    run = read_run(folder)
    return run.settings, run.cost, dict(run.predictions), run.history


def _write_token_weights(folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = {"weights": torch.arange(6.0), "lengths": torch.tensor([2, 1, 3])}
    save_file(tensors, folder / "weights.safetensors")
    (folder / "rows.jsonl").write_text('{"question": "Who?", "answer": "Ada."}\n' * 3)


def _read_token_weights(folder: Path) -> object:
    from unlearn_pl.data import QuestionAnswers, WeightedAnswers

    return WeightedAnswers(QuestionAnswers(str(folder / "rows.jsonl")), str(folder / "weights.safetensors")).rows()
