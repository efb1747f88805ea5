"""Attacks with a reference model and with gradients, against one answer at a time and scikit-learn's AUC."""

import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from sklearn.metrics import roc_auc_score

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits, token_scores, trained_model
from unlearn_pl.callbacks import MoreAttacks, MUSEEvaluation, TOFUEvaluation
from unlearn_pl.data import default_template, encode
from unlearn_pl.functional import auc, bootstrap_interval
from unlearn_pl.models import CausalLM, tiny_llama
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

pytestmark = [
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
    pytest.mark.filterwarnings("ignore:model_utility is not computed"),
    pytest.mark.filterwarnings("ignore:privleak compares with chance"),
]

TOFU, MUSE = ("forget", "holdout"), ("privleak_forget", "privleak_holdout")


def run(evaluation, splits, entry="test", model=None, **options):
    module = PretrainedModule(model or trained_model(), max_new_tokens=2)
    trainer = kit.trainer(callbacks=[evaluation], precision="64-true", limit_val_batches=1.0)
    return getattr(trainer, entry)(module, Splits(list(splits), **options), verbose=False)[0]


def sequences(split: str) -> list[tuple[list[int], int]]:
    """Tokens of every answer or text, and where the scored ones begin."""
    tokenizer, rows = kit.tokenizer(), evaluated.SPLITS[split]()
    if split in MUSE:
        return [(list(tokenizer(row.text)["input_ids"]), 1) for row in rows]
    examples = [encode(tokenizer, default_template(tokenizer), row["question"], row["answer"]) for row in rows]
    return [(example.input_ids, example.prompt_length) for example in examples]


def norms(ids: list[int], start: int) -> list[torch.Tensor]:
    """Norm of the gradient of the mean NLL, parameter by parameter."""
    model = trained_model()
    logits = model(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1]
    torch.nn.functional.cross_entropy(logits, torch.tensor(ids[start:])).backward()
    return [parameter.grad.norm() for parameter in model.parameters()]


def total(parts: list[torch.Tensor]) -> float:
    return torch.stack(parts).square().sum().sqrt().item()


def reference_model():
    return kit.model(seed=8, dtype=torch.float64).eval()


@pytest.mark.parametrize(("evaluate", "splits"), [(TOFUEvaluation, TOFU), (MUSEEvaluation, MUSE)])
@pytest.mark.parametrize("eval_batch_size", [1, 4])
def test_attacks_by_their_formulas(tmp_path, evaluate, splits, eval_batch_size):
    attacks = MoreAttacks(reference_model(), gradient_norm=True)
    evaluation = evaluate(output=str(tmp_path / "a.json"), more_attacks=attacks)
    logged = run(evaluation, splits, eval_batch_size=eval_batch_size)
    results = read_results(tmp_path / "a.json")
    expected: dict[str, list[list[float]]] = {"reference": [], "gradient_norm": []}
    for split in splits:
        texts = sequences(split)
        expected["gradient_norm"].append([total(norms(*text)) for text in texts])
        losses = [
            [token_scores(model, *text)["loss"] for text in texts] for model in (trained_model(), reference_model())
        ]
        expected["reference"].append([ours - theirs for ours, theirs in zip(*losses, strict=True)])
    for attack, (members, others) in expected.items():
        for split, values in zip(splits, (members, others), strict=True):
            assert results.per_example[split][attack] == pytest.approx(dict(enumerate(values)), rel=1e-9)
        area = roc_auc_score([0] * len(members) + [1] * len(others), members + others)
        assert results.metrics[f"auc_{attack}"] == pytest.approx(area, rel=1e-12)
        assert logged[f"test/{evaluation.benchmark}/auc_{attack}"] == results.metrics[f"auc_{attack}"]
        low, high = (results.metrics[f"auc_{attack}_{end}"] for end in ("low", "high"))
        assert (low, high) == bootstrap_interval(auc, members, others)
    assert "privacy" not in results.metrics  # without a retain model


def test_openunlearning_takes_the_mean_of_norms_and_leaves_out_the_last_label(tmp_path):
    attacks = MoreAttacks(gradient_norm=True)
    evaluation = TOFUEvaluation(output=str(tmp_path / "a.json"), compat="openunlearning", more_attacks=attacks)
    run(evaluation, TOFU)
    expected = [torch.stack(norms(ids[:-1], start)).mean().item() for ids, start in sequences("holdout")]
    found = evaluation.results.per_example["holdout"]["gradient_norm"]
    assert found == pytest.approx(dict(enumerate(expected)), rel=1e-9)


def test_validation_makes_none_of_them():
    evaluation = TOFUEvaluation(more_attacks=MoreAttacks(reference_model(), gradient_norm=True))
    logged = run(evaluation, TOFU, entry="validate")
    assert "val/tofu/auc_loss" in logged
    assert not [name for name in logged if "reference" in name or "gradient" in name or "low" in name]


def test_frozen_parameters_do_not_count_and_gradients_are_left_alone(tmp_path):
    model = trained_model()
    model.model.requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    evaluation = TOFUEvaluation(output=str(tmp_path / "a.json"), more_attacks=MoreAttacks(gradient_norm=True))
    run(evaluation, TOFU, model=model)
    trained = [i for i, parameter in enumerate(model.parameters()) if parameter.requires_grad]
    expected = [total([norms(*text)[i] for i in trained]) for text in sequences("forget")]
    assert evaluation.results.per_example["forget"]["gradient_norm"] == pytest.approx(
        dict(enumerate(expected)), rel=1e-9
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_folder_and_a_specification_name_the_same_reference(tmp_path):
    reference_model().float().save_pretrained(tmp_path / "hf")
    tables = []
    for reference in (str(tmp_path / "hf"), CausalLM(str(tmp_path / "hf"), dtype="float32")):
        evaluation = TOFUEvaluation(output=str(tmp_path / "a.json"), more_attacks=MoreAttacks(reference))
        run(evaluation, TOFU)
        tables.append(evaluation.results.per_example["forget"]["reference"])
        recorded = evaluation.results.config["evaluation"]["init_args"]["more_attacks"]["init_args"]
        assert str(tmp_path / "hf") in str(recorded["reference"])
    assert tables[0] == tables[1]


def test_a_reference_with_fewer_tokens_is_refused():
    small = tiny_llama(20, hidden_size=16, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="The reference model has 20 token embeddings, but the tokenizer has"):
        run(MUSEEvaluation(more_attacks=MoreAttacks(small)), MUSE)


def test_a_live_reference_model_is_left_as_it_was(tmp_path):
    given = reference_model().train()
    given.lm_head.requires_grad_(False)
    given.model.layers[0].eval()
    before = [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in given.modules()]
    evaluation = TOFUEvaluation(output=str(tmp_path / "a.json"), more_attacks=MoreAttacks(given))
    run(evaluation, TOFU)
    assert before == [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in given.modules()]
    assert all(parameter.grad is None for parameter in given.parameters())
    other = TOFUEvaluation(output=str(tmp_path / "b.json"), more_attacks=MoreAttacks(reference_model()))
    run(other, TOFU)  # in evaluation mode from the beginning
    assert evaluation.results.per_example["forget"]["reference"] == other.results.per_example["forget"]["reference"]


def test_gradients_of_frozen_models_are_refused():
    frozen = trained_model().requires_grad_(False)
    with pytest.raises(ValueError, match=r"gradient-norm attack needs trained parameters.* are frozen"):
        run(TOFUEvaluation(more_attacks=MoreAttacks(gradient_norm=True)), TOFU, model=frozen)
    frozen.unused = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="depends on none of the 2 that are trained"):
        run(TOFUEvaluation(more_attacks=MoreAttacks(gradient_norm=True)), TOFU, model=frozen)


def test_gradients_of_sharded_models_are_refused():
    trainer = kit.trainer()
    trainer.strategy.__class__ = ModelParallelStrategy
    with pytest.raises(ValueError, match="gradient_norm=True needs the whole model on a device"):
        MoreAttacks(gradient_norm=True).prepare(trainer, PretrainedModule(kit.model()))


def test_shadow_models_judge_example_by_example(tmp_path):
    shadows = [kit.model(seed=seed, dtype=torch.float64) for seed in (8, 9, 10)]
    evaluation = TOFUEvaluation(output=str(tmp_path / "r.json"), more_attacks=MoreAttacks(shadows=shadows))
    run(evaluation, TOFU, eval_batch_size=1)

    def confidence(model, ids, start):
        logps = model.eval()(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1].log_softmax(-1)
        mean = logps.gather(-1, torch.tensor(ids[start:])[:, None]).mean().item()
        return mean - torch.log1p(-torch.tensor(mean, dtype=torch.float64).exp()).item()

    for split in TOFU:
        for index, (ids, start) in enumerate(sequences(split)):
            with torch.no_grad():
                own = confidence(trained_model(), ids, start)
                others = torch.tensor([confidence(m, ids, start) for m in shadows], dtype=torch.float64)
            expected = (others.mean() - own) / others.std().clamp(min=0.1)
            found = evaluation.results.per_example[split]["likelihood_ratio"][index]
            assert found == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)
    assert 0 <= evaluation.results.metrics["auc_likelihood_ratio"] <= 1
    assert TOFUEvaluation.direction("auc_likelihood_ratio") == "retain"


@pytest.mark.parametrize(
    "models", [{"shadows": ["a"]}, {"shadows": ["a", "b"], "shadows_within": ["c"]}, {"shadows_within": ["a", "b"]}]
)
def test_too_few_shadow_models_raise(models):
    with pytest.raises(ValueError, match="none or at least two of each"):
        MoreAttacks(**models)
