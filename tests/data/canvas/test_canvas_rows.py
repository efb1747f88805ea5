"""Styles and objects in the rows of a dataset: in memory, and in files as the hub has them."""

import numpy as np
import pytest

from unlearn_pl.data import CanvasRowsDataModule, ForgetStyle, HubDataset, UnlearnCanvasDataModule

STYLES, OBJECTS, EACH = ("Winter", "Seed_Images", "Van_Gogh"), ("Dogs", "Cats"), 3


def rows() -> list[dict]:
    """3 styles x 2 objects x 3 images; each image has one gray level of its own."""
    image = pytest.importorskip("PIL.Image")
    pairs = [(style, thing, i) for style in STYLES for thing in OBJECTS for i in range(EACH)]
    return [
        {"image": image.fromarray(np.full((6, 8, 3), 10 * level, np.uint8)), "style": style, "object": thing}
        for level, (style, thing, _) in enumerate(pairs, start=1)
    ]


def made(table, **options) -> CanvasRowsDataModule:
    given = {"size": None, "micro_batch_size": 2, "batch_size": 4, "splits": ["retain"], **options}
    data = CanvasRowsDataModule(table, ForgetStyle("Van_Gogh"), **given)
    data.setup("fit")
    return data


def levels(data) -> list[int]:
    images = data.canvas.images
    return [round(255 * float(images.image(i).mean())) for i in range(len(images))]


def check(data) -> None:
    """Names are sorted, as folders are, whatever the order of the rows."""
    assert (data.canvas.styles, data.canvas.objects) == (sorted(STYLES), sorted(OBJECTS))
    assert data.canvas.counts().tolist() == [[EACH] * 2] * 3
    assert levels(data)[:6] == [100, 110, 120, 70, 80, 90]  # Seed_Images: Cats, Dogs
    assert {name: len(found) for name, found in data.load_streams().items()} == {"forget": 6, "retain": 12, "train": 18}
    assert data.load_streams()["forget"][0]["prompt"] == "A Cats image in Van Gogh style."
    batch = next(iter(data.train_dataloader()))[0]["forget"][0]
    assert batch["image"].shape == (2, 3, 6, 8)


def test_rows_in_memory(tmp_path):
    check(made(rows()))
    for row in rows():
        folder = tmp_path / row["style"] / row["object"]
        folder.mkdir(parents=True, exist_ok=True)
        row["image"].save(folder / f"{len(list(folder.iterdir()))}.png")
    files = UnlearnCanvasDataModule(str(tmp_path), ForgetStyle("Van_Gogh"), size=None)
    assert files.load_streams()["train"].fingerprint() == made(rows()).load_streams()["train"].fingerprint()


def test_files_as_on_the_hub(tmp_path):
    """Two parquet files with pictures, names of classes, and columns of other names."""
    from datasets import ClassLabel, Dataset, Features, Image, Value

    features = Features({"picture": Image(), "style": ClassLabel(names=list(STYLES)), "thing": Value("string")})
    table = Dataset.from_dict(
        {
            "picture": [row["image"] for row in rows()],
            "style": [row["style"] for row in rows()],
            "thing": [row["object"] for row in rows()],
        },
        features=features,
    )
    (tmp_path / "data").mkdir()
    for part in range(2):
        table.shard(2, part).to_parquet(tmp_path / "data" / f"train-0000{part}-of-00002.parquet")
    columns = {"image": "picture", "object": "thing"}
    check(made(HubDataset(str(tmp_path)), **columns))
    check(made(table, **columns))


def test_parts_of_pairs():
    data = made(rows(), images_per_pair=1, skip_per_pair=2, size=[4, 4])
    assert data.canvas.counts().tolist() == [[1, 1]] * 3
    assert levels(data) == [120, 90, 180, 150, 60, 30]
    assert data.canvas.images.image(0).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda table: table, {"style": "artist"}, "no column 'artist'; they have"),
        (lambda table: table, {"photo": "Photo"}, "has no style 'Photo', which stands for none"),
        (lambda table: table[:-3], {}, "hold 0 images of 'Cats' in the style 'Van_Gogh'"),
        (lambda table: table, {"skip_per_pair": 3}, "hold 3 images of .*accepted: more than this"),
        (lambda table: [], {}, "The given rows are none"),
        (lambda table: [{**table[0], "style": None}, *table[1:]], {}, "Row 0 has None as 'style'"),
        (lambda table: [{**table[0], "image": "1.jpg"}, *table[1:]], {}, "Row 0 has a str as 'image'; accepted: pict"),
        (lambda table: table, {"images_per_pair": 0}, "images_per_pair=0 and skip_per_pair=0"),
    ],
)
def test_what_cannot_be_read_is_named(change, options, message):
    with pytest.raises(ValueError, match=message):
        made(change(rows()), **options)


def test_pictures_of_other_sizes_are_named():
    table = rows()
    table[4]["image"] = table[4]["image"].resize((3, 3))
    with pytest.raises(ValueError, match=r"Images differ in size: .*row 4"):
        made(table)
    assert made(table, size=[6, 8]).canvas.images.image(4).shape == (3, 6, 8)
