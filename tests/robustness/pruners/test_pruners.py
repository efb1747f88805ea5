"""Pruned models: exactly the share of the smallest scores, in every layout, the experts of mixtures included."""

import pytest
import torch

from tests.families import make
from tests.robustness.subjects import authors, make_folder, subject
from unlearn_pl.commands.attack import attack
from unlearn_pl.models import save_pretrained
from unlearn_pl.models.weight_layout import weight_matrices
from unlearn_pl.robustness import MagnitudePruner, PruningAttack, Quantization, WandaPruner, read_outcomes

FAMILIES = ["llama", "gpt2", "mixtral", "qwen3_moe", "gpt_oss"]


def saved(family, folder):
    save_pretrained(make(family, len(authors().tokenizer)), folder / family, authors().tokenizer)
    return subject(str(folder / family))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_loses_its_smallest_weights(tmp_path, family):
    given = saved(family, tmp_path)
    before, after = given.build(), MagnitudePruner(0.3).build(given)
    originals, pruned = dict(before.named_parameters()), weight_matrices(after)
    head = {id(p) for p in after.get_output_embeddings().parameters()}
    reached = [m for m in pruned.values() if id(m.parameter) not in head]
    assert any(m.parameter.dim() == 3 for m in reached) == (family not in ("llama", "gpt2"))
    for stack in reached:
        whole = stack.matrices(originals[stack.name])
        for old, new in zip(whole, stack.matrices(stack.parameter), strict=True):
            assert int((new == 0).sum()) == old.numel() - round(0.7 * old.numel())
            assert torch.equal(new[new != 0], old[new != 0])
            assert old[new == 0].abs().max() <= old[new != 0].abs().min()
    for name, parameter in after.named_parameters():
        if name not in {m.name for m in reached}:
            assert torch.equal(parameter, originals[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_wanda_ranks_within_each_output(tmp_path, family):
    given = saved(family, tmp_path)
    after = WandaPruner(0.5).build(given)
    head = {id(p) for p in after.get_output_embeddings().parameters()}
    for stack in weight_matrices(after).values():
        if id(stack.parameter) in head:
            continue
        for matrix in stack.matrices(stack.parameter):
            zeros = (matrix == 0).sum(1)
            assert zeros.tolist() == [matrix.shape[1] - round(0.5 * matrix.shape[1])] * len(matrix)


def test_wanda_weighs_by_the_inputs_of_retained_rows(tmp_path):
    given = saved("llama", tmp_path)
    model, seen = given.build(), []
    layer = model.model.layers[0].self_attn.q_proj
    layer.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    from unlearn_pl.data.evaluation.datasets import CandidateDataset

    rows = CandidateDataset("retain", given.retain[:3], given.encoder).right_answers()
    with torch.no_grad():
        for i in range(3):
            model.eval()(input_ids=torch.tensor([rows[i].input_ids]))
    scores = layer.weight.abs() * torch.cat(seen).square().sum(0).sqrt()
    kept = WandaPruner(0.25, examples=3).build(given).model.layers[0].self_attn.q_proj.weight != 0
    smallest_kept = torch.where(kept, scores, torch.inf).min(1).values
    largest_pruned = torch.where(kept, 0, scores).max(1).values
    assert bool((largest_pruned <= smallest_kept * (1 + 1e-5)).all())


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5])
def test_ratios_are_checked(ratio):
    with pytest.raises(ValueError, match="accepted: a share of the weights above 0 and below 1"):
        MagnitudePruner(ratio)


def test_wanda_needs_rows(tmp_path):
    with pytest.raises(ValueError, match="examples=0"):
        WandaPruner(examples=0)
    given = subject(make_folder(tmp_path), retain_split=None)
    with pytest.raises(ValueError, match="there is none; name retain_split"):
        PruningAttack(WandaPruner()).check(given)
    PruningAttack().check(given)


def test_the_command_prunes_and_leaves_the_folder_alone(tmp_path, capsys):
    folder = make_folder(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    attacks = [PruningAttack(), PruningAttack(WandaPruner(0.7)), Quantization()]
    attack(
        folder, authors(), attacks, output=str(tmp_path / "out"), accelerator="cpu", max_new_tokens=2, progress=False
    )
    printed = capsys.readouterr().out
    assert "PruningAttack (magnitude, 50%)" in printed
    assert "PruningAttack (Wanda, 70%)" in printed
    outcomes = read_outcomes(tmp_path / "out" / "attacks.json")
    assert {"forget_probability", "retain_probability"} <= outcomes[0].after.keys()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
