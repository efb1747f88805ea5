"""Changed files of formats with a digest, files of earlier versions without one, and full disks."""

import errno
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fuzz.mutations import flip
from tests.fuzz.readers import readers
from unlearn_pl.callbacks import SavePredictions
from unlearn_pl.masks import read_mask_header
from unlearn_pl.references.cache import ReferenceCache
from unlearn_pl.results import append_to_trail, read_json, read_trail, write_json
from unlearn_pl.results.json_file import write_sealed_json
from unlearn_pl.results.sealed_tensors import check_sealed, write_sealed


@pytest.mark.parametrize("name", ["mask", "reference cache"])
def test_a_bit_of_a_tensor_is_found(tmp_path, name):
    reader = readers()[name]
    reader.write(tmp_path)
    path = tmp_path / "file.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"file\.safetensors' was changed after it was written"):
        reader.read(tmp_path)


def test_files_without_a_digest_are_read(tmp_path):
    sealed, old = tmp_path / "sealed.safetensors", tmp_path / "old.safetensors"
    tensors = {"keys": torch.tensor([[0, 1]]), "lengths": torch.tensor([2]), "logps": torch.zeros(2)}
    write_sealed(sealed, tensors, {"weights": "w"})
    assert load_file(sealed).keys() == tensors.keys()
    save_file(tensors, old, {"weights": "w"})
    assert ReferenceCache.read(old)[1] == ReferenceCache.read(sealed)[1] == {"weights": "w"}
    check_sealed(old, "a cache")


def test_the_bits_of_an_old_mask_are_compared_with_the_fingerprint_in_its_header(tmp_path):
    readers()["mask"].write(tmp_path)
    path = tmp_path / "file.safetensors"
    header, tensors = read_mask_header(path), load_file(path)
    facts = {"format": "unlearn_pl mask 1", "header": json.dumps(vars(header))}
    save_file(tensors, path, facts)
    assert read_mask_header(path) == header
    tensors["a.weight"][0] ^= 1
    save_file(tensors, path, facts)
    with pytest.raises(ValueError, match="its bits do not match the fingerprint"):
        read_mask_header(path)


def test_json_may_be_indented_anew_but_not_changed(tmp_path):
    path = tmp_path / "a.json"
    write_sealed_json(path, {"a": 1.5, "b": {"c": float("nan")}})
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, sort_keys=True))
    assert read_json(path) == {"a": 1.5, "b": {"c": "NaN"}}
    path.write_text(json.dumps({**content, "a": 1.25}))
    with pytest.raises(ValueError, match=r"a\.json' was changed after it was written.*remove the key 'seal'"):
        read_json(path)
    write_json(path, {"a": 1.25})
    assert read_json(path) == {"a": 1.25}


def test_a_change_of_the_last_line_of_a_trail_is_found(tmp_path):
    path = tmp_path / "trail.jsonl"
    for i in range(3):
        append_to_trail(path, {"event": f"number {i}"})
    whole = path.read_text()
    path.write_text(whole.replace("number 2", "number 7"))
    with pytest.raises(ValueError, match=r"Line 3 of .*trail\.jsonl' was changed"):
        read_trail(path)
    path.write_text(whole.replace("number 0", "number 7"))
    with pytest.raises(ValueError, match=r"Line 2 of .* does not follow"):
        read_trail(path)


def test_a_trail_of_an_earlier_version_is_read_and_continued(tmp_path):
    path = tmp_path / "trail.jsonl"
    path.write_text(json.dumps({"event": "old", "previous": "0" * 64}) + "\n")
    append_to_trail(path, {"event": "new"})
    assert [entry["event"] for entry in read_trail(path)] == ["old", "new"]


def test_a_flipped_bit_is_never_silent_whatever_the_place(tmp_path):
    reader = readers()["results.json"]
    reader.write(tmp_path)
    path, written = tmp_path / "results.json", reader.read(tmp_path)
    data = path.read_bytes()
    for seed in range(50):
        path.write_bytes(flip(data, random.Random(seed)))
        try:
            assert reader.read(tmp_path) == written
        except ValueError as error:
            assert "results.json" in str(error)  # noqa: PT017


def test_answers_stay_when_the_disk_is_full(tmp_path, monkeypatch):
    class Trainer:
        world_size, is_global_zero, fast_dev_run, default_root_dir = 1, True, False, str(tmp_path)

    callback = SavePredictions(str(tmp_path / "predictions.jsonl"))
    module = torch.nn.Linear(1, 1)
    callback.on_predict_epoch_end(Trainer(), module)
    (tmp_path / "predictions.jsonl").write_text("old answers\n")
    write = Path.write_text

    def full(path, text, **options):
        write(path, "half", **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        callback.on_predict_epoch_end(Trainer(), module)
    assert (tmp_path / "predictions.jsonl").read_text() == "old answers\n"
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
