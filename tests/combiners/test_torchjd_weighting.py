"""TorchJD's weightings behind our base class: closed forms and defining properties, safeguards, randomness, memory."""

import io
import sys

import pytest
import torch

from unlearn_pl.combiners import TorchJD
from unlearn_pl.combiners.torchjd_weighting import WEIGHTINGS
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.recording import record, unrecordable

aggregation = pytest.importorskip("torchjd.aggregation")
ARGUMENTS = {"CAGrad": {"c": 0.4}, "FairGrad": {"alpha": 1.0}, "Krum": {"n_byzantine": 0}}
UNDER_GPL = {"DualProj", "UPGrad"}
FREE = sorted(set(WEIGHTINGS) - UNDER_GPL)


class Spy(aggregation.Weighting):
    """Keeps what it was asked, and answers with a constant."""

    asked = ()

    def __init__(self, answer: float = 1.0) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, gramian):
        Spy.asked = (*Spy.asked, gramian)
        return torch.full((len(gramian),), self.answer, dtype=torch.float32)


def make_combiner(weighting, arguments=None, size=3, **options):
    combiner = TorchJD(weighting, ARGUMENTS.get(weighting) if arguments is None else arguments, **options)
    combiner.setup([f"objective{k}" for k in range(size)], ["forget"] + ["retain"] * (size - 1))
    return combiner


def random_rows(size=3, seed=0, norms=None):
    rows = torch.randn(size, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if norms is not None:
        rows *= (torch.tensor(norms, dtype=torch.float64) / rows.norm(dim=1)).unsqueeze(1)
    return rows


def answer(combiner, rows):
    return combiner(rows @ rows.T, torch.ones(len(rows)))


def unit_weights(combiner, rows):
    """What the weighting said about the unit gradients."""
    norms = rows.norm(dim=1)
    return answer(combiner, rows) * norms / norms.mean(), rows / norms.unsqueeze(1)


# ---- the rules


@pytest.mark.parametrize("cosine", [-0.99, -0.3, 0.0, 0.6])
def test_pcgrad_of_two_in_closed_form(cosine):
    """g_1 - min(c, 0) g_2 + g_2 - min(c, 0) g_1 for unit gradients."""
    rows = torch.tensor([[2.0, 0.0], [5 * cosine, 5 * (1 - cosine**2) ** 0.5]], dtype=torch.float64)
    share = 1 - min(cosine, 0.0)
    expected = torch.tensor([share * 3.5 / 2, share * 3.5 / 5], dtype=torch.float64)
    torch.testing.assert_close(answer(make_combiner("PCGrad", size=2), rows), expected)


def test_pcgrad_on_raw_gradients():
    a, b = torch.tensor([3.0, 0.0], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    expected = (a - (a @ b) / (b @ b) * b) + (b - (a @ b) / (a @ a) * a)
    rows = torch.stack([a, b])
    step = answer(make_combiner("PCGrad", size=2, normalization="none"), rows) @ rows
    torch.testing.assert_close(step, expected)


@pytest.mark.parametrize("seed", range(5))
def test_imtlg_projects_equally_on_all(seed):
    weights, units = unit_weights(make_combiner("IMTLG"), random_rows(seed=seed, norms=[1.0, 1e-4, 30.0]))
    projections = units @ (weights @ units)
    torch.testing.assert_close(projections, projections[:1].expand(3))
    assert weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_aligned_mtl_is_the_mean_of_the_nearest_orthogonal_system(seed):
    weights, units = unit_weights(make_combiner("AlignedMTL"), random_rows(seed=seed))
    left, values, right = torch.linalg.svd(units, full_matrices=False)
    torch.testing.assert_close(weights @ units, values[-1] * (left @ right).mean(dim=0))


@pytest.mark.parametrize("cosine", [-0.8, -0.1, 0.5])
def test_cagrad_of_two_is_the_best_on_a_grid(cosine):
    rows = torch.tensor([[2.0, 0.0], [0.1 * cosine, 0.1 * (1 - cosine**2) ** 0.5]], dtype=torch.float64)
    weights, units = unit_weights(make_combiner("CAGrad", size=2), rows)
    mean = units.mean(dim=0)
    shares = torch.linspace(0, 1, 4001, dtype=torch.float64)
    candidates = torch.stack([shares, 1 - shares], dim=1) @ units
    radius = 0.4 * mean.norm()
    best = candidates[(candidates @ mean + radius * candidates.norm(dim=1)).argmin()]
    torch.testing.assert_close(weights @ units, mean + radius * best / best.norm(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fairgrad_solves_its_equation(alpha):
    weights, units = unit_weights(make_combiner("FairGrad", {"alpha": alpha}), random_rows(norms=[1.0, 1e-4, 3.0]))
    torch.testing.assert_close(units @ (weights @ units), weights ** (-1 / alpha), rtol=1e-4, atol=0)


def test_pcd_meets_its_optimality_conditions():
    """d = g_1 + sum_j m_j g_j with g_j . d >= tau and m_j >= 0, one of them with equality."""
    binding = 0
    for seed in range(10):
        weights, units = unit_weights(make_combiner("PCD", {"tau": 0.1, "eps": 0.0}), random_rows(seed=seed))
        assert (weights @ units).norm().item() == pytest.approx(1.0)
        multipliers = weights / weights[0]
        slack = units[1:] @ (multipliers @ units) - 0.1
        assert (slack > -1e-8).all()
        assert (multipliers[1:] >= 0).all()
        assert (slack * multipliers[1:]).abs().max() < 1e-8
        binding += int((multipliers[1:] > 0).sum())
    assert binding > 0


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("norms", [[1.0, 1e-4, 1e2], [1e-8, 1e-9, 1e-12]])
def test_norms_do_not_change_the_rule(name, norms):
    """Also far below and above TorchJD's absolute tolerances."""
    options = {"min_relative_norm": 0.0}
    small, _ = unit_weights(make_combiner(name, **options), random_rows(norms=norms))
    usual, _ = unit_weights(make_combiner(name, **options), random_rows(norms=[1.0, 1.0, 1.0]))
    torch.testing.assert_close(small, usual, rtol=1e-6, atol=1e-8)


# ---- what reaches TorchJD, and what comes back


def test_zero_and_non_finite_gradients_never_reach_torchjd():
    Spy.asked = ()
    rows = random_rows(5)
    rows[1] = 0.0
    gramian = rows @ rows.T
    gramian[3, :] = gramian[:, 3] = torch.nan
    weights = make_combiner(Spy(), size=5)(gramian, torch.ones(5))
    (seen,) = Spy.asked
    units = rows[[0, 2, 4]] / rows[[0, 2, 4]].norm(dim=1, keepdim=True)
    torch.testing.assert_close(seen, units @ units.T)
    assert (seen.dtype, seen.device.type) == (torch.float64, "cpu")
    assert (weights != 0).tolist() == [True, False, True, False, True]
    assert weights.dtype == torch.float64


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_skip_the_step(bad):
    assert answer(make_combiner(Spy(bad)), random_rows()).tolist() == [0.0] * 3


def test_one_live_objective_is_followed_as_it_is():
    Spy.asked = ()
    combiner = make_combiner(Spy(), satisfied=dict.fromkeys(["objective0", "objective1"], 2.0))
    assert answer(combiner, random_rows()).tolist() == [0.0, 0.0, 1.0]
    assert Spy.asked == ()


# ---- randomness


@pytest.mark.parametrize("name", ["PCGrad", "GradVac", "Random"])
def test_draws_depend_on_seed_and_step_alone(name):
    rows = random_rows(4, seed=3)
    gramian = -0.2 * torch.ones(4, 4, dtype=torch.float64) + 1.2 * torch.eye(4) + 0.01 * rows @ rows.T

    def draws(seed):
        combiner = make_combiner(name, size=4, seed=seed)
        return torch.stack([combiner(gramian, torch.ones(4)) for _ in range(6)])

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = draws(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(draws(0), first)
    assert not torch.equal(draws(1), first)
    assert len(first.unique(dim=0)) > 1


# ---- memory

STATEFUL = [
    ("GradVac", None, {}),
    ("PCD", {"beta": 0.7, "tau": 0.3}, {"normalization": "none"}),
    ("PCGrad", None, {"smoothing": 0.8}),
    ("GradVac", {"beta": 0.3}, {"smoothing": 0.5}),
    ("Random", None, {}),
]


def conflicting(steps, blocks=None, size=3):
    """Gramians of gradients with a common part that conflicts, of changing lengths."""
    generator = torch.Generator().manual_seed(7)
    shape = (steps, size, 6) if blocks is None else (steps, blocks, size, 6)
    rows = torch.randn(shape, generator=generator, dtype=torch.float64)
    rows[..., 0, :] -= rows[..., 1, :]
    return rows @ rows.transpose(-1, -2)


@pytest.mark.parametrize("blocks", [None, 2])
@pytest.mark.parametrize(("name", "arguments", "options"), STATEFUL)
def test_state_resumes_exactly(name, arguments, options, blocks):
    gramians = conflicting(10, blocks)
    gramians[3, ..., 2, :] = gramians[3, ..., :, 2] = 0.0  # two objectives at step 3, three before and after
    losses = torch.ones(3)
    whole, first, resumed, fresh = (make_combiner(name, arguments, **options) for _ in range(4))
    expected = [whole(gramian, losses) for gramian in gramians]
    for gramian in gramians[:6]:
        first(gramian, losses)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for gramian, weights in zip(gramians[6:], expected[6:], strict=True):
        assert torch.equal(resumed(gramian, losses), weights)
        assert torch.equal(first(gramian, losses), weights)
    assert not torch.equal(fresh(gramians[6], losses), expected[6])  # there was something to remember


def test_the_state_is_a_copy():
    combiner, losses = make_combiner("GradVac", size=2), torch.ones(2)
    gramians = conflicting(3, size=2)
    combiner(gramians[0], losses)
    state = combiner.state_dict()
    saved = state["memories"][0][""]["_phi_t"].clone()
    combiner(gramians[1], losses)
    assert torch.equal(state["memories"][0][""]["_phi_t"], saved)
    combiner.load_state_dict(state)
    combiner(gramians[2], losses)
    assert torch.equal(state["memories"][0][""]["_phi_t"], saved)


@pytest.mark.parametrize(("name", "options"), [("GradVac", {}), ("IMTLG", {"smoothing": 0.9}), ("PCD", {})])
def test_memory_starts_anew_when_those_who_take_part_change(name, options):
    gramians, losses = conflicting(4), torch.ones(3)
    pair = gramians[3].clone()
    pair[2, :] = pair[:, 2] = 0.0
    used, fresh = make_combiner(name, **options), make_combiner(name, **options)
    for gramian in gramians[:3]:
        used(gramian, losses)
    assert torch.equal(used(pair, losses), fresh(pair, losses))
    other = gramians[3].clone()
    other[1, :] = other[:, 1] = 0.0  # again two, but others
    fresh = make_combiner(name, **options)
    assert torch.equal(used(other, losses), fresh(other, losses))


def test_every_block_has_a_memory_of_its_own():
    gramians, losses = conflicting(5, blocks=2, size=2), torch.ones(2)
    together = make_combiner("GradVac", size=2)
    alone = [make_combiner("GradVac", size=2) for _ in range(2)]
    for step in gramians:
        weights = together(step, losses)
        for block in range(2):
            torch.testing.assert_close(weights[block], alone[block](step[block], losses))


def test_smoothing_is_a_moving_average():
    gramians, losses = conflicting(4, size=2), torch.ones(2)
    plain, smooth = (make_combiner("AlignedMTL", size=2, normalization="none", smoothing=s) for s in (None, 0.6))
    average = None
    for gramian in gramians:
        now = plain(gramian, losses)
        average = now if average is None else 0.6 * average + 0.4 * now
        torch.testing.assert_close(smooth(gramian, losses), average)


def test_a_live_weighting_is_left_as_it_is():
    live = aggregation.GradVacWeighting()
    answer(make_combiner(live), random_rows())
    assert live._phi_t is None


# ---- names and arguments


def test_the_names_are_torchjds_weightings_of_gramians():
    from torchjd.aggregation._weighting_bases import _GramianWeighting

    public = {name: getattr(aggregation, name) for name in aggregation.__all__}
    of_gramians = {name.removesuffix("Weighting") for name, cls in public.items() if issubclass(cls, _GramianWeighting)}
    assert set(WEIGHTINGS) == of_gramians | {"Mean", "Random", "Sum"}  # the last three look at the size only


@pytest.mark.parametrize("name", FREE)
def test_every_name_gives_finite_weights(name):
    weights = answer(make_combiner(name, size=4), random_rows(4))
    assert weights.isfinite().all()
    assert weights.any()


@pytest.mark.parametrize("name", sorted(UNDER_GPL))
def test_missing_packages_are_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "quadprog", None)
    with pytest.raises(ValueError, match=r"quadprog.*its own DualProj and UPGrad"):
        TorchJD(name)


def test_missing_torchjd_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ValueError, match=r"unlearn_pl\[torchjd\]"):
        TorchJD("PCGrad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "PCGrid"}, "'PCGrid'; accepted: AlignedMTL, CAGrad"),
        ({"weighting": "Constant"}, "'Constant'; accepted"),
        ({"weighting": "CAGrad"}, "do not fit TorchJD's CAGrad.*'c'"),
        ({"weighting": "PCGrad", "arguments": {"c": 1.0}}, "do not fit TorchJD's PCGrad"),
        ({"weighting": "PCD", "arguments": {"tau": 2.0}}, "tau"),
        ({"weighting": Spy(), "arguments": {"c": 1.0}}, "live weighting"),
        ({"weighting": torch.nn.Identity()}, "Identity, but must be"),
        ({"weighting": "PCGrad", "smoothing": 1.0}, "smoothing is 1.0"),
        ({"weighting": "PCGrad", "normalization": "l1"}, "normalization"),
    ],
)
def test_constructor_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        TorchJD(**options)


def test_names_are_recorded_and_live_weightings_are_named():
    arguments = {"weighting": "PCD", "arguments": {"tau": 0.1}, "smoothing": 0.5, "satisfied": 0.2}
    assert record(TorchJD(**arguments))["init_args"] == arguments
    assert unrecordable(record({"combiner": TorchJD(aggregation.MeanWeighting())})) == ["combiner.weighting"]


def test_the_command_line_takes_a_name_and_arguments():
    command = ["fit", "--data=SyntheticAuthorsDataModule", "--model=GradDiff", "--model.model=m"]
    command += ["--model.combiner=TorchJD", "--model.combiner.weighting=CAGrad", "--model.combiner.arguments={c: 0.4}"]
    given = trainer_parser().parse_args(command).fit.model.init_args.combiner
    assert given.class_path == "unlearn_pl.combiners.TorchJD"
    assert (given.init_args.weighting, given.init_args.arguments) == ("CAGrad", {"c": 0.4})
