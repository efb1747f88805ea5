"""A checkpoint names what it likes: what does not fit its argument is neither imported nor called."""

import sys
from pathlib import Path

import pytest
import torch
from torch.optim import Optimizer

from tests import kit
from unlearn_pl.modules import NPO, LanguageModule, UnlearningModule
from unlearn_pl.modules.safety.recorded_classes import check_record, find
from unlearn_pl.objectives import CausalLMLoss

MARKER = "ran"
RUN = {"class_path": "os.system", "init_args": {"command": f"touch {MARKER}"}}
CALL = {"class_path": "subprocess.call", "init_args": {"args": f"touch {MARKER}", "shell": True}}
PLANTED = f"""
from pathlib import Path
Path({MARKER!r}).touch()
from unlearn_pl.combiners import Scalarization
class Own(Scalarization): pass
def make(): return None
"""

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # Lightning 2.6 calls jsonargparse by a name that is deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder in which a module was planted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted.py").write_text(PLANTED)
    kit.model().save_pretrained(tmp_path / "model")
    return tmp_path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint of NPO."""
    root = tmp_path_factory.mktemp("written")
    kit.model().save_pretrained(root / "model")
    trainer = kit.trainer(max_steps=1)
    trainer.fit(NPO(str(root / "model")), kit.Questions(batch_size=4, micro_batch_size=4))
    trainer.save_checkpoint(root / "npo.ckpt")
    return root / "npo.ckpt"


def changed(written: Path, **arguments: object) -> Path:
    checkpoint = torch.load(written, weights_only=True)
    checkpoint["hyper_parameters"].update(arguments)
    torch.save(checkpoint, "changed.ckpt")
    torch.load("changed.ckpt", weights_only=True)  # plain data: weights_only does not stop it
    return Path("changed.ckpt")


ATTACKS = {
    "a command": {"optimizer": RUN},
    "a function in Python": {"optimizer": CALL},
    "a bare path": {"optimizer": "planted.make"},
    "a command as schedule": {"schedule": RUN},
    "a function as schedule": {"schedule": "planted.make"},
    "an optimizer as schedule": {"schedule": {"class_path": "torch.optim.SGD", "init_args": {}}},
    "a command in a schedule": {
        "schedule": {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": "os.system"}}
    },
    "another class": {"optimizer": {"class_path": "torch.nn.Linear", "init_args": {}}},
    "a planted class": {"combiner": {"class_path": "planted.Own"}},
    "a planted bare path": {"mask": "planted.Own"},
    "a planted model": {"model": "planted.Own"},
    "YAML in a text": {"mask": "{class_path: planted.Own}"},
    "YAML with escapes": {"mask": '{"class\\x5fpath": "planted\\x2eOwn"}'},
    "YAML in YAML": {"mask": '"{class_path: planted.Own}"'},
    "deep inside": {"combiner": {"class_path": "unlearn_pl.combiners.MinNorm", "init_args": {"satisfied": RUN}}},
    "further arguments": {"combiner": {"class_path": "unlearn_pl.combiners.MinNorm", "dict_kwargs": {"x": RUN}}},
    "in a list": {"mask": [RUN]},
    "names with dots": {"optimizer.class_path": "os.system", "optimizer.init_args.command": f"touch {MARKER}"},
    "a model": {"model": RUN},
    "through a module": {"optimizer": {**RUN, "class_path": "unlearn_pl.results.atomic_file.os.system"}},
    "an unknown argument": {"anything": RUN},
}


@pytest.mark.parametrize("arguments", ATTACKS.values(), ids=ATTACKS)
def test_nothing_runs(written, arguments):
    with pytest.raises(ValueError, match=rf"{next(iter(arguments)).split('.')[0]}[\w.]* .*ccepted: "):
        LanguageModule.load_from_checkpoint(changed(written, **arguments))
    assert not Path(MARKER).exists()
    assert "planted" not in sys.modules


def test_nothing_runs_from_former_names_of_the_record(written):
    checkpoint = torch.load(written, weights_only=True)
    record = checkpoint["hyper_parameters"]
    record.pop("optimizer", None)
    torch.save({**checkpoint, "hparams": {"optimizer": RUN}}, "changed.ckpt")
    with pytest.raises(ValueError, match=r"optimizer is 'os\.system', which does not fit"):
        NPO.load_from_checkpoint("changed.ckpt")
    assert not Path(MARKER).exists()


def test_the_error_names_the_path_and_what_is_accepted(written):
    with pytest.raises(ValueError, match=r"optimizer is 'os\.system'.*Accepted: a subclass of Optimizer, from modules"):
        NPO.load_from_checkpoint(changed(written, optimizer=RUN))
    with pytest.raises(ValueError, match=r"combiner is 'planted\.Own'.* not imported.*pass allow=\('planted',\)"):
        NPO.load_from_checkpoint(changed(written, combiner="planted.Own"))
    with pytest.raises(ValueError, match=r"combiner is 'unlearn_pl\.never\.There', where there is nothing"):
        NPO.load_from_checkpoint(changed(written, combiner={"class_path": "unlearn_pl.never.There"}))


def test_packages_can_be_allowed(folder, written):
    (folder / "planted.py").rename("allowed.py")
    own = {"class_path": "allowed.Own", "init_args": {"weights": {"forget": 1.0, "retain": 1.0}}}
    path = changed(written, combiner=own)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["unlearn_pl"]["combiner"]["rule"] = "Own"
    torch.save(checkpoint, path)
    assert type(NPO.load_from_checkpoint(path, allow=("allowed",)).combiner).__name__ == "Own"
    with pytest.raises(ValueError, match=r"optimizer is 'allowed\.Own', which does not fit"):
        NPO.load_from_checkpoint(changed(written, optimizer=own), allow=("allowed",))


def test_no_file_replaces_the_record(written):
    Path("hparams.yaml").write_text(f"optimizer: {{class_path: os.system, init_args: {{command: touch {MARKER}}}}}")
    with pytest.raises(ValueError, match=r"hparams_file='hparams\.yaml' would replace.*Accepted: the arguments"):
        NPO.load_from_checkpoint(written, hparams_file="hparams.yaml")
    assert not Path(MARKER).exists()


def test_arguments_that_are_replaced_are_not_looked_at(written):
    assert NPO.load_from_checkpoint(changed(written, optimizer=RUN), optimizer=None)
    assert not Path(MARKER).exists()


def test_a_file_cannot_ask_for_remote_code(written):
    model = {"class_path": "unlearn_pl.models.CausalLM", "init_args": {"name": "model", "trust_remote_code": True}}
    with pytest.raises(ValueError, match=r"model\.trust_remote_code is True.*pass model=\.\.\. to load_from"):
        NPO.load_from_checkpoint(changed(written, model=model))


class OwnLoss(CausalLMLoss):
    pass


class OwnOptimizer(Optimizer):
    pass


@pytest.mark.parametrize(
    "record",
    [
        {"model": "org/model.v2", "normal_stream": "retain.v2", "mask": {"class_path": "TrainableParameters"}},
        {"model": {"class_path": "unlearn_pl.models.tiny_llama", "init_args": {"dtype": "torch.float32"}}},
        {"objectives": {"model": {"class_path": f"{__name__}.OwnLoss", "init_args": {}}}},
        {"optimizer": {"class_path": f"{__name__}.OwnOptimizer", "init_args": {"betas": [0.9, 0.99]}}},
        {"optimizer": "torch.optim.SGD", "include": [r"layers\.1", "model.layers", "mlp.*"], "lr": 0.1},
        {"optimizer": {"class_path": "transformers.Adafactor", "init_args": {}}},
        {
            "mask": {
                "class_path": "unlearn_pl.masks.TrainableParameters",
                "init_args": {"include": ["planted.embed_tokens"]},
            }
        },
        {"template": "Question: {question}\nAnswer: {answer}", "path": "runs/a.b/c.pt", "name": "a: [b"},
    ],
)
def test_honest_records_pass(record):
    check_record(record)


def test_a_path_is_found_as_parsers_find_it():
    assert find("unlearn_pl.modules.UnlearningModule") is UnlearningModule
    assert find("collections.abc.Mapping.get") is not None
    for nothing in ("text", "a.b", "a b.c", "unlearn_pl.modules.Never", "os.path.never.There"):
        assert find(nothing, ["unlearn_pl"]) is None
