"""What a module says about every scored token, against the full logits of one sequence at a time."""

import pytest
import torch

from tests import kit
from tests.models.language.test_forward import LENGTHS, make_batch
from unlearn_pl.models.language.generation import cut
from unlearn_pl.modules import PretrainedModule

ALL = frozenset({"logps", "greedy", "moments", "text"})


class Module(PretrainedModule):
    """Decodes without a Trainer."""

    def __init__(self, model, tokenizer) -> None:
        super().__init__(model)
        self.given = tokenizer

    def load_tokenizer(self):
        return self.given


@pytest.fixture
def module(tiny_model, tokenizer):
    return Module(tiny_model(dtype=torch.float64), tokenizer)


def test_details_equal_the_softmax_of_every_position(module, tokenizer):
    batch = make_batch()
    score = module.score(batch, ALL)
    for row, (prompt, length) in enumerate(LENGTHS):
        ids = batch["input_ids"][row, :length]
        logps = module.model(ids[None]).logits[0].log_softmax(-1).detach()
        scored = score["mask"][row]
        assert scored.nonzero().flatten().tolist() == list(range(prompt - 1, length - 1))
        for position in range(prompt - 1, length - 1):
            table, label = logps[position], ids[position + 1]
            mean = (table.exp() * table).sum()
            assert score["greedy"][row, position].item() == float(table.argmax() == label)
            assert score["logps"][row, position].item() == pytest.approx(table[label].item(), abs=1e-10)
            assert score["mean"][row, position].item() == pytest.approx(mean.item(), abs=1e-10)
            variance = (table.exp() * (table - mean) ** 2).sum()
            assert score["variance"][row, position].item() == pytest.approx(variance.item(), abs=1e-10)
        assert score["text"][row] == tokenizer.decode(ids[prompt:], skip_special_tokens=True)
        assert score["nll"][row].item() == pytest.approx(-score["logps"][row].sum().item(), abs=1e-10)


def test_without_details_a_score_is_what_it_was(module):
    plain, detailed = module.score(make_batch()), module.score(make_batch(), ALL)
    assert set(plain) == {"index", "choice", "nll", "num_tokens"}
    for name, value in plain.items():
        assert torch.equal(value, detailed[name])


@pytest.mark.parametrize("details", [{"greedy"}, {"moments"}, {"logps"}, {"text"}, {"greedy", "text"}])
def test_details_do_not_depend_on_what_else_is_asked_for(module, details):
    some, every = module.score(make_batch(), frozenset(details)), module.score(make_batch(), ALL)
    columns = {"greedy": ["greedy"], "moments": ["mean", "variance"], "text": ["text"], "logps": []}
    names = {"index", "choice", "nll", "num_tokens", "logps", "mask"}.union(*(columns[detail] for detail in details))
    assert set(some) == names
    for name in names - {"text"}:
        assert torch.equal(some[name], every[name])
    assert some.get("text", every["text"]) == every["text"]


def test_the_models_own_tokenizer_is_loaded_once(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    module = PretrainedModule(str(tmp_path))
    module.trainer = kit.trainer()
    loaded = module.load_tokenizer()
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert module.load_tokenizer() is loaded


def test_wishes_add_up_until_the_next_evaluation(module):
    module.wish(1, frozenset({"greedy"}))
    module.wish(1, frozenset({"moments"}), 5, ["end"])
    module.wish(1)
    batch = make_batch()
    assert {"greedy", "mean"} < set(module.validation_step(batch, 0, 1))
    assert set(module.validation_step(batch, 0, 0)) == {"index", "choice", "nll", "num_tokens"}
    with pytest.raises(ValueError, match=r"different generations from dataloader 1: .*\(5, \('end',\)\) and \(6, "):
        module.wish(1, max_new_tokens=6)
    module.on_test_start()
    assert set(module.validation_step(batch, 0, 1)) == {"index", "choice", "nll", "num_tokens"}


def test_only_what_is_read_is_computed(module):
    batch = make_batch() | {"choice": torch.tensor([0, 1, 0, 2])}
    whole = module.score(batch, ALL)
    module.wish(0, reads="nothing")
    assert module.validation_step(batch, 0, 0) is None
    module.wish(0, frozenset({"greedy"}), reads="answers")
    module.wish(0, reads="nothing")
    some = module.validation_step(batch, 0, 0)
    answers = batch["choice"] == 0
    assert torch.equal(some["index"], batch["index"][answers])
    torch.testing.assert_close(some["nll"], whole["nll"][answers], rtol=1e-12, atol=0)
    assert (some["greedy"].sum(dim=-1) == whole["greedy"][answers].sum(dim=-1)).all()
    module.wish(0, reads="candidates")
    assert torch.equal(module.validation_step(batch, 0, 0)["nll"], whole["nll"])
    assert torch.equal(module.validation_step(batch, 0, 1)["nll"], whole["nll"])  # of which nobody said anything


def test_batches_without_an_answer_keep_a_row(module):
    batch = make_batch() | {"choice": torch.ones(len(LENGTHS), dtype=torch.long)}
    module.wish(0, reads="answers")
    assert module.validation_step(batch, 0, 0)["choice"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        (" In Osk.\n\nQuestion: Who", ["\n\n", "Question:"], " In Osk."),
        ("Question: Who", ["\n\n", "Question:"], ""),
        ("In Osk.", ["\n\n"], "In Osk."),
        ("a b c", ["c", "b"], "a "),
        ("a b", [], "a b"),
    ],
)
def test_text_is_cut_at_the_first_stop(text, stop, expected):
    assert cut(text, stop) == expected
