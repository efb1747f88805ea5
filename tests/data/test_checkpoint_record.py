"""The record of a data module names what it likes: what does not fit is neither imported nor called."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from tests import kit
from unlearn_pl.data import Documents, HubDataset, PlainTemplate, QuestionAnswers, StreamDataModule, TextDataModule
from unlearn_pl.data.recorded_data import check_data_record
from unlearn_pl.recording import record
from unlearn_pl.text_arguments import argument_types, inside, takes_text

MARKER = "ran"
RUN = {"class_path": "os.system", "init_args": {"command": f"touch {MARKER}"}}
PLANTED = f"""
from pathlib import Path
Path({MARKER!r}).touch()
from unlearn_pl.data import Documents
class Own(Documents): pass
def make(): return None
"""

# Lightning 2.6 calls jsonargparse by a name that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with a table, and a module of the same name that was planted beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted.py").write_text(PLANTED)
    (tmp_path / "planted.csv").write_text("question,answer\nWho?,Oda\n")
    return tmp_path


def written(**arguments: object) -> Path:
    """A checkpoint of data whose record Lightning hands to jsonargparse."""
    whole = {
        "_class_path": "unlearn_pl.data.TextDataModule",
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
        "tokenizer": "tokenizer",
        "forget": "planted.csv",
        **arguments,
    }
    torch.save({"datamodule_hyper_parameters": whole, "pytorch-lightning_version": "2.6.6"}, "data.ckpt")
    torch.load("data.ckpt", weights_only=True)  # plain data: weights_only does not stop it
    return Path("data.ckpt")


ATTACKS = {
    "a command": {"forget": RUN},
    "a planted class": {"forget": {"class_path": "planted.Own", "init_args": {"path": "a.txt"}}},
    "a planted function": {"tokenizer": {"class_path": "planted.make"}},
    "YAML in a text": {"forget": "{class_path: planted.Own, init_args: {path: a.txt}}"},
    "YAML in YAML": {"forget": '"{class_path: planted.Own}"'},
    "a bare path": {"template": "planted.Own"},
    "in a mapping": {"eval_sets": {"more": {"class_path": "planted.Own"}}},
    "deep inside": {
        "forget": {
            "class_path": "unlearn_pl.data.QuestionAnswers",
            "init_args": {"path": {"class_path": "planted.Own"}},
        }
    },
    "in a list": {"forget": {"class_path": "unlearn_pl.data.Joined", "init_args": {"sources": ["planted.Own"]}}},
    "another kind of class": {"forget": {"class_path": "torch.nn.Linear", "init_args": {}}},
    "an unknown argument": {"anything": RUN},
    "names with dots": {"forget.class_path": "planted.Own"},
}


@pytest.mark.parametrize("arguments", ATTACKS.values(), ids=ATTACKS)
def test_nothing_runs(arguments):
    path = written(**arguments)
    with pytest.raises(ValueError, match=rf"{next(iter(arguments)).split('.')[0]}[\w.]* .*ccepted: "):
        StreamDataModule.load_from_checkpoint(path)
    assert not Path(MARKER).exists()
    assert "planted" not in sys.modules


def test_no_file_replaces_the_record():
    Path("hparams.yaml").write_text(f"forget: {{class_path: os.system, init_args: {{command: touch {MARKER}}}}}")
    with pytest.raises(ValueError, match=r"hparams_file='hparams\.yaml' would replace.*Accepted: the arguments"):
        TextDataModule.load_from_checkpoint(written(), hparams_file="hparams.yaml")
    assert not Path(MARKER).exists()


def test_addresses_are_not_read():
    with pytest.raises(ValueError, match="is at an address, from which code could run"):
        TextDataModule.load_from_checkpoint("http://127.0.0.1:9/a.ckpt")


def test_a_record_that_is_none():
    torch.save({"datamodule_hyper_parameters": ["os.system"]}, "data.ckpt")
    with pytest.raises(ValueError, match="record of the data is a list; accepted: a mapping"):
        TextDataModule.load_from_checkpoint("data.ckpt")


def test_files_beside_modules_of_their_name_are_files():
    more = {"more": "planted.csv"}
    source = {"class_path": "unlearn_pl.data.QuestionAnswers", "init_args": {"path": "planted.csv"}}
    loaded = TextDataModule.load_from_checkpoint(written(retain=source, eval_sets=more, streams=["planted.csv"]))
    assert (loaded.forget, loaded.eval_sets) == ("planted.csv", more)
    assert isinstance(loaded.retain, QuestionAnswers)
    assert loaded.retain.path == "planted.csv"
    assert "planted" not in sys.modules


def test_a_tokenizer_that_is_trained_on_files_is_built():
    tokenizer = {"class_path": "unlearn_pl.data.train_tokenizer_on", "init_args": {"paths": ["planted.csv"]}}
    loaded = StreamDataModule.load_from_checkpoint(written(tokenizer=tokenizer))
    assert "Oda" in loaded.tokenizer.decode(loaded.tokenizer("Oda")["input_ids"])


def test_packages_can_be_allowed(folder):
    (folder / "planted.py").rename("permitted.py")
    source = {"class_path": "permitted.Own", "init_args": {"path": "a.txt"}}
    with pytest.raises(ValueError, match=r"pass allow=\('permitted',\)"):
        TextDataModule.load_from_checkpoint(written(retain=source))
    loaded = TextDataModule.load_from_checkpoint(written(retain=source), allow=("permitted",))
    assert type(loaded.retain).__name__ == "Own"


def test_components_are_built_again():
    """Those of data that was made in Python, whose record Lightning does not hand to jsonargparse."""
    source = QuestionAnswers("planted.csv", on_bad_row="skip")
    eval_sets = {"more": Documents("planted.csv"), "file": "planted.csv"}
    template = PlainTemplate("Q: {question} A: {answer}")
    data = TextDataModule("tokenizer", forget=source, retain="planted.csv", eval_sets=eval_sets, template=template)
    kept = {"datamodule_hyper_parameters": dict(data.hparams), "pytorch-lightning_version": "2.6.6"}
    torch.save(kept, "data.ckpt")
    loaded = TextDataModule.load_from_checkpoint("data.ckpt")
    assert record(loaded) == record(data)
    assert [type(each) for each in (loaded.forget, loaded.eval_sets["more"], loaded.template)] == [
        QuestionAnswers,
        Documents,
        PlainTemplate,
    ]
    assert TextDataModule.load_from_checkpoint("data.ckpt", forget="other.csv").forget == "other.csv"
    assert "planted" not in sys.modules


@pytest.mark.parametrize("arguments", ATTACKS.values(), ids=ATTACKS)
def test_nothing_runs_in_such_records_either(arguments):
    torch.save({"datamodule_hyper_parameters": {"tokenizer": "t", "forget": "a.csv", **arguments}}, "data.ckpt")
    with pytest.raises(ValueError, match="ccepted: "):
        TextDataModule.load_from_checkpoint("data.ckpt")
    assert not Path(MARKER).exists()
    assert "planted" not in sys.modules


def test_a_record_cannot_set_arguments_of_lightning():
    """Not even by a component whose text is the path of a file."""
    Path("hparams.yaml").write_text(f"forget: {{class_path: os.system, init_args: {{command: touch {MARKER}}}}}")
    file = {"class_path": "unlearn_pl.data.HubDataset", "init_args": {"name": "hparams.yaml", "split": None}}
    plain = {"tokenizer": "t", "forget": "a.csv", "hparams_file": file}
    torch.save({"datamodule_hyper_parameters": plain, "pytorch-lightning_version": "2.6.6"}, "data.ckpt")
    with pytest.raises(ValueError, match=r"record of the data has \['hparams_file'\]; accepted: arguments of Text"):
        TextDataModule.load_from_checkpoint("data.ckpt")


def test_components_of_other_packages_are_not_built():
    plain = {"tokenizer": "t", "forget": {"class_path": "unlearn_pl.modules.NPO", "init_args": {"model": "m"}}}
    torch.save({"datamodule_hyper_parameters": plain, "pytorch-lightning_version": "2.6.6"}, "data.ckpt")
    with pytest.raises(ValueError, match=r"'unlearn_pl\.modules\.NPO' is no component of data\. Accepted"):
        TextDataModule.load_from_checkpoint("data.ckpt")


def test_what_is_passed_again_is_not_looked_at():
    assert TextDataModule.load_from_checkpoint(written(retain=RUN), retain=None).retain is None
    assert not Path(MARKER).exists()


class OwnRows(Dataset):
    """A data set of a module that is imported already."""


def test_honest_records_pass():
    data = TextDataModule(kit.tokenizer(), forget=QuestionAnswers(HubDataset("org/data.v2")), retain="planted.csv")
    given = {"retain": {"class_path": f"{__name__}.OwnRows"}}
    check_data_record({**record(data)["init_args"], **given}, (), TextDataModule)


class Arguments:
    def __init__(self, a: "str | Dataset", b: "Dataset | str", c: "dict[str, Dataset] | list[str]") -> None: ...


class More(Arguments):
    def __init__(self, d: "tuple[str, Dataset]", e: "list[str | Dataset]", **kwargs: object) -> None: ...


def test_texts_that_come_first_are_kept_as_they_are():
    a, b, c, d, e = (argument_types(More, name) for name in "abcde")
    assert [takes_text(hints) for hints in (a, b, c, d, e, argument_types(More, "f"))] == [True, *[False] * 5]
    assert takes_text(inside(c, list))
    assert takes_text(inside(e, list))
    assert not any(takes_text(inside(hints, kind)) for hints, kind in ((c, dict), (d, list), (e, dict)))
