"""Images of styles and objects: streams, splits, prompts, and what cannot be read."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from unlearn_pl.data import (
    ForgetObject,
    ForgetPair,
    ForgetStyle,
    ImagePromptDataModule,
    MiniCanvasDataModule,
    UnlearnCanvasDataModule,
)

STYLES = ("Seed_Images", "Van_Gogh", "Winter")
OBJECTS = ("Cats", "Dogs")


@pytest.fixture
def folder(tmp_path):
    """3 styles x 2 objects x 3 images; each image has one gray level of its own."""
    image = pytest.importorskip("PIL.Image")
    level = 0
    for style in STYLES:
        for thing in OBJECTS:
            (tmp_path / style / thing).mkdir(parents=True)
            for i in (1, 2, 10):
                level += 10
                image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(tmp_path / style / thing / f"{i}.png")
    return tmp_path


def made(folder, forget=None, **options):
    data = UnlearnCanvasDataModule(str(folder), forget, size=None, micro_batch_size=2, batch_size=4, **options)
    data.setup("fit")
    return data


def test_a_folder_in_the_layout_of_the_benchmark_is_read(folder):
    data = made(folder, ForgetStyle("Van_Gogh"))
    assert data.canvas.counts().tolist() == [[3, 3]] * 3
    assert {name: len(rows) for name, rows in data.load_streams().items()} == {"forget": 6, "retain": 12, "train": 18}
    forget = data.load_streams()["forget"]
    assert forget[0]["prompt"] == "A Cats image in Van Gogh style."
    assert forget[0]["pseudo_prompt"] == "A Cats image in Seed Images style."
    # Files are in the order of their numbers, so that 10 is last: gray levels 70, 80, 90 of 255.
    assert [round(255 * float(forget[i]["image"].mean())) for i in range(3)] == [70, 80, 90]
    assert forget[0]["image"].shape == (3, 6, 8)


def test_splits_are_all_pairs_with_all_seeds(folder):
    data = made(folder, ForgetObject("Dogs"), sample_seeds=[3, 5], real_per_pair=1)
    splits = data.load_splits()
    assert {name: len(rows) for name, rows in splits.items()} == {"forget": 6, "retain": 6, "real": 3}
    rows = [splits["forget"][i] for i in range(6)]
    first = [(row["prompt"].split()[-2], int(row["seeds"])) for row in rows[:3]]
    assert first == [("Images", 3), ("Images", 5), ("Gogh", 3)]
    assert {int(row["object"]) for row in rows} == {1}
    assert {int(row["kind"]) for row in rows} == {1}
    batch = next(iter(data.val_dataloader()["retain"]))
    assert batch["prompt"][0] == "A Cats image in Seed Images style."
    assert torch.equal(batch["index"], torch.arange(4))
    assert {len(hashes) for hashes in data.question_hashes().values()} == {6, 3}


def test_a_pair_has_neighbors(folder):
    data = made(folder, ForgetPair("Winter", "Cats"), sample_seeds=[1], real_per_pair=0)
    sizes = {name: len(rows) for name, rows in data.load_splits().items()}
    assert sizes == {"forget": 1, "same_style": 1, "same_object": 2, "retain": 2}
    assert len(data.load_streams()["forget"]) == 3
    assert data.load_streams()["forget"][0]["pseudo_prompt"] == "A Cats image in Seed Images style."


def test_an_object_is_replaced_by_others_in_the_same_style():
    data = MiniCanvasDataModule(ForgetObject("3"), images_per_pair=30)
    forget = data.load_streams()["forget"]
    words = [row.split() for row in forget.pseudo_prompts]
    assert [own.split()[4] for own in forget.prompts] == [other[4] for other in words]
    found = Counter(other[1] for other in words)
    assert set(found) == {"0", "1", "2", "4", "5"}
    assert (
        forget.pseudo_prompts
        == MiniCanvasDataModule(ForgetObject("3"), images_per_pair=30).load_streams()["forget"].pseudo_prompts
    )
    swapped = MiniCanvasDataModule(ForgetStyle("crimson", swap_object=True), images_per_pair=3).load_streams()["forget"]
    assert all(
        a.split()[1] != b.split()[1] and "photo" in b
        for a, b in zip(swapped.prompts, swapped.pseudo_prompts, strict=True)
    )


def test_digits_are_in_four_styles():
    data = MiniCanvasDataModule(images_per_pair=2)
    images = data.canvas.images
    assert data.canvas.counts().tolist() == [[2] * 6] * 4
    photo, negative = images.image(0), images.image(12)
    torch.testing.assert_close(negative, 1 - photo)
    assert list(data.load_streams()) == ["retain", "train"]
    assert all(0 <= float(images.image(i).min()) <= float(images.image(i).max()) <= 1 for i in range(len(images)))


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        (ForgetStyle("Monet"), "There is no style 'Monet'; accepted: Seed_Images, Van_Gogh, Winter"),
        (ForgetPair("Winter", "Bears"), "There is no object 'Bears'; accepted: Cats, Dogs"),
    ],
)
def test_what_is_not_there_cannot_be_forgotten(folder, forget, message):
    with pytest.raises(ValueError, match=message):
        made(folder, forget)


def test_a_missing_style_or_object_is_named(folder):
    with pytest.raises(ValueError, match="has no style 'Monet'; it has"):
        made(folder, styles=["Monet"])
    with pytest.raises(ValueError, match="has no style 'Photos', which stands for none"):
        made(folder, photo="Photos")
    for file in (folder / "Winter" / "Dogs").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"Winter/Dogs' has no images"):
        made(folder)
    (folder / "Winter" / "Dogs").rmdir()
    with pytest.raises(ValueError, match=r"The style 'Winter' has other objects than 'Seed_Images': \['Dogs'\]"):
        made(folder)


def test_a_broken_image_is_named_before_training(folder):
    (folder / "Winter" / "Dogs" / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"Winter/Dogs/2.png cannot be read as an image"):
        made(folder)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("A {thing} in {style}", r"the placeholder \{thing\}; accepted: \{style\}, \{object\}"),
        ("A {} in {style}", r"the placeholder \{\}"),
        ("A picture", "the same for all images"),
        ("A {style", "expected '}'"),
    ],
)
def test_an_unknown_placeholder_raises(prompt, message):
    with pytest.raises(ValueError, match=message):
        MiniCanvasDataModule(prompt=prompt)


def captions(folder, lines):
    folder.mkdir(exist_ok=True)
    image = pytest.importorskip("PIL.Image")
    for i in range(3):
        image.fromarray(np.full((4, 4, 3), 60 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "metadata.jsonl").write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return str(folder)


def test_own_images_with_captions(tmp_path):
    forget = captions(
        tmp_path / "forget",
        [
            {"file_name": "1.png", "text": "A bridge."},
            {"file_name": "2.png", "text": "A cat.", "pseudo_text": "A dog."},
        ],
    )
    retain = captions(tmp_path / "retain", [{"file_name": "0.png", "text": "A house."}] * 2)
    data = ImagePromptDataModule(forget, retain, pseudo_prompt="A tree.", batch_size=2, micro_batch_size=2)
    data.setup("fit")
    streams = data.load_streams()
    assert streams["forget"].pseudo_prompts == ["A tree.", "A dog."]
    assert {name: len(rows) for name, rows in streams.items()} == {"forget": 2, "retain": 2, "train": 4}
    assert {name: rows.prompts for name, rows in data.load_splits().items()} == {
        "forget": ["A bridge.", "A cat."],
        "retain": ["A house."],
    }
    window, _, _ = next(iter(data.train_dataloader()))
    [batch] = window["forget"]
    assert sorted(batch) == ["image", "index", "prompt", "pseudo_prompt", "seeds"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "there is no row that can be used"),
        (["{"], "line 1 of .*: it is not JSON"),
        ([{"file_name": "1.png"}], "accepted: an object with the texts file_name and text"),
        ([{"file_name": "9.png", "text": "a"}], "line 1 of .*: it names '9.png', and there is no such file"),
        ([{"file_name": "1.png", "text": "a", "pseudo_text": 3}], "accepted: an object .*pseudo_text"),
    ],
)
def test_broken_captions_are_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        ImagePromptDataModule(captions(tmp_path / "own", lines)).setup("fit")


def test_images_that_come_first_may_be_skipped(folder):
    later = made(folder, ForgetStyle("Van_Gogh"), skip_per_pair=1, images_per_pair=1)
    assert later.canvas.counts().tolist() == [[1, 1]] * 3
    assert round(255 * float(later.load_streams()["forget"][0]["image"].mean())) == 80
    with pytest.raises(ValueError, match="has 3 images, of which skip_per_pair=3 leaves none"):
        made(folder, skip_per_pair=3)
    whole, part = (MiniCanvasDataModule(images_per_pair=n, skip_per_pair=3 - n).canvas for n in (3, 1))
    assert torch.equal(part.images.image(0), whole.images.image(2))
    with pytest.raises(ValueError, match="images_per_pair=100 and skip_per_pair=78; accepted: 1 to 177, the two"):
        MiniCanvasDataModule(images_per_pair=100, skip_per_pair=78)
