"""Mask files: written, read, and refused where they do not belong."""

import functools

import pytest
import torch
from safetensors.torch import save_file

from tests import kit
from unlearn_pl.masks import (
    ElementMask,
    MaskFile,
    MaskHeader,
    mask_fingerprint,
    pack,
    read_mask_header,
    unpack,
    write_mask_file,
)
from unlearn_pl.modules import MOLLM
from unlearn_pl.recording import record
from unlearn_pl.results import weights_fingerprint

QUERY = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"


def header(model, packed, kept):
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    return MaskHeader(shapes, weights_fingerprint(model), kept, mask_fingerprint(packed), {"attribution": "by hand"})


@pytest.fixture
def stored(tmp_path):
    """A mask of every third element of a matrix, and of no element of a norm, for the model of the kit."""
    model = kit.model()
    masks = {
        QUERY: (torch.arange(32 * 32) % 3 == 0).view(32, 32),
        NORM: torch.zeros(32, dtype=torch.bool),
    }
    packed = {name: pack(mask) for name, mask in masks.items()}
    path = tmp_path / "deep" / "mask.safetensors"
    write_mask_file(path, packed, header(model, packed, {name: int(mask.sum()) for name, mask in masks.items()}))
    return path, masks


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (3, 5), (2, 3, 4), (0,)])
def test_a_bit_per_element(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4
    packed = pack(mask)
    assert packed.dtype == torch.uint8
    assert len(packed) == -(-mask.numel() // 8)
    assert torch.equal(unpack(packed, mask.shape), mask)


def test_a_file_masks_what_it_marks_and_freezes_the_rest(stored):
    path, masks = stored
    model, mask = kit.model(), MaskFile(str(path))
    mask.freeze(model)
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [QUERY]
    row = [torch.ones(32, 32)]
    mask.apply([QUERY], row)
    assert torch.equal(row[0], masks[QUERY].float())
    assert not [file for file in path.parent.iterdir() if file != path]


def test_only_the_marked_elements_move_in_training(stored):
    path, masks = stored
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.3)
    module = MOLLM(kit.model(), mask=MaskFile(str(path)), optimizer=optimizer)
    trainer = kit.trainer(max_epochs=2)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    before = dict(kit.model().named_parameters())
    for name, parameter in module.model.named_parameters():
        moved = parameter != before[name]
        assert torch.equal(moved, masks[QUERY] if name == QUERY else torch.zeros_like(moved)), name
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4))  # the weights are others now: no complaint


def test_masks_of_equal_content_have_equal_fingerprints(stored):
    path, masks = stored
    assert MaskFile(str(path)).fingerprint() == ElementMask(masks).fingerprint() == read_mask_header(path).mask
    other = {**masks, NORM: torch.ones(32, dtype=torch.bool)}
    assert ElementMask(other).fingerprint() != ElementMask(masks).fingerprint()
    assert ElementMask({NORM: masks[NORM]}).fingerprint() != ElementMask(masks).fingerprint()


def test_it_is_recorded(stored):
    assert record(MaskFile(str(stored[0])))["init_args"] == {"path": str(stored[0])}


def test_another_models_mask_is_refused(stored, tiny_model):
    path, _ = stored
    with pytest.raises(ValueError, match=r"made for another model: .*model\.embed_tokens\.weight.*\(.* in all\)"):
        MaskFile(str(path)).freeze(tiny_model(hidden_size=16))
    other = kit.model(seed=1)
    with pytest.raises(ValueError, match=r"made for other weights .*same_weights=False"):
        MaskFile(str(path)).freeze(other)
    assert all(parameter.requires_grad for parameter in other.parameters())
    MaskFile(str(path), same_weights=False).freeze(other)


def test_a_mask_is_checked_for_every_model_that_it_is_given(stored):
    mask = MaskFile(str(stored[0]))
    mask.freeze(kit.model())
    with pytest.raises(ValueError, match="made for other weights"):
        mask.freeze(kit.model(seed=1))


def test_a_mask_without_a_trainable_weight_is_refused(tmp_path):
    model, path = kit.model(), tmp_path / "mask.safetensors"
    packed = {NORM: pack(torch.zeros(32, dtype=torch.bool))}
    write_mask_file(path, packed, header(model, packed, {NORM: 0}))
    with pytest.raises(ValueError, match="marks no trainable weight"):
        MaskFile(str(path)).freeze(model)
    nothing = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in model.named_parameters()}
    with pytest.raises(ValueError, match="mark no element"):
        ElementMask(nothing).freeze(model)


def test_what_is_no_mask_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no mask .*missing\.safetensors.*unlearn-pl attribute"):
        MaskFile(str(tmp_path / "missing.safetensors")).freeze(kit.model())
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match="is not a mask file"):
        MaskFile(str(tmp_path / "text.safetensors")).freeze(kit.model())
    save_file({NORM: torch.zeros(4)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="format None; accepted"):
        MaskFile(str(tmp_path / "weights.safetensors")).freeze(kit.model())
