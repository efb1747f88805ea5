"""A damaged picture is an error that names the file or the row that holds it."""

import io

import pytest
import torch

from tests.fuzz.trial import memory_limit
from unlearn_pl.data import CanvasRowsDataModule, ImageFolder, ImageRows


def png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (6, 6), (40, 200, 7)).save(file, "png")
    return file.getvalue()


LENGTH = png().index(b"IDAT") - 4
"""Where the PNG says how many bytes its pixels take."""
DAMAGED = {
    "truncated": png()[: LENGTH + 12],
    "claims 2 GiB": png()[:LENGTH] + b"\x80\x00\x00\x14" + png()[LENGTH + 4 :],
    "noise": png()[: LENGTH + 8] + bytes(20) + png()[LENGTH + 28 :],
}

in_memory = pytest.mark.parametrize("damage", ["truncated", "noise"])  # a length that is claimed is not believed


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_is_named(damage, tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "0.png").write_bytes(DAMAGED[damage])
    images = ImageFolder(str(tmp_path)).load()
    with memory_limit(1 << 30), pytest.raises(ValueError, match=r"cats/0\.png cannot be read as an image: \w"):
        images.image(0)


@in_memory
@pytest.mark.parametrize("is_decoded_by_datasets", [True, False])
def test_a_row_is_named(damage, is_decoded_by_datasets):
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Pillow

    pictures = [png(), DAMAGED[damage]]
    if is_decoded_by_datasets:
        features = Features({"image": Image(), "label": ClassLabel(names=["cat"])})
        rows = Dataset.from_dict({"image": [{"bytes": one} for one in pictures], "label": [0, 0]}, features=features)
    else:
        rows = [{"image": Pillow.open(io.BytesIO(one)), "label": 0} for one in pictures]
    with pytest.raises(ValueError, match=r"Row 1 cannot be read as an image: \w"):
        ImageRows(rows).load()


@in_memory
def test_a_row_of_styles_and_objects_is_named(damage):
    from datasets import Dataset, Features, Image, Value

    features = Features({"image": Image(), "style": Value("string"), "object": Value("string")})
    styles = ["Seed_Images", "Seed_Images", "Winter", "Winter"]
    table = {
        "image": [{"bytes": one} for one in (png(), png(), png(), DAMAGED[damage])],
        "style": styles,
        "object": ["Dogs", "Cats"] * 2,
    }
    rows = Dataset.from_dict(table, features=features)
    images = CanvasRowsDataModule(rows).load_canvas().images
    with pytest.raises(ValueError, match=r"Row 3 cannot be read as an image: \w"):
        torch.stack([images.image(i) for i in range(4)])
