"""A checkpoint file that was changed, torn or written by something else is found; a whole one loads everywhere."""

import io
import random
import re
import zipfile

import pytest
import torch

from unlearn_pl.results.checkpoint_file import check_file, damage, read_checkpoint, save_with_digest

CHECKPOINT = {"state_dict": {"weight": torch.arange(300.0), "bias": torch.ones(())}, "epoch": 3, "name": "Ødegård"}


def written(save=save_with_digest) -> bytes:
    buffer = io.BytesIO()
    save(CHECKPOINT, buffer)
    return buffer.getvalue()


def damage_of(data: bytes) -> str | None:
    return damage(io.BytesIO(data))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_with_a_digest_is_a_file_of_torch(tmp_path, mmap):
    path = tmp_path / "a.ckpt"
    path.write_bytes(written())
    for loaded in (torch.load(path, weights_only=True, mmap=mmap), read_checkpoint(path, mmap=mmap)):
        assert loaded["epoch"] == 3
        torch.testing.assert_close(loaded["state_dict"], CHECKPOINT["state_dict"], rtol=0, atol=0)
    assert zipfile.ZipFile(path).testzip() is None
    assert re.fullmatch(rb"unlearn_pl sha256 [0-9a-f]{64}", zipfile.ZipFile(path).comment)


def test_none_of_2000_changed_bits_is_overlooked():
    data = written()
    bits = random.Random(0).sample(range(8 * len(data)), 2000)
    bits += range(8 * len(data) - 8 * 110, 8 * len(data))  # the end of the archive, and all of the digest
    assert damage_of(data) is None
    assert [bit for bit in bits if damage_of(flipped(data, bit)) is None] == []


def test_changed_bits_of_what_was_saved_without_a_digest_are_found():
    """All that ``torch.load`` reads is under a CRC-32; the rest of the archive is padding, dates and the like."""
    data = written(torch.save)
    assert damage_of(data) is None
    silent = []
    for bit in random.Random(0).sample(range(8 * len(data)), 500):
        changed = flipped(data, bit)
        if damage_of(changed) is None:
            silent.append(bit)
            try:
                loaded = torch.load(io.BytesIO(changed), weights_only=True)
            except RuntimeError:  # PyTorch compares fields of the archive that zipfile does not
                continue
            assert (loaded["epoch"], loaded["name"]) == (3, "Ødegård")
            torch.testing.assert_close(loaded["state_dict"], CHECKPOINT["state_dict"], rtol=0, atol=0)
    assert len(silent) < 250


@pytest.mark.parametrize("save", [save_with_digest, torch.save])
def test_torn_files_are_found(save):
    data = written(save)
    assert all(damage_of(data[:length]) is not None for length in range(0, len(data), 7))
    assert damage_of(data + b"\0") is not None
    assert damage_of(data[:1000] + data[1001:]) is not None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02}q\x00.", b"PK\x03\x04", b"\0" * 5000])
def test_foreign_files_are_errors_that_name_the_file(tmp_path, content):
    path = tmp_path / "some.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"some.ckpt' cannot be used: .* use another: ckpt_path='last'"):
        read_checkpoint(path)


def test_archives_of_something_else_are_errors(tmp_path):
    path = tmp_path / "some.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with pytest.raises(ValueError, match=r"some.ckpt' is no file of torch.save"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"some.ckpt' is a file of PyTorch, but no checkpoint of a Trainer"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match="is a folder of shards"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing.ckpt"):
        check_file(tmp_path / "missing.ckpt")


class Runs:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_file_of_objects_is_an_error_and_nothing_runs(tmp_path, capsys):
    torch.save({"state_dict": Runs()}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a.ckpt' holds more than tensors and plain data"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert "this ran" not in capsys.readouterr().out


def test_remote_files_are_checked(tmp_path):
    import fsspec

    with fsspec.open("memory://checked/a.ckpt", "wb") as file:
        file.write(written())
    check_file("memory://checked/a.ckpt")
    with fsspec.open("memory://checked/b.ckpt", "wb") as file:
        file.write(flipped(written(), 5000))
    with pytest.raises(ValueError, match=r"memory://checked/b\.ckpt"):
        check_file("memory://checked/b.ckpt")
