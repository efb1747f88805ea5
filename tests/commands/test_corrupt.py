"""`unlearn-pl corrupt`: a noisy copy of a model, which is only read."""

import pytest
from safetensors.torch import load_file

from tests.robustness.subjects import make_folder
from unlearn_pl.cli import main


def test_a_noisy_copy_is_written(tmp_path, capsys):
    model = make_folder(tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    main(["corrupt", "--model", model, "--output", str(tmp_path / "out"), "--share", "0.5"])
    assert "Written to" in capsys.readouterr().out
    old, new = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "out"))
    assert all((new[name] - tensor / 2).abs().max() < 0.05 * (6 / 16) ** 0.5 for name, tensor in old.items())
    assert {path: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


@pytest.mark.parametrize(("argument", "message"), [("--share=0", "share=0.0"), ("--model=nowhere", "no config.json")])
def test_bad_arguments_write_nothing(tmp_path, capsys, argument, message):
    model = make_folder(tmp_path / "model")
    with pytest.raises(SystemExit):
        main(["corrupt", "--model", model, "--output", str(tmp_path / "out"), argument])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
