"""Splits read from disk, and errors that name the file and line."""

import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bench.config.suite import Suite, load_suite
from bench.data import image_cache, splits, transforms
from bench.data.loader import BatchLoader
from bench.data.splits import Examples
from bench.data.transforms import Transform
from bench.utils import files as utils_files
from bench.utils.errors import UserError
from support import tiny

CPU = torch.device("cpu")
JSON_LISTS = {
    "train": ["train.json"],
    "val": ["val.json"],
    "trainval": ["train.json", "val.json"],
    "test": ["test.json"],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A task as NOAH writes it, not to be changed."""
    root = tmp_path_factory.mktemp("data")
    tiny.write_task(root / "light")
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy of that task, to be damaged."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def suite(tmp_path):
    return load_suite(str(tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "none.toml")))


def read(suite: Suite, root, split="train") -> Examples:
    return splits.load_split(suite, suite.task[0], split, root)


def write_fgvc(root, train, val, test, images=True):
    """A task as VPT lists it: the class id of each image, in JSON."""
    folder = root / "light"
    for split, ids in (("train", train), ("val", val), ("test", test)):
        names = [f"{split}/{name}" for name in tiny.write_images(folder / split, len(ids))]
        listed = dict(zip(names, ids, strict=True))
        (folder / f"{split}.json").write_text(json.dumps(listed), encoding="utf-8")


@pytest.fixture
def fgvc(tmp_path):
    card = tiny.suite_card(tmp_path / "tiny.toml", tmp_path / "none.toml", lists=JSON_LISTS)
    return load_suite(str(card))


def batches(examples, view="squash", size=16, batch=5, order=None, mean=(0.0,) * 3, std=(1.0,) * 3):
    wanted = Transform(view, "bicubic")
    generator = None if order is None else torch.Generator().manual_seed(order)
    return BatchLoader(examples, wanted, size, batch, mean, std, CPU, generator)


def all_images(found: BatchLoader):
    return torch.cat([images for images, _ in found])


def test_noahs_lists_give_paths_and_labels_in_their_order(suite, written):
    train, both = read(suite, written), read(suite, written, "trainval")
    assert train.labels.tolist() == [0, 1] * 6
    assert [file.name for file in train.files] == [f"{i}.png" for i in range(12)]
    assert both.labels.tolist() == [0, 1] * 8
    assert both.files == train.files + read(suite, written, "val").files


def test_fgvcs_ids_with_gaps_become_classes_numbered_from_0(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[7, 300, 7], val=[300], test=[300, 7])
    assert read(fgvc, tmp_path).labels.tolist() == [0, 1, 0]
    assert read(fgvc, tmp_path, "test").labels.tolist() == [1, 0]


def test_fgvcs_ids_are_numbered_as_numbers_not_as_text(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[10, 9], val=[9], test=[10])
    assert read(fgvc, tmp_path).labels.tolist() == [1, 0]


def test_a_class_that_val_lacks_does_not_shift_its_labels(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[3, 8], val=[8, 8], test=[3, 8])
    assert read(fgvc, tmp_path, "val").labels.tolist() == [1, 1]


def test_trainval_of_fgvc_is_train_then_val(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[0, 1, 1], val=[1], test=[0])
    train, val, both = (read(fgvc, tmp_path, split) for split in ("train", "val", "trainval"))
    assert both.files == train.files + val.files
    assert both.labels.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("images/train/99.png 0", "no image"),
        ("images/train/3.png 2", "label 2; expected 0 to 1"),
        ("images/train/3.png -1", "label '-1'; expected a whole number"),
        ("images/train/3.png cat", "label 'cat'; expected a whole number"),
        ("images/train/3.png", "expected a path and a label, got 'images/train/3.png'"),
        ("", "expected a path and a label, got ''"),
    ],
)
def test_a_wrong_line_is_refused_by_file_and_line(suite, root, line, says):
    path = root / "light" / "train.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = line
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read(suite, root)
    assert f"{path}:4: {says}" in str(error.value)


def test_a_wrong_entry_of_json_is_refused_by_file_and_image(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[0, "cat"], val=[1], test=[0])
    with pytest.raises(UserError, match=r"train\.json: train/1\.png: label 'cat'"):
        read(fgvc, tmp_path)


def test_more_classes_than_the_card_has_are_refused(fgvc, tmp_path):
    write_fgvc(tmp_path, train=[0, 1, 2], val=[1], test=[0])
    with pytest.raises(UserError, match="3 classes in its lists; there must be 2"):
        read(fgvc, tmp_path)


@pytest.mark.parametrize(("text", "says"), [("[1, 2]", "holds a list"), ("{", "cannot be read")])
def test_json_that_is_no_list_of_images_is_refused(fgvc, tmp_path, text, says):
    write_fgvc(tmp_path, train=[0, 1], val=[1], test=[0])
    (tmp_path / "light" / "val.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"the list file .*val\.json {says}"):
        read(fgvc, tmp_path, "val")


def test_a_list_that_is_not_there_is_named(suite, root):
    (root / "light" / "val.txt").unlink()
    with pytest.raises(UserError, match=r"the list file .*val\.txt cannot be read"):
        read(suite, root, "trainval")


def test_a_task_without_data_is_refused_with_the_places_looked_in(suite, tmp_path):
    with pytest.raises(UserError, match=r"no data for light: looked for test\.txt in .*light"):
        read(suite, tmp_path)


def test_a_wrong_number_of_images_is_refused(suite, written):
    suite.task[0].counts["train"] = [800, 801]
    with pytest.raises(UserError, match=r"12 images in the train split .* must be 800 or 801"):
        read(suite, written)


def test_an_empty_split_is_refused(suite, root):
    (root / "light" / "train.txt").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="0 images in the train split of light"):
        read(suite, root)


def test_a_file_that_is_no_image_is_refused_by_list_and_line(suite, root):
    (root / "light" / "images" / "train" / "2.png").write_text("<html>", encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.txt:3: .*2\.png is not an image"):
        splits.require_images(read(suite, root))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused_by_list_and_line(suite, root, kind):
    file = root / "light" / "images" / "train" / "2.png"
    Image.open(file).save(file, format=kind)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"train\.txt:3: .*2\.png cannot be decoded"):
        batches(read(suite, root))


def test_a_workers_error_is_one_sentence_and_no_worker_stays(suite, tmp_path):
    tiny.write_task(tmp_path / "light", train=70)
    file = tmp_path / "light" / "images" / "train" / "66.png"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"^[^\n]*train\.txt:67: [^\n]*cannot be decoded[^\n]*$"):
        batches(read(suite, tmp_path))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "view", {**transforms.DETERMINISTIC_GEOMETRIES, **transforms.RANDOM_GEOMETRIES}
)
def test_every_transform_gives_squares_of_the_requested_size(tmp_path, view):
    names = tiny.write_images(tmp_path, 2, size=(50, 34))
    examples = Examples(torch.zeros(2), files=tuple(tmp_path / name for name in names))
    assert all_images(batches(examples, view, 24)).shape == (2, 3, 24, 24)


def test_a_crop_keeps_proportions_and_a_squash_does_not(tmp_path):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :16] = 255  # the left quarter, which a central square leaves out
    Image.fromarray(pixels).save(tmp_path / "0.png")
    examples = Examples(torch.zeros(1), files=(tmp_path / "0.png",))
    assert all_images(batches(examples, "short_side_crop", 32)).max() < 0.2
    assert all_images(batches(examples, "squash", 32))[..., 0].min() > 0.9


def test_grey_and_transparent_images_become_rgb(tmp_path):
    for i, mode in enumerate(("L", "RGBA", "P")):
        Image.new(mode, (32, 32)).save(tmp_path / f"{i}.png")
    examples = Examples(torch.zeros(3), files=tuple(tmp_path / f"{i}.png" for i in range(3)))
    assert all_images(batches(examples)).shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    "view", {**transforms.DETERMINISTIC_GEOMETRIES, **transforms.RANDOM_GEOMETRIES}
)
def test_a_turned_tiff_is_seen_as_its_pixels_are_stored(tmp_path, view):
    """Its height and width, which Pillow exchanges, lay out what is kept of all images."""
    tiny.write_images(tmp_path, 3, size=(50, 34))
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    for i in range(3):
        with Image.open(tmp_path / f"{i}.png") as image:
            image.save(tmp_path / f"{i}.tif", exif=exif)
    seen = []
    for kind in ("png", "tif"):
        files = tuple(tmp_path / f"{i}.{kind}" for i in range(3))
        seen.append(all_images(batches(Examples(torch.zeros(3), files=files), view, 24, order=1)))
    assert torch.equal(*seen)


@pytest.mark.parametrize("in_memory", [image_cache.MAX_CACHE_BYTES, 0])
def test_one_seed_gives_one_order_and_every_image_once_a_pass(
    suite, written, monkeypatch, in_memory
):
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", in_memory)
    examples = read(suite, written)
    first, second = (batches(examples, order=7) for _ in range(2))
    passes = [all_images(first) for _ in range(2)]
    assert torch.equal(passes[0], all_images(second))
    assert not torch.equal(passes[0], passes[1])
    ordered = all_images(batches(examples)).flatten(1).tolist()
    for seen in passes:
        assert sorted(seen.flatten(1).tolist()) == sorted(ordered)
    assert first.images_served == 24


def test_without_an_order_images_come_as_listed(suite, written):
    labels = torch.cat([labels for _, labels in batches(read(suite, written))])
    assert labels.tolist() == [0, 1] * 6


def test_streaming_gives_what_memory_gives_pass_after_pass(suite, written, monkeypatch):
    kept = batches(read(suite, written), order=3)
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", 0)
    streamed = batches(read(suite, written), order=3)
    for _ in range(2):
        assert torch.equal(all_images(kept), all_images(streamed))


def test_reading_images_draws_nothing_from_the_global_generator(suite, written, monkeypatch):
    monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", 0)
    before = torch.get_rng_state()
    for view in ("squash", "random_crop_flip"):
        all_images(batches(read(suite, written), view, order=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_pixels_are_normalised_as_by_hand(suite, written):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.5)
    examples = read(suite, written)
    found = all_images(batches(examples, size=tiny.SIDE, mean=mean, std=std))
    pixels = np.asarray(Image.open(examples.files[2])).astype(float) / 255  # (H, W, 3)
    want = ((pixels - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
    assert np.allclose(found[2].numpy(), want, atol=1e-5)


@pytest.mark.parametrize("view", transforms.RANDOM_GEOMETRIES)
def test_random_transforms_differ_by_pass_and_are_the_same_by_seed(suite, written, view):
    examples = read(suite, written)
    first, second = (batches(examples, view, order=5) for _ in range(2))
    seen = all_images(first)
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(seen, all_images(second))
    assert not torch.equal(seen.sort(0).values, all_images(first).sort(0).values)


def test_the_number_of_workers_changes_no_random_transform(suite, tmp_path, monkeypatch):
    tiny.write_task(tmp_path / "light", train=70)
    examples = read(suite, tmp_path)
    seen = []
    for workers in (0, 1, 2):
        monkeypatch.setattr(image_cache, "worker_count", lambda _, workers=workers: workers)
        seen.append(all_images(batches(examples, "random_crop_flip", order=5)))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_an_embedded_task_that_is_not_there_names_near_ones(suite, tmp_path):
    card = tmp_path / "tiny.toml"
    card.write_text(
        card.read_text(encoding="utf-8").replace("classes = 2", 'classes = 2\nembedded = "digit"'),
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="no embedded task 'digit'; did you mean digits"):
        read(load_suite(str(card)), tmp_path)


@pytest.fixture
def name(suite, root):
    """The digest of the training split as it is on disk now."""
    return lambda: splits.fingerprint(read(suite, root), root / "light")


def test_a_split_of_other_images_or_labels_has_another_identity(name, root):
    before, path = name(), root / "light" / "train.txt"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("0.png 0", "0.png 1"), encoding="utf-8")
    assert name() != before
    path.write_text("\n".join(reversed(text.splitlines())), encoding="utf-8")
    assert name() != before
    path.write_text(text, encoding="utf-8")
    assert name() == before


def test_every_image_counts(name, suite, root):
    """Of many images too: not a sample of them."""
    before = {name()}
    for file in dict.fromkeys(read(suite, root).files):
        with Image.open(file) as image:
            pixels = image.convert("RGB")
        pixels.putpixel((3, 3), (1, 2, 3))
        pixels.save(file)
        assert name() not in before
        before.add(name())


def test_a_recompressed_copy_has_another_digest(name, suite, root):
    before = name()
    for file in {*read(suite, root).files}:
        with Image.open(file) as image:
            image.convert("RGB").save(file, "JPEG", quality=75)  # the name stays, the pixels do not
    assert name() != before


def test_an_image_replaced_under_its_name_size_and_time_is_another(name, suite, root):
    before, file = name(), read(suite, root).files[-1]
    old, content = os.stat(file), bytearray(file.read_bytes())
    content[-5] ^= 1  # of the checksum at its end
    file.unlink()
    file.write_bytes(content)
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert name() != before


def test_a_link_that_points_elsewhere_is_another_image(name, suite, root):
    first, last = read(suite, root).files[0], read(suite, root).files[-1]
    kept = root / "kept.png"
    last.rename(kept)
    last.symlink_to(kept)
    before = name()
    last.unlink()
    last.symlink_to(first)
    assert name() != before


def test_a_folder_that_is_moved_is_the_same(name, suite, root, tmp_path):
    before = name()
    shutil.copytree(root, tmp_path / "elsewhere")
    moved = read(suite, tmp_path / "elsewhere")
    assert splits.fingerprint(moved, tmp_path / "elsewhere" / "light") == before


def test_a_second_check_reads_no_image(name, monkeypatch):
    before = name()
    monkeypatch.setattr(utils_files, "sha256_of_file", lambda _: pytest.fail("was read again"))
    assert name() == before


def test_where_nothing_can_be_remembered_it_is_the_same(name, monkeypatch):
    before = name()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert name() == before
