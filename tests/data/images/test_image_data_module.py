"""Images from memory and files, what is to be forgotten of them, and what is no set of images."""

import numpy as np
import pytest
import torch

from tests.pictures import pictures, stripes
from unlearn_pl.data import (
    ForgetClass,
    ForgetMislabeled,
    ForgetRandom,
    ForgetRows,
    HubDataset,
    ImageArrays,
    ImageDataModule,
    ImageFile,
    ImageFolder,
    ImageRows,
)
from unlearn_pl.recording import record


def labels_of(data, name):
    return data.sets[name].labels.tolist()


# ---- what is forgotten


def test_a_class_is_forgotten_and_leaves_the_test_set():
    data = pictures(ForgetClass(2))
    assert set(labels_of(data, "forget")) == {2}
    assert set(labels_of(data, "retain")) == {0, 1}
    assert set(labels_of(data, "test")) == {0, 1}
    assert set(labels_of(data, "test_forgotten")) == {2}
    assert len(data.sets["train"]) == 48
    several = pictures(ForgetClass([0, 2]))
    assert set(labels_of(several, "retain")) == {1}


def test_random_rows_are_forgotten():
    data, again, other = pictures(ForgetRandom(0.25, 1)), pictures(ForgetRandom(0.25, 1)), pictures(ForgetRandom(0.25))
    assert len(data.sets["forget"]) == 12
    assert len(data.sets["retain"]) == 36
    assert data.stream_fingerprint("forget") == again.stream_fingerprint("forget") != other.stream_fingerprint("forget")
    hashes = data.question_hashes()
    assert not set(hashes["forget"].values()) & set(hashes["retain"].values())
    assert "test_forgotten" not in data.sets


def test_wrong_labels_are_forgotten_and_trained_on():
    images, labels = stripes(48)
    data = pictures(ForgetMislabeled(0.25))
    forget = data.sets["forget"]
    true = torch.as_tensor(labels)[forget.rows]
    assert not bool((forget.labels == true).any())
    assert set(forget.labels.tolist()) == {0, 1, 2}
    assert torch.equal(forget.image(0), torch.as_tensor(images[forget.rows[0]]).unsqueeze(0) / 255)
    retain = data.sets["retain"]
    assert torch.equal(retain.labels, torch.as_tensor(labels)[retain.rows])
    assert sorted(labels_of(data, "train")) == sorted([*forget.labels.tolist(), *retain.labels.tolist()])


def test_rows_are_forgotten_by_number():
    data = pictures(ForgetRows([0, 4]))
    assert labels_of(data, "forget") == [0, 1]
    assert len(data.sets["retain"]) == 46


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForgetRandom(0.0), "share=0.0; accepted: above 0 and below 1"),
        (lambda: ForgetMislabeled(1.0), "share=1.0"),
        (lambda: pictures(ForgetClass(7)).sets, r"No training image has the label 7; accepted: \[0, 1, 2\]"),
        (lambda: pictures(ForgetClass([0, 1, 2])).sets, "ForgetClass chooses all of them of 48 images"),
        (lambda: pictures(ForgetRows([])).sets, "ForgetRows chooses none of 48 images"),
        (lambda: pictures(ForgetRows([48])).sets, "rows holds 48; accepted: 0 to 47"),
        (lambda: ImageDataModule(ForgetClass(1)), "give train, and no retain"),
        (lambda: ImageDataModule(), "no images to train on"),
        (lambda: ImageDataModule("a.npz", train="b.npz"), "give it alone or with a request"),
    ],
)
def test_requests_that_cannot_be_met_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- loading


def test_batches_hold_images_labels_and_positions():
    data = pictures(micro_batch_size=4)
    data.setup("fit")
    window = next(iter(data.train_dataloader()))
    window = window[0] if isinstance(window, tuple) else window
    assert list(window) == ["forget", "retain"]
    assert [len(batch["label"]) for batch in window["forget"]] == [4, 4]
    batch = window["retain"][0]
    assert batch["image"].shape == (4, 1, 6, 6)
    assert float(batch["image"].max()) <= 1
    retain = data.sets["retain"]
    for i, index in enumerate(batch["index"].tolist()):
        assert torch.equal(batch["image"][i], retain.image(index))
        assert batch["label"][i] == retain.labels[index]
    split = next(iter(data.val_dataloader()["test"]))
    assert split["index"].tolist() == list(range(16))


def test_a_sample_of_a_stream_or_a_split_has_positions():
    data = pictures(holdout=ImageArrays(*stripes(9)))
    for name in ("holdout", "test"):
        sample = data.sample(name, 5)
        assert sum(len(batch["index"]) for batch in sample) == 5
        first = sample[0]
        assert torch.equal(first["image"][0], data.sets[name].image(int(first["index"][0])))
    assert data.holdout_set == "holdout"


def test_sets_of_ones_own_replace_requests():
    sets = {"forget": ImageArrays(*stripes(6)), "retain": ImageArrays(*stripes(9, 1)), "test": ImageArrays(*stripes(3))}
    data = ImageDataModule(**sets)
    assert len(data.sets["train"]) == 15
    assert torch.equal(data.sets["train"].image(6), data.sets["retain"].image(0))
    assert list(data.load_splits()) == ["forget", "retain", "test"]


def test_no_image_is_in_the_record():
    plain = record(pictures())
    described = plain["init_args"]["train"]["init_args"]["images"]
    assert list(described) == ["unrecordable"]
    assert described["unrecordable"].startswith("48 images in memory, SHA-256 ")


def test_a_checkpoint_of_files_restores_the_data(tmp_path):
    np.savez(tmp_path / "train.npz", images=stripes(12)[0], labels=stripes(12)[1])
    data = ImageDataModule(ForgetClass(1), train=str(tmp_path / "train.npz"))
    assert record(data)["init_args"]["train"] == str(tmp_path / "train.npz")
    assert len(data.sets["forget"]) == 4


# ---- sources


def test_floating_numbers_are_taken_as_they_are_and_bytes_are_scaled():
    images, labels = stripes(3)
    floating = images.astype(np.float64) / 51
    assert torch.equal(ImageArrays(floating, labels).load().image(1)[0], torch.as_tensor(floating[1]).float())
    assert torch.equal(ImageArrays(torch.as_tensor(images), labels).load().image(1)[0], torch.tensor(images[1]) / 255)


def test_the_axis_of_channels_is_the_second_or_the_last_one():
    images = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3) % 255
    last = ImageArrays(images, [0, 1], channels_last=True).load()
    first = ImageArrays(images.transpose(0, 3, 1, 2), [0, 1]).load()
    assert last.image(1).shape == (3, 4, 5)
    assert last.fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 1], r"shape \[2, 3\]; accepted: \[N, H, W\]"),
        ([np.zeros((3, 3)), np.zeros((4, 4))], [0, 1], "images of equal size"),
        (np.zeros((2, 9, 9, 3)), [0, 1], "9 channels; accepted are up to 4"),
        (np.full((2, 3, 3), np.nan), [0, 1], "NaN or infinite"),
        (np.full((2, 3, 3), 256), [0, 1], "reach from 256 to 256"),
        (np.zeros((2, 3, 3), dtype=bool), [0, 1], "images are torch.bool"),
        (np.zeros((2, 3, 3)), [0], "2 images and 1 labels"),
        (np.zeros((2, 3, 3)), [0, -1], "Label -1 is negative"),
        (np.zeros((2, 3, 3)), [0.0, 1.0], "labels are torch.float64"),
        (np.zeros((2, 3, 3)), [[0], [1]], r"labels have the shape \[2, 1\]"),
    ],
)
def test_arrays_that_are_no_labeled_images_are_named(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageArrays(images, labels).load()


def test_labels_out_of_range_are_named_before_training():
    with pytest.raises(ValueError, match=r"set 'train' has the label 2; accepted: 0 to 1, since num_classes=2"):
        pictures(num_classes=2).setup("fit")
    with pytest.raises(ValueError, match=r"Label 2 has no name"):
        ImageArrays(*stripes(3), classes=["a", "b"]).load()


def test_sets_of_unequal_images_are_named():
    with pytest.raises(ValueError, match=r"\(1, 6, 6\), \(1, 4, 4\)"):
        _ = ImageDataModule(
            train=ImageArrays(*stripes(6)), forget=ForgetClass(1), test=ImageArrays(np.zeros((2, 4, 4)), [0, 1])
        ).sets


def test_a_file_of_numpy_is_read_without_pickle(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, images=np.array([{"a": 1}], dtype=object), labels=[0])
    with pytest.raises(ValueError, match="without pickled objects: Object arrays"):
        ImageFile(str(file)).load()
    np.savez(file, pictures=stripes(3)[0], labels=[0, 1, 2])
    with pytest.raises(ValueError, match=r"has no arrays \['images'\]; it has \['pictures', 'labels'\]"):
        ImageFile(str(file)).load()
    assert len(ImageFile(str(file), images="pictures").load()) == 3
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is no \.npz file of NumPy"):
        ImageFile(str(file)).load()
    with pytest.raises(ValueError, match="There is no file"):
        ImageFile(str(tmp_path / "none.npz")).load()


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    for name, shade in (("cats", 255), ("dogs", 51)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (4, 3), (shade, 0, 0)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_per_class_is_read(folder):
    images = ImageFolder(str(folder)).load()
    assert images.classes == ["cats", "dogs"]
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert images.image(2).shape == (3, 3, 4)
    assert images.image(2)[:, 0, 0].tolist() == [pytest.approx(0.2), 0, 0]
    gray = ImageFolder(str(folder), size=[2, 5], grayscale=True).load()
    assert gray.image(0).shape == (1, 2, 5)
    data = ImageDataModule(ForgetClass(1), train=str(folder), batch_size=2, micro_batch_size=2)
    assert len(data.sets["forget"]) == 2


def test_folders_that_are_no_images_are_named(folder, tmp_path_factory):
    from PIL import Image

    with pytest.raises(ValueError, match="There is no folder"):
        ImageFolder(str(folder / "none")).load()
    with pytest.raises(ValueError, match="has no folders"):
        ImageFolder(str(folder / "cats")).load()
    Image.new("RGB", (5, 3)).save(folder / "dogs" / "9.png")
    with pytest.raises(ValueError, match=r"0\.png has 4 x 3 pixels, .*9\.png 5 x 3"):
        ImageFolder(str(folder)).load()
    assert ImageFolder(str(folder), size=[3, 4]).load().image(4).shape == (3, 3, 4)
    (folder / "dogs" / "9.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"9\.png cannot be read as an image"):
        ImageFolder(str(folder)).load()
    (folder / "dogs" / "9.png").unlink()
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    Image.new("RGB", (4, 3)).save(outside)
    (folder / "dogs" / "8.png").symlink_to(outside)
    with pytest.raises(ValueError, match="outside of the folder of data"):
        ImageFolder(str(folder)).load()
    (folder / "dogs" / "8.png").unlink()
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"\['empty'\].* have no images"):
        ImageFolder(str(folder)).load()


def test_a_truncated_file_is_named_when_it_is_read(folder):
    file = folder / "cats" / "0.png"
    file.write_bytes(file.read_bytes()[:45])
    with pytest.raises(ValueError, match=r"cats/0\.png cannot be read as an image"):
        ImageFolder(str(folder)).load().image(0)


@pytest.mark.parametrize("size", [[3], [0, 4]])
def test_sizes_are_checked(size):
    with pytest.raises(ValueError, match=r"accepted: \[height, width\]"):
        ImageFolder("any", size=size)


def test_rows_of_a_dataset_are_decoded():
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Pillow

    features = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
    table = {"image": [Pillow.new("L", (4, 3), 100), Pillow.new("L", (4, 3), 50)], "label": [1, 0]}
    images = ImageRows(Dataset.from_dict(table, features=features), grayscale=True).load()
    assert images.classes == ["cat", "dog"]
    assert images.labels.tolist() == [1, 0]
    assert torch.equal(images.image(1), torch.full((1, 3, 4), 50 / 255))
    assert record(ImageRows(HubDataset("mnist"), size=[3, 4]))["init_args"]["rows"]["init_args"]["name"] == "mnist"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "are none"),
        ([{"image": np.zeros((2, 2), int)}], r"no columns \['label'\]"),
        ([{"image": np.zeros((2, 2)), "label": 0}], "image of float64"),
        (
            [{"image": np.zeros((2, 2), int), "label": 0}, {"image": np.zeros((2, 3), int), "label": 0}],
            "differ in size",
        ),
        ([{"image": np.zeros((2, 2), int), "label": -1}], "negative"),
    ],
)
def test_rows_that_are_no_labeled_images_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        ImageRows(rows).load()


def test_what_is_no_source_is_named():
    with pytest.raises(ValueError, match=r"accepted: an \.npz file, a folder"):
        _ = ImageDataModule(train="there/is/nothing").sets
