import pytest
import torch

from unlearn_pl.masks import ElementMask, Mask

NAMES = ["a.weight", "b.weight", "c.bias"]


def make_row():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, generator=generator), torch.randn(2, 3, generator=generator), torch.randn(5)]


def test_marked_elements_stay_and_the_others_become_zero_in_place():
    row = make_row()
    before, pointers = [gradient.clone() for gradient in row], [gradient.data_ptr() for gradient in row]
    keep = torch.tensor([[True, False, True], [False, False, True]])
    ElementMask({"b.weight": keep}).apply(NAMES, row)
    assert row[1].nonzero().tolist() == [[0, 0], [0, 2], [1, 2]]
    assert torch.equal(row[1][keep], before[1][keep])
    assert torch.equal(row[0], before[0])
    assert torch.equal(row[2], before[2])
    assert [gradient.data_ptr() for gradient in row] == pointers


def test_parameters_that_are_not_reached_are_passed_over():
    row = [None, make_row()[1], None]
    ElementMask({"a.weight": torch.ones(3, 4, dtype=torch.bool)}).apply(NAMES, row)
    assert row[0] is None
    assert torch.equal(row[1], make_row()[1])


def test_names_and_shapes_are_checked_against_the_model_and_the_row(tiny_model):
    model = tiny_model()
    name = "model.norm.weight"
    right = torch.ones(32, dtype=torch.bool)
    ElementMask({name: right}).freeze(model)
    with pytest.raises(ValueError, match=r"norm\.wieght.*model\.norm\.weight"):
        ElementMask({"model.norm.wieght": right}).freeze(model)
    with pytest.raises(ValueError, match=r"shape \(31,\), its parameter \(32,\)"):
        ElementMask({name: right[:31]}).freeze(model)
    with pytest.raises(ValueError, match=r"shape \(4, 3\), its parameter \(3, 4\)"):
        ElementMask({"a.weight": torch.ones(4, 3, dtype=torch.bool)}).apply(NAMES, make_row())
    with pytest.raises(ValueError, match=r"d\.weight"):
        ElementMask({"d.weight": right}).apply(NAMES, make_row())
    model.model.norm.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"trainable parameters are"):
        ElementMask({name: right}).freeze(model)


def test_masks_are_boolean():
    with pytest.raises(ValueError, match=r"torch\.float32; masks are torch\.bool"):
        ElementMask({"a.weight": torch.ones(3, 4)})


def test_both_hooks_may_stay_empty(tiny_model):
    class Nothing(Mask):
        pass

    model, row = tiny_model(), make_row()
    Nothing().freeze(model)
    Nothing().apply(NAMES, row)
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(row[:2], make_row()[:2], strict=True))
