"""The depth score of the two ends is 1 and 0; cached, drawn, on answers of unequal length; clear about bad input."""

import json
import warnings

import pytest
import torch

from tests import kit
from unlearn_pl.callbacks import UDSEvaluation
from unlearn_pl.callbacks.depth.uds import check_depths
from unlearn_pl.functional import unlearning_depth
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.report import compare_results
from unlearn_pl.results import read_results


def far(seed: int, layers: int = 2, width: int = 32):
    """A model whose answers differ from those of other seeds by nats, not by hundredths."""
    model = tiny_llama(len(kit.tokenizer()), hidden_size=width, num_layers=layers, num_heads=2, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 8
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for name, seed in (("full", 1), ("retain", 2), ("unlearned", 3)):
        found[name] = str(tmp_path_factory.mktemp("models") / name)
        save_pretrained(far(seed), found[name], kit.tokenizer())
    return found


class Many(kit.Questions):
    """So many forget questions that no draw of a bootstrap misses all that a layer holds."""

    def load_splits(self):
        return {"forget": kit.rows("Forget", 20)}


def run(folders, model, output, data=None, expect="ignore", **options):
    evaluation = UDSEvaluation(folders["full"], folders["retain"], output=str(output), **options)
    with warnings.catch_warnings():
        warnings.simplefilter(expect)
        kit.trainer(callbacks=[evaluation]).test(PretrainedModule(model), data or kit.Questions(), verbose=False)
    return evaluation.results


def test_both_ends_and_between(folders, tmp_path):
    found = {name: run(folders, folder, tmp_path / f"{name}.json", Many()) for name, folder in folders.items()}
    assert found["retain"].metrics["forget_uds"] == 1.0
    assert found["full"].metrics["forget_uds"] == 0.0
    assert 0 < found["unlearned"].metrics["forget_uds"] < 1
    table = found["unlearned"].per_example["forget"]
    assert table.keys() == {"uds", *(f"{kind}_{layer}" for kind in ("drop", "retain_drop") for layer in (1, 2))}
    for index in table["drop_1"]:
        retain, own = ([table[f"{kind}_{layer}"][index] for layer in (1, 2)] for kind in ("retain_drop", "drop"))
        expected = unlearning_depth(torch.tensor(retain), torch.tensor(own))
        assert expected.isnan() == (index not in table["uds"])
        if index in table["uds"]:
            assert table["uds"][index] == pytest.approx(expected.item(), abs=1e-6)
    share = len(table["uds"]) / 20
    assert found["unlearned"].metrics["forget_encoded"] == share > 0
    assert (tmp_path / "uds_forget.png").read_bytes().startswith(b"\x89PNG")
    comparison = compare_results({name: found[name] for name in ("unlearned", "retain")}, {}, resamples=20)
    low, high = comparison.values["forget_uds"]["unlearned"].interval
    assert low < found["unlearned"].metrics["forget_uds"] < high
    assert UDSEvaluation.direction("forget_uds") == "higher"


def test_wrong_answers_play_no_part(folders, tmp_path):
    class WithOthers(kit.Questions):
        def load_splits(self):
            others = {
                "paraphrased_answer": "Yes, so it is said.",
                "perturbed_answer": ["No.", "In the harbour, twice."],
            }
            return {"forget": [row | others for row in kit.rows("Forget", 6)]}

    alone = run(folders, folders["unlearned"], tmp_path / "alone.json")
    beside = run(folders, folders["unlearned"], tmp_path / "beside.json", WithOthers(eval_batch_size=1))
    assert beside.metrics == pytest.approx(alone.metrics, rel=1e-4)
    assert beside.per_example["forget"].keys() == alone.per_example["forget"].keys()


def test_the_retain_model_is_measured_once(folders, tmp_path, monkeypatch):
    cache = tmp_path / "depth" / "drops.safetensors"
    first = run(folders, folders["unlearned"], tmp_path / "first.json", cache=str(cache), picture=False)
    assert not (tmp_path / "uds_forget.png").exists()
    written = cache.read_bytes()
    asked = []
    from unlearn_pl.metrics.proof import core_drops

    measure = core_drops.layer_states
    monkeypatch.setattr(core_drops, "layer_states", lambda model, batch: asked.append(1) or measure(model, batch))
    second = run(folders, folders["unlearned"], tmp_path / "second.json", cache=str(cache), picture=False)
    assert len(asked) == 1  # one batch of six answers, through the unlearned model alone
    assert cache.read_bytes() == written
    assert second.metrics == first.metrics
    # of other questions, only what is missing is measured, and kept
    more = kit.Questions(eval_batch_size=5)
    third = run(folders, folders["unlearned"], tmp_path / "third.json", more, cache=str(cache), splits=["retain"])
    assert len(asked) == 3
    assert len(cache.read_bytes()) > len(written)
    assert third.metrics.keys() == {"retain_uds", "retain_encoded"}


def test_a_cache_of_other_models_or_a_changed_one_raises(folders, tmp_path):
    cache = tmp_path / "drops.safetensors"
    run(folders, folders["unlearned"], tmp_path / "a.json", cache=str(cache), picture=False)
    swapped = folders | {"full": folders["unlearned"]}
    with pytest.raises(ValueError, match="made from something else: full differ"):
        run(swapped, folders["unlearned"], tmp_path / "b.json", cache=str(cache), picture=False)
    content = bytearray(cache.read_bytes())
    content[-3] ^= 1
    cache.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="changed after it was written"):
        run(folders, folders["unlearned"], tmp_path / "c.json", cache=str(cache), picture=False)


def test_without_a_layer_that_holds_an_answer_there_is_a_warning(folders, tmp_path):
    same = folders | {"retain": folders["full"]}
    with pytest.warns(UserWarning, match=r"forget_uds is not computed: .* full and retain are not the same"):
        results = run(same, folders["unlearned"], tmp_path / "r.json", expect="always")
    assert results.metrics == {"forget_encoded": 0.0}
    assert not (tmp_path / "uds_forget.png").exists()


def test_models_of_other_sizes_raise(folders, tmp_path):
    deep = tmp_path / "deep"
    save_pretrained(far(4, layers=3), deep, kit.tokenizer())
    with pytest.raises(ValueError, match=r"numbers of decoder layers .* are .*'retain': 2, 'evaluated': 3"):
        run(folders, str(deep), tmp_path / "r.json")
    with pytest.raises(ValueError, match=r"widths of the models are .*'a': 32, 'b': 16"):
        check_depths({"a": far(1), "b": far(1, width=16)})


def test_named_spans_are_read(folders, tmp_path):
    class Marked(kit.Questions):
        def load_splits(self):
            return {"forget": [row | {"span": row["answer"][:8]} for row in kit.rows("Forget", 3)]}

    marked = run(folders, folders["unlearned"], tmp_path / "m.json", Marked(), threshold=0.0)
    ruled = run(folders, folders["unlearned"], tmp_path / "r.json", threshold=0.0)
    assert marked.per_example["forget"]["drop_1"][0] != ruled.per_example["forget"]["drop_1"][0]
    assert json.loads((tmp_path / "m.json").read_text())["benchmark"] == read_results(tmp_path / "m.json").benchmark


@pytest.mark.parametrize(
    ("options", "says"), [({"threshold": -1}, "threshold=-1"), ({"splits": "forget"}, "list of names")]
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        UDSEvaluation("a", "b", **options)


def test_a_split_that_is_not_loaded_raises(folders, tmp_path):
    with pytest.raises(ValueError, match="idiosyncrasies"):
        run(folders, folders["unlearned"], tmp_path / "r.json", splits=["idiosyncrasies"])


def test_a_trial_run_writes_nothing(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation = UDSEvaluation(folders["full"], folders["retain"], cache="drops.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = kit.trainer(callbacks=[evaluation], fast_dev_run=True)
        trainer.test(PretrainedModule(folders["unlearned"]), kit.Questions(), verbose=False)
    assert evaluation.results.metrics
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
