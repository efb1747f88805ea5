import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearn_pl.callbacks.save_pretrained import SavePretrained


class Sentences(pl.LightningDataModule):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    def train_dataloader(self):
        return DataLoader(torch.arange(3, 35).reshape(4, 8), batch_size=2)


class FineTune(pl.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def training_step(self, batch, batch_idx):
        return self.model(batch, labels=batch).loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(model, datamodule, directory, **options):
    trainer = pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[SavePretrained(str(directory))],
        **options,
    )
    trainer.fit(FineTune(model), datamodule=datamodule)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_trained_model_and_its_tokenizer_are_written(tiny_model, tokenizer, tmp_path):
    model = tiny_model()
    fit(model, Sentences(tokenizer), tmp_path / "out")
    again, ids = AutoModelForCausalLM.from_pretrained(tmp_path / "out"), torch.arange(3, 13)[None]
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
    assert not torch.allclose(again(ids).logits, tiny_model()(ids).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("mill").input_ids == tokenizer("mill").input_ids


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_test_run_writes_nothing(tiny_model, tokenizer, tmp_path):
    fit(tiny_model(), Sentences(tokenizer), tmp_path / "out", fast_dev_run=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused_before_training(tiny_model, tokenizer, tmp_path):
    (tmp_path / "thesis.tex").touch()
    model = tiny_model()
    with pytest.raises(ValueError, match="not an earlier export"):
        fit(model, Sentences(tokenizer), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), tiny_model().parameters(), strict=True))
