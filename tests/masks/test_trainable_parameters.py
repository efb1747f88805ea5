import pytest

from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import LoRA
from unlearn_pl.recording import record


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([r"down_proj"], [], {f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1, 2)}),
        ([r"layers\.[12]\.mlp\.(up|down)_proj"], [r"layers\.2\.mlp\.up"], None),
        ([r"^model\.norm", r"embed_tokens"], [], {"model.norm.weight", "model.embed_tokens.weight"}),
    ],
)
def test_the_chosen_names_are_trained(tiny_model, include, exclude, expected):
    model = tiny_model(num_layers=3)
    TrainableParameters(include, exclude).freeze(model)
    layers = {f"model.layers.{i}.mlp.{name}.weight" for i in (1, 2) for name in ("up_proj", "down_proj")}
    assert trainable(model) == (expected or layers - {"model.layers.2.mlp.up_proj.weight"})


def test_exclusions_alone_leave_the_rest(tiny_model):
    model = tiny_model()
    everything = trainable(model)
    TrainableParameters(exclude=["norm"]).freeze(model)
    assert trainable(model) == {name for name in everything if "norm" not in name}


def test_weights_under_an_adapter_stay_frozen(tiny_model):
    model = LoRA(r=2).apply(tiny_model())
    TrainableParameters(include=["q_proj"]).freeze(model)
    assert trainable(model) == {name for name, _ in model.named_parameters() if "q_proj.lora_" in name}


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (["gate_porj"], [], r"'gate_porj'.*model\.embed_tokens\.weight"),
        ([".*"], ["layers.7"], r"'layers.7'"),
        (["mlp"], ["layers"], r"leave nothing to train"),
        (["lm_head"], [], r"no parameter's name matches 'lm_head'"),  # tied: its name is that of the embedding
    ],
)
def test_expressions_that_choose_nothing_are_refused_and_change_nothing(tiny_model, include, exclude, message):
    model = tiny_model()
    before = trainable(model)
    with pytest.raises(ValueError, match=message):
        TrainableParameters(include, exclude).freeze(model)
    assert trainable(model) == before


def test_it_is_recorded():
    assert record(TrainableParameters(exclude=["norm"]))["init_args"] == {"exclude": ["norm"]}
