"""Lens, probe, ablation and soft prompt, against hidden states that transformers returns and arithmetic by hand."""

import pytest
import torch

from tests.families import make
from tests.robustness.attacks.test_relearning import encoded, probability
from tests.robustness.subjects import authors, make_folder, subject
from unlearn_pl.data import Row
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.models import decoder_layers, save_pretrained, tiny_llama
from unlearn_pl.models.layers.states import final_norm
from unlearn_pl.robustness import DirectionAblation, LinearProbe, LogitLens, SoftPrompt, Unattacked
from unlearn_pl.robustness.attacks.activations.answer_states import with_wrong_answers
from unlearn_pl.robustness.attacks.activations.direction_ablation import ablated
from unlearn_pl.robustness.attacks.activations.layers import chosen_layers, exit_after
from unlearn_pl.robustness.attacks.activations.soft_prompt import SoftEmbedding


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A model of two layers."""
    folder, tokenizer = tmp_path_factory.mktemp("deep") / "model", authors().tokenizer
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=2, num_heads=2, seed=3, tie=False)
    for parameter in model.parameters():  # random weights predict next to nothing otherwise
        parameter.data.mul_(4)
    save_pretrained(model, folder, tokenizer)
    return subject(str(folder), data=authors(max_eval_examples=4), max_new_tokens=2)


def test_the_lens_is_norm_and_head_on_the_state_of_a_layer(deep):
    model = deep.build()
    ids, _ = encoded(deep, deep.data.facts.forget[0])
    with torch.no_grad():
        outputs = model(input_ids=ids, output_hidden_states=True)
        for layer in (1, 2):
            state = outputs.hidden_states[layer]
            expected = model.lm_head(model.model.norm(state)) if layer < 2 else outputs.logits
            with exit_after(model, layer):
                torch.testing.assert_close(model(input_ids=ids).logits, expected)
        torch.testing.assert_close(model(input_ids=ids).logits, outputs.logits)  # the hooks are gone
    found = LogitLens().run(deep)
    rows = deep.data.facts.forget[:4]
    with exit_after(model, 1):
        first = probability(model, deep, rows)
    last = probability(model, deep, rows)
    assert found.after["forget_probability.1"] == pytest.approx(first, rel=1e-4)
    assert found.after["forget_probability.2"] == pytest.approx(last, rel=1e-4)
    assert found.after["forget_probability"] == pytest.approx(max(first, last), rel=1e-4)
    assert found.after["layer"] == 1 + (last > first)
    assert found.after["forget_probability_any_layer"] >= found.after["forget_probability"]
    assert len(found.rows["forget_probability"]) == 4
    assert LogitLens([2]).run(deep).after["forget_probability"] == found.after["forget_probability.2"]


@pytest.mark.parametrize("family", ["gpt2", "falcon", "mamba", "phi3"])
def test_the_norm_before_the_head_is_found_by_what_it_is_called_with(family):
    model = make(family, 50)
    ids = torch.arange(5).unsqueeze(0)
    with torch.no_grad():
        outputs = model(input_ids=ids, output_hidden_states=True)
        head, norm = model.get_output_embeddings(), final_norm(model)
        with exit_after(model, 1):
            early = model(input_ids=ids).logits
    place = 0 if family == "mamba" else 1  # whose states begin after the first layer
    torch.testing.assert_close(early, head(norm(outputs.hidden_states[place])))
    assert not torch.allclose(early, outputs.logits)


def test_layers_that_a_model_does_not_have_are_refused_with_its_depth(deep, folder):
    for attack in (LogitLens([1, 3]), LinearProbe([3]), DirectionAblation([0])):
        with pytest.raises(ValueError, match=r"has 2 layers\. Accepted are 1 to 2"):
            attack.check(deep)
    assert chosen_layers(None, subject(folder)) == [1]
    with pytest.raises(ValueError, match="at least one layer"):
        LogitLens([])


def test_a_probe_finds_a_planted_direction_and_guesses_noise():
    generator = torch.Generator().manual_seed(0)

    def states(questions, strength):
        noise = torch.randn(questions, 4, 6, generator=generator, dtype=torch.float64)
        noise[:, 0, 2] += strength
        return [group - group.mean(dim=0) for group in noise]

    probe = LinearProbe()
    assert sum(probe.hits(states(60, 6.0), states(100, 6.0))) > 90
    assert 10 < sum(probe.hits(states(60, 0.0), states(100, 0.0))) < 45
    assert probe.hits([torch.zeros(4, 6, dtype=torch.float64)], [torch.zeros(4, 6, dtype=torch.float64)]) == [0.25]


def test_a_probe_is_ridge_regression_on_mean_states(deep):
    attack = LinearProbe([1])
    attack.check(deep)
    found = attack.run(deep)
    model, parts = deep.build(), {}
    for split in ("retain", "forget"):
        groups = []
        for row in getattr(deep.data.facts, split)[:4]:
            states = []
            for answer in (row["answer"], *row["perturbed_answer"]):
                ids, labels = encoded(deep, {**row, "answer": answer})
                with torch.no_grad():
                    hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[1][0]
                states.append(hidden[labels[0] != -100].double().mean(dim=0))
            groups.append(torch.stack(states) - torch.stack(states).mean(dim=0))
        parts[split] = groups
    x = torch.cat(parts["retain"]).numpy()
    y = torch.cat([torch.eye(len(g), dtype=torch.float64)[0] - 1 / len(g) for g in parts["retain"]]).numpy()
    penalty = 0.1 * (x**2).mean() * len(x)
    weights = torch.linalg.lstsq(  # the same minimum, as least squares with rows for the penalty
        torch.cat([torch.tensor(x), penalty**0.5 * torch.eye(16, dtype=torch.float64)]),
        torch.cat([torch.tensor(y), torch.zeros(16, dtype=torch.float64)]),
    ).solution
    expected = [float((group @ weights).argmax() == 0) for group in parts["forget"]]
    assert found.rows["forget_probe_accuracy"] == expected
    assert found.after["forget_probe_accuracy"] == sum(expected) / 4
    assert found.after["forget_probe_chance"] == pytest.approx(1 / len(parts["forget"][0]))


def test_wrong_answers_are_borrowed_where_a_row_has_none(deep):
    rows = [Question(Row(question=f"Who is {x}?", answer=f"{x} it is.")) for x in "abc"]
    groups = with_wrong_answers(rows, deep, "a probe")
    assert [len(group) for group in groups] == [3, 3, 3]
    texts = [deep.tokenizer.decode(example.input_ids, skip_special_tokens=True) for example in groups[1]]
    assert texts[0].endswith("b it is.")
    assert {text[-8:] for text in texts[1:]} == {"a it is.", "c it is."}
    with pytest.raises(ValueError, match="none of the 2 rows has a wrong answer"):
        with_wrong_answers([rows[0], rows[0]], deep, "a probe")


def test_ablation_leaves_no_component_in_any_layer_and_keeps_the_bound(deep):
    model = deep.build()
    attack = DirectionAblation(utility_loss=0.0)
    direction = attack.directions(model, [1], deep)[0]
    means = []
    for split in ("forget", "retain"):
        states = []
        for row in getattr(deep.data.facts, split)[:4]:
            prompt = deep.tokenizer(f"Question: {row['question']}\nAnswer:")["input_ids"]
            with torch.no_grad():
                hidden = model(input_ids=torch.tensor([prompt]), output_hidden_states=True).hidden_states[1]
            states.append(hidden[0, -1].double())
        means.append(torch.stack(states).mean(dim=0))
    expected = (means[0] - means[1]) / (means[0] - means[1]).norm()
    torch.testing.assert_close(direction, expected, rtol=1e-4, atol=1e-5)
    seen = []
    with ablated(model, direction):
        hooks = [layer.register_forward_hook(lambda m, i, o: seen.append(o)) for layer in decoder_layers(model)]
        model(input_ids=torch.arange(6).unsqueeze(0))
    for hook in hooks:
        hook.remove()
    assert len(seen) == 2
    for states in seen:
        assert (states @ direction.float()).abs().max() < 1e-4 * states.abs().max()
    found = attack.run(deep)
    plain = Unattacked().run(deep).after
    assert found.after["utility_loss"] <= 0.0
    assert found.after["forget_probability"] >= plain["forget_probability"] * (1 - 1e-6)
    if found.after["layer"] == 0:
        assert found.after["forget_probability"] == plain["forget_probability"]


def test_a_soft_prompt_lowers_the_loss_of_the_rows_that_it_knows(deep):
    given = subject(deep.model, data=authors(), max_new_tokens=2)
    attack = SoftPrompt(vectors=4, steps=30, learning_rate=0.3, batch_size=2)
    found = attack.run(given)
    assert found.after["shown_probability"] > 1.2 * found.before["shown_probability"]
    assert len(found.rows["forget_probability"]) == 8
    assert attack.run(given).after == found.after
    none = SoftPrompt(vectors=1, steps=1, learning_rate=1e-9).run(given)
    assert none.before == found.before
    model = given.build()
    soft = SoftEmbedding(model.get_input_embeddings(), 2, seed=0)
    ids = torch.tensor([[0, 5, soft.ids[1], soft.ids[0]]])
    expected = torch.stack([*model.get_input_embeddings().weight[[0, 5]], soft.vectors[1], soft.vectors[0]])
    torch.testing.assert_close(soft(ids)[0], expected)


def test_attacks_that_find_no_row_say_so(deep, folder):
    from unlearn_pl.robustness import BenignNeighbours, RandomFraction

    with pytest.raises(ValueError, match="but 0 of 10 are shown"):
        SoftPrompt(BenignNeighbours(0.2)).check(subject(folder))
    with pytest.raises(ValueError, match="but 10 of 10 are shown"):
        SoftPrompt(RandomFraction(1.0)).check(subject(folder))
    with pytest.raises(ValueError, match="which has 0 rows"):
        LinearProbe().check(subject(folder, retain_split=None))
    with pytest.raises(ValueError, match="there is no retain split"):
        DirectionAblation().check(subject(folder, retain_split=None))


def test_no_attack_on_activations_changes_the_folder(tmp_path):
    from tests.robustness.test_audit import contents

    path = make_folder(tmp_path / "audited")
    before = contents(path)
    given = subject(path, data=authors(max_eval_examples=2), max_new_tokens=2)
    for attack in (LogitLens(), LinearProbe(), DirectionAblation(), SoftPrompt(vectors=1, steps=1)):
        attack.check(given)
        attack.run(given)
    assert contents(path) == before
