"""The cache by itself: what it holds, what it refuses, and what an interruption leaves."""

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from unlearn_pl.data.text.template import Example
from unlearn_pl.models import LoRA, stream_forward
from unlearn_pl.references import CachedReference, FrozenReference, ReferenceContext, StreamExamples
from unlearn_pl.references.cache import ReferenceCache, key_of, keys_of
from unlearn_pl.types import IGNORE_INDEX, TokenBatch, label_mask

LOGPS, LOGITS = frozenset({"ref_logps"}), frozenset({"logits", "ref_logits"})


def example(index: int, answer: int = 0) -> Example:
    """Lengths, prompts and tokens all differ; ``answer`` gives the same prompt another ending."""
    length, prompt = 5 + index % 7, 1 + index % 3
    ids = [(3 + 5 * index + 11 * t) % 250 for t in range(length)]
    return Example(ids[:-1] + [251 + answer] * (1 + answer), prompt, index)


EXAMPLES = [example(i) for i in range(9)] + [example(2, answer=1)]


def batch_of(examples, width: int = 0) -> TokenBatch:
    """Right-padded with a token that also occurs in answers."""
    width = max([width, *map(len, examples)])

    def padded(rows, value):
        return torch.tensor([row + [value] * (width - len(row)) for row in rows])

    return TokenBatch(
        input_ids=padded([e.input_ids for e in examples], 251),
        attention_mask=padded([[1] * len(e) for e in examples], 0),
        labels=padded([e.labels for e in examples], IGNORE_INDEX),
        index=torch.tensor([e.index for e in examples]),
    )


def context(model, folder, needs=LOGPS, examples=EXAMPLES, fingerprint="rows", **options) -> ReferenceContext:
    return ReferenceContext(
        model,
        lambda: pytest.fail("the trained model has the original weights"),
        stream_forward,
        **{
            "is_original": True,
            "needs": {"forget": needs, "retain": frozenset({"logits"})},
            "examples": lambda stream: StreamExamples(fingerprint, examples),
            "batch_size": 4,
            "folder": folder,
        }
        | options,
    )


def prepared(model, folder, needs=LOGPS, examples=EXAMPLES, top_k=64, **options) -> CachedReference:
    reference = CachedReference(top_k=top_k)
    reference.prepare(context(model, folder, needs, examples, **options))
    return reference


def completed(reference, model, batch):
    view = stream_forward(model, batch, LOGITS)
    reference.complete("forget", batch, LOGITS, view)
    return view


def perturb(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return model


class Counting(torch.nn.Module):
    """Fails when the model is run."""

    def forward(self, *_, **__):
        pytest.fail("the model was run")


def not_to_be_run(model):
    model.forward = Counting().forward
    return model


@pytest.fixture
def model(tiny_model):
    return tiny_model()


# What it holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 10])
def test_log_probs_are_those_of_a_frozen_copy(model, tmp_path, size):
    frozen = FrozenReference()
    frozen.prepare(ReferenceContext(model, lambda: copy.deepcopy(model), stream_forward))
    reference = prepared(model, tmp_path)
    perturb(model)
    for start in range(0, len(EXAMPLES), size):
        batch = batch_of(EXAMPLES[start : start + size], width=15)
        found = reference.annotate("forget", batch, LOGPS, model)
        expected = frozen.annotate("forget", batch, LOGPS, model)["ref_logps"]
        assert found.keys() == {"ref_logps"}
        assert found["ref_logps"].dtype == expected.dtype
        torch.testing.assert_close(found["ref_logps"], expected, rtol=0, atol=1e-6)
        assert not found["ref_logps"][~label_mask(batch["labels"])].any()


def test_a_double_precision_model_is_kept_as_it_is(tiny_model, tmp_path):
    model = tiny_model(dtype=torch.float64)
    reference, batch = prepared(model, tmp_path), batch_of(EXAMPLES)
    expected = stream_forward(model, batch, frozenset()).logps
    logps = reference.annotate("forget", batch, LOGPS, model)["ref_logps"]
    torch.testing.assert_close(logps, expected.detach(), rtol=0, atol=1e-12)


def test_the_whole_vocabulary_is_the_whole_distribution(model, tmp_path):
    batch = batch_of(EXAMPLES[:6])
    expected = torch.log_softmax(stream_forward(model, batch, LOGITS).logits.detach(), -1)
    reference = prepared(model, tmp_path, LOGITS, top_k=10_000)
    view = completed(reference, perturb(model), batch)
    torch.testing.assert_close(view.ref_logits[view.mask], expected[view.mask], rtol=0, atol=1e-5)
    assert not view.ref_logits[~view.mask].any()
    assert not view.ref_logits.requires_grad


def test_labels_are_exact_however_few_tokens_are_kept(model, tmp_path):
    batch = batch_of(EXAMPLES)
    reference = prepared(model, tmp_path, LOGITS | LOGPS, top_k=1)
    view = completed(reference, perturb(model), batch)
    ref_logps = reference.annotate("forget", batch, LOGITS | LOGPS, model)["ref_logps"]
    of_labels = torch.log_softmax(view.ref_logits, -1).gather(-1, view.labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(of_labels[view.mask], ref_logps[view.mask], rtol=0, atol=1e-5)


def test_only_what_is_needed_is_kept_and_given(model, tmp_path):
    reference = prepared(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["forget.safetensors"]
    assert set(load_file(tmp_path / "forget.safetensors")) == {"keys", "lengths", "logps"}
    assert reference.annotate("retain", batch_of(EXAMPLES), frozenset({"logits"}), model) == {}
    view = stream_forward(model, batch_of(EXAMPLES), frozenset())
    reference.complete("retain", batch_of(EXAMPLES), frozenset({"logits"}), view)
    assert view.ref_logits is None


def test_sizes_are_those_that_the_documentation_gives(model, tmp_path):
    prepared(model, tmp_path, LOGITS, top_k=8)
    kept = load_file(tmp_path / "forget.safetensors")
    scored = sum(len(e) - max(e.prompt_length, 1) for e in EXAMPLES)
    assert {name: value.nbytes // scored for name, value in kept.items() if name not in ("keys", "lengths")} == {
        "logps": 4, "tokens": 32, "top_logps": 32, "rest": 4,
    }  # fmt: skip


def test_keys_do_not_depend_on_padding_but_on_everything_else():
    plain, padded = keys_of(batch_of(EXAMPLES)), keys_of(batch_of(EXAMPLES, width=40))
    assert plain == padded == [key_of(e) for e in EXAMPLES]
    assert len(set(plain)) == len(EXAMPLES)
    first = EXAMPLES[0]
    others = [replace(first, index=8), replace(first, prompt_length=2), replace(first, input_ids=[*first.input_ids, 9])]
    assert len({key_of(e) for e in [first, *others]}) == 4


def test_the_model_is_left_as_it_was(model, tmp_path):
    model.model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    prepared(model, tmp_path, LOGITS)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_nothing_is_made_on_the_default_device(model, tmp_path):
    """Lightning sets it to the device of training while models are made."""
    with torch.device("meta"):
        reference = prepared(model, tmp_path, LOGITS | LOGPS)
    assert {value.device.type for value in reference._caches["forget"].values.values()} == {"cpu"}


def test_the_pass_runs_where_training_will_and_in_its_precision(model, tmp_path):
    def bf16():
        return torch.autocast("cpu", dtype=torch.bfloat16)

    batch = batch_of(EXAMPLES[:4])
    with bf16(), torch.no_grad():
        expected = stream_forward(model, batch, frozenset()).logps
    reference = prepared(model, tmp_path, examples=EXAMPLES[:4], autocast=bf16, precision="bf16-mixed")
    logps = reference.annotate("forget", batch, LOGPS, model)["ref_logps"]
    torch.testing.assert_close(logps, expected, rtol=0, atol=5e-3)
    exact = stream_forward(model, batch, frozenset()).logps
    assert (logps - exact).abs().max() > 1e-4
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):  # moved to a device that computes nothing
        prepared(model, tmp_path / "elsewhere", device=torch.device("meta"))
    assert {p.device.type for p in model.parameters()} == {"meta"}


# What is reused ------------------------------------------------------------------------------------------------------


def test_a_cache_is_computed_once(model, tmp_path):
    first = prepared(model, tmp_path, LOGITS | LOGPS)
    written = (tmp_path / "forget.safetensors").stat().st_mtime_ns
    second = prepared(not_to_be_run(model), tmp_path, LOGITS | LOGPS, EXAMPLES[::-1])
    fewer = prepared(model, tmp_path, LOGITS | LOGPS, EXAMPLES[:3])
    assert (tmp_path / "forget.safetensors").stat().st_mtime_ns == written
    for name, value in first._caches["forget"].values.items():
        assert torch.equal(value, second._caches["forget"].values[name])
        assert torch.equal(value, fewer._caches["forget"].values[name])


def test_a_run_that_sees_more_computes_what_is_missing(model, tmp_path):
    prepared(model, tmp_path, examples=EXAMPLES[:3])
    reference = prepared(model, tmp_path)
    batch = batch_of(EXAMPLES)
    logps = reference.annotate("forget", batch, LOGPS, model)["ref_logps"]
    torch.testing.assert_close(logps, stream_forward(model, batch, frozenset()).logps.detach(), rtol=0, atol=1e-6)
    assert len(load_file(tmp_path / "forget.safetensors")["lengths"]) == len(EXAMPLES)


def test_the_original_model_is_built_when_the_trained_one_is_another(model, tiny_model, tmp_path):
    reference = CachedReference(str(tmp_path / "own"))
    original = tiny_model()
    reference.prepare(replace(context(perturb(model), tmp_path), is_original=False, build=lambda: original))
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    batch = batch_of(EXAMPLES)
    expected = stream_forward(tiny_model(), batch, frozenset()).logps.detach()
    logps = reference.annotate("forget", batch, LOGPS, model)["ref_logps"]
    torch.testing.assert_close(logps, expected, rtol=0, atol=1e-6)


def test_a_new_adapter_changes_nothing_and_a_trained_one_does(tiny_model, tmp_path):
    def adapted(seed):
        torch.manual_seed(seed)
        return LoRA(r=2).apply(tiny_model())

    prepared(adapted(0), tmp_path)
    prepared(not_to_be_run(adapted(1)), tmp_path)
    trained = adapted(1)
    with torch.no_grad():
        next(p for name, p in trained.named_parameters() if "lora_B" in name).add_(0.1)
    with pytest.raises(ValueError, match="weights of the reference model"):
        prepared(trained, tmp_path)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": 1}, "weights of the reference model"),
        ({"fingerprint": "other rows"}, r"rows of the stream, or the template or tokenizer.*\(rows, now other rows\)"),
        ({"top_k": 5}, r"what is kept for ref_logits \(top_k=4, float32, now top_k=5, float32\)"),
        ({"needs": LOGPS}, r"what is kept for ref_logits \(top_k=4, float32, now nothing\)"),
        ({"dtype": "float16"}, r"what is kept for ref_logits \(top_k=4, float32, now top_k=4, float16\)"),
        ({"precision": "bf16-mixed"}, r"precision of the Trainer \(32-true, now bf16-mixed\)"),
    ],
)
def test_a_stale_cache_is_refused(tiny_model, tmp_path, change, message):
    CachedReference(top_k=4).prepare(context(tiny_model(), tmp_path, LOGITS))
    before = (tmp_path / "forget.safetensors").read_bytes()
    model = tiny_model()
    if change.pop("weights", None):
        with torch.no_grad():
            model.model.norm.weight[3] += 1e-6
    reference = CachedReference(top_k=change.pop("top_k", 4), dtype=change.pop("dtype", "float32"))
    with pytest.raises(ValueError, match=message) as refusal:
        reference.prepare(context(not_to_be_run(model), tmp_path, **({"needs": LOGITS} | change)))
    assert "something else" in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)
    assert str(refusal.value).count(" now ") == 1
    assert (tmp_path / "forget.safetensors").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no cache", b"\x08\0\0\0\0\0\0\0{}      "])
def test_another_file_is_refused(model, tmp_path, content):
    (tmp_path / "forget.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="is not a reference cache"):
        prepared(model, tmp_path)


def test_an_example_that_was_not_expected_is_refused(model, tmp_path):
    reference = prepared(model, tmp_path, examples=EXAMPLES[:5])
    reference.annotate("forget", batch_of(EXAMPLES[:5]), LOGPS, model)
    for stream, examples, index in (
        ("forget", EXAMPLES[3:7], 5),
        ("forget", EXAMPLES[-1:], 2),
        ("retain", EXAMPLES, 0),
    ):
        with pytest.raises(ValueError, match=rf"nothing on example {index} of stream '{stream}'.*max_epochs"):
            reference.annotate(stream, batch_of(examples), LOGPS, model)


def test_what_is_not_kept_is_refused(model, tmp_path):
    for needs in (frozenset({"ref_hidden.1"}), LOGPS | {"ref_hidden.0"}):
        with pytest.raises(ValueError, match=r"stream 'forget' needs \['ref_hidden.*FrozenReference"):
            prepared(not_to_be_run(model), tmp_path, needs)
    with pytest.raises(ValueError, match="'ref_logits' without 'logits'"):
        prepared(model, tmp_path, frozenset({"ref_logits"}))
    with pytest.raises(ValueError, match=r"no UnlearningDataModule.*FrozenReference"):
        CachedReference().prepare(replace(context(model, tmp_path), examples=None))


@pytest.mark.parametrize(
    ("arguments", "message"), [({"top_k": 0}, "top_k=0"), ({"dtype": "int8"}, "dtype is 'int8'; accepted: float32")]
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CachedReference(**arguments)


# Files ---------------------------------------------------------------------------------------------------------------


def test_an_interruption_leaves_no_half_cache(model, tmp_path, monkeypatch):
    prepared(model, tmp_path, examples=EXAMPLES[:3])
    before = (tmp_path / "forget.safetensors").read_bytes()

    def half(tensors, path, facts):
        path.write_bytes(b"half a file")
        raise OSError("no space left")

    monkeypatch.setattr("unlearn_pl.results.sealed_tensors.save_file", half)
    for folder, left in ((tmp_path, ["forget.safetensors"]), (tmp_path / "new", [])):
        with pytest.raises(OSError, match="no space left"):
            prepared(model, folder)
        assert [path.name for path in folder.iterdir() if path.is_file()] == left
    assert (tmp_path / "forget.safetensors").read_bytes() == before


def test_a_file_holds_what_was_written(tmp_path):
    cache = ReferenceCache(
        torch.tensor([[0, 5], [1, -7], [2, 9]]),
        torch.tensor([2, 0, 1]),
        {"logps": torch.arange(3.0), "tokens": torch.arange(6).view(3, 2)},
    )
    cache.write(tmp_path / "a" / "b.safetensors", {"weights": "w"})
    again, facts = ReferenceCache.read(tmp_path / "a" / "b.safetensors")
    assert facts == {"weights": "w"}
    assert (1, -7) in again
    assert (1, 7) not in again
    rows = again.rows([(2, 9), (1, -7), (0, 5)])
    assert rows["logps"].tolist() == [2.0, 0.0, 1.0]
    assert rows["tokens"].tolist() == [[4, 5], [0, 1], [2, 3]]
    with pytest.raises(ValueError, match="There is no reference cache"):
        ReferenceCache.read(tmp_path / "none.safetensors")
