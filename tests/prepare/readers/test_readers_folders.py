"""Readers of folders, lists and TFRecords, on tiny archives in the official layouts."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.config.suite import LabelRule, load_source, load_suite
from bench.prepare.readers import READERS
from bench.prepare.readers.base import (
    Annotation,
    Files,
    ImageData,
    RecordKey,
    SourceReader,
    SourceRecord,
)
from bench.prepare.readers.medical import graham_preprocess
from bench.prepare.readers.scenes import nearest_vehicle, split_by_video
from bench.prepare.readers.tfrecords import masked_crc32c
from bench.prepare.sampling import digest_of_keys, keys_by_rank
from bench.prepare.splits import classes_of
from bench.utils.errors import UserError
from support import fake_archives
from support.fake_archives import picture

REMADE = {"sun397", "diabetic_retinopathy"}  # their images are published in another form
WHOLE = sorted(fake_archives.SOURCES.keys() - REMADE)
TRAIN, VALIDATION, TEST = "train", "validation", "test"

RECORDS: dict[str, dict[RecordKey, dict[str, Annotation]]] = {
    "caltech101": {
        (TRAIN, "BACKGROUND_Google/image_0002.jpg"): {"class": 4},
        (TRAIN, "accordion/image_0001.jpg"): {"class": 0},
        (TEST, "yin_yang/image_0007.jpg"): {"class": 101},
    },
    "clevr": {
        (TRAIN, "CLEVR_train_000000.png"): {"objects": 3, "nearest": 8.25},
        (TRAIN, "CLEVR_train_000001.png"): {"objects": 4, "nearest": 11},
        (VALIDATION, "CLEVR_val_000000.png"): {"objects": 10, "nearest": 8},
    },
    "diabetic_retinopathy": {
        (TRAIN, "10_left"): {"class": 0},
        (TRAIN, "10_right"): {"class": 4},
        (VALIDATION, "1_right"): {"class": 3},
        (TEST, "1_left"): {"class": 0},
    },
    "dmlab": {
        (TRAIN, "video_1.jpg"): {"class": 5},
        (TRAIN, "video_2.jpg"): {"class": 0},
        (VALIDATION, "video_3.jpg"): {"class": 1},
        (TEST, "video_4.jpg"): {"class": 2},
        (TEST, "video_5.jpg"): {"class": 3},
    },
    "dtd": {
        (TRAIN, "dotted/dotted_0002.jpg"): {"class": "dotted"},
        (VALIDATION, "banded/banded_0001.jpg"): {"class": "banded"},
        (TEST, "banded/banded_0004.jpg"): {"class": "banded"},
        (TEST, "dotted/dotted_0001.jpg"): {"class": "dotted"},
    },
    "eurosat": {
        (TRAIN, "Forest_Forest_1.jpg"): {"class": "Forest"},
        (TRAIN, "Forest_Forest_2.jpg"): {"class": "Forest"},
        (TRAIN, "AnnualCrop_AnnualCrop_1.jpg"): {"class": "AnnualCrop"},
    },
    "kitti": {  # the image i comes from the video (19 - i) % 10; those of 4 and 3 were drawn
        (
            TEST if i in (5, 15) else VALIDATION if i in (6, 16) else TRAIN,
            f"{i:06d}.png",
        ): {"nearest": 8.01 if i == 0 else 1000}
        for i in range(20)
    },
    "oxford_flowers102": {
        (TRAIN, "image_00005.jpg"): {"class": 2},
        (TRAIN, "image_00002.jpg"): {"class": 1},
        (VALIDATION, "image_00001.jpg"): {"class": 77},
        (TEST, "image_00004.jpg"): {"class": 1},
        (TEST, "image_00003.jpg"): {"class": 102},
    },
    "oxford_iiit_pet": {
        (TRAIN, "Abyssinian_100.jpg"): {"class": 1},
        (TRAIN, "pug_2.jpg"): {"class": 26},
        (TEST, "Abyssinian_201.jpg"): {"class": 1},
    },
    "resisc45": {
        (TRAIN, "sea_ice_sea_ice_001.jpg"): {"class": "sea_ice"},
        (TRAIN, "airport_airport_001.jpg"): {"class": "airport"},
        (TRAIN, "airport_airport_002.jpg"): {"class": "airport"},
    },
    "sun397": {
        (TRAIN, "/a/abbey/sun_big.jpg"): {"class": "/a/abbey"},
        (TRAIN, "/t/track/outdoor/sun_aophkoiosslinihb.jpg"): {"class": "/t/track/outdoor"},
        (VALIDATION, "/c/church/outdoor/sun_gif.jpg"): {"class": "/c/church/outdoor"},
        (TEST, "/a/abbey/sun_small.jpg"): {"class": "/a/abbey"},
    },
}


def reader(source: str, files: Files) -> SourceReader:
    """The reader of a source, with its card's options."""
    card = load_source(source)
    assert set(files) <= {file.name for file in card.file}
    return READERS[card.format](files, **card.options)


def fabricate(source: str, folder: Path) -> SourceReader:
    return reader(source, fake_archives.SOURCES[source](folder))


def published(source: str, name: RecordKey) -> bytes:
    """The file in the fabricated archive."""
    key = name[1]
    if source in ("eurosat", "resisc45"):  # Forest_Forest_1.jpg
        key = f"{RECORDS[source][name]['class']}/" + key.removeprefix(
            f"{RECORDS[source][name]['class']}_"
        )
    size = (60, 60) if source == "oxford_iiit_pet" else (8, 6)
    return picture(key, "PNG" if key.endswith(".png") else "JPEG", size)


def opened(image: ImageData) -> np.ndarray:
    assert isinstance(image, bytes)
    return np.asarray(Image.open(io.BytesIO(image)))


@pytest.mark.parametrize("source", sorted(fake_archives.SOURCES))
def test_every_record_is_listed_with_its_split_key_and_facts(source: str, tmp_path: Path) -> None:
    entries = list(fabricate(source, tmp_path).entries())
    assert {(e.split, e.key): dict(e.facts) for e in entries} == RECORDS[source]
    assert len(entries) == len(RECORDS[source])


@pytest.mark.parametrize("source", WHOLE)
def test_images_are_the_files_as_published(source: str, tmp_path: Path) -> None:
    images = list(fabricate(source, tmp_path).images(RECORDS[source]))
    assert dict(images) == {name: published(source, name) for name in RECORDS[source]}
    assert len(images) == len(RECORDS[source])


@pytest.mark.parametrize("source", sorted(fake_archives.SOURCES))
def test_only_the_wanted_images_are_read(source: str, tmp_path: Path) -> None:
    wanted = min(RECORDS[source])
    assert [name for name, _ in fabricate(source, tmp_path).images([wanted])] == [wanted]


@pytest.mark.parametrize("source", sorted(RECORDS.keys()))
def test_the_card_says_where_each_file_comes_from_and_its_tasks_use_the_facts(source: str) -> None:
    facts = next(iter(RECORDS[source].values()))
    tasks = [task for task in load_suite("vtab1k").task if task.source == source]
    assert tasks
    assert all(task.label and task.label.fact in facts for task in tasks)
    for file in load_source(source).file:
        assert all(url.startswith("https://") for url in file.urls)
        assert file.how or file.md5 or file.sha256
        assert not file.how or f"archives/{source}/{file.name.partition('.')[0]}" in file.how


@pytest.mark.parametrize("top", ["dtd/", ""])
def test_a_folder_unpacked_with_or_without_its_top_reads_the_same(tmp_path: Path, top: str) -> None:
    members = {top + k.removeprefix("dtd/"): v for k, v in fake_archives.dtd_members().items()}
    dtd = reader("dtd", {"dtd-r1.0.1.tar.gz": fake_archives.unpacked(tmp_path / "x", members)})
    assert {(e.split, e.key) for e in dtd.entries()} == set(RECORDS["dtd"])
    assert len(dict(dtd.images(RECORDS["dtd"]))) == 4


# SUN397 and Retinopathy: the published form


def test_sun397_s_images_have_at_most_120_000_pixels(tmp_path: Path) -> None:
    wanted = [name for name in RECORDS["sun397"] if "track" not in name[1]]
    images = {name[1]: image for name, image in fabricate("sun397", tmp_path).images(wanted)}
    assert opened(images["/a/abbey/sun_big.jpg"]).shape == (310, 387, 3)  # of 400 by 500
    assert opened(images["/a/abbey/sun_small.jpg"]).shape == (30, 40, 3)
    assert all(bytes(image).startswith(b"\xff\xd8") for image in images.values())


def test_sun397_s_colours_stay_in_their_order(tmp_path: Path) -> None:
    files = fake_archives.sun397(tmp_path)
    red = {}
    for kind, key in (("PNG", "/a/abbey/sun_small.jpg"), ("GIF", "/c/church/outdoor/sun_gif.jpg")):
        file = io.BytesIO()
        Image.new("RGB", (20, 20), (250, 5, 5)).save(file, kind)
        red["SUN397" + key] = file.getvalue()
    fake_archives.tarred(files["SUN397.tar.gz"], red)
    wanted = [(TEST, "/a/abbey/sun_small.jpg"), (VALIDATION, "/c/church/outdoor/sun_gif.jpg")]
    for _, image in reader("sun397", files).images(wanted):
        assert np.abs(opened(image)[10, 10].astype(int) - [250, 5, 5]).max() < 8


def test_the_one_image_of_sun397_that_nobody_can_decode_is_named(tmp_path: Path) -> None:
    name = (TRAIN, "/t/track/outdoor/sun_aophkoiosslinihb.jpg")
    with pytest.raises(UserError, match=r"SUN397.tar.gz: its member .*sun_aophkoiosslinihb.jpg"):
        list(fabricate("sun397", tmp_path).images([name]))


@pytest.mark.parametrize("radius", [100, 200, 370])
def test_an_eye_becomes_540_pixels_wide_with_grey_beyond(radius: int) -> None:
    seen = graham_preprocess(fake_archives.eye(800, 900, radius))
    assert seen.shape == (540, 540, 3)
    y, x = np.mgrid[:540, :540]
    beyond = (y - 270) ** 2 + (x - 270) ** 2 > 272**2
    assert (seen[beyond] == 128).all()
    assert abs(float(seen[~beyond].mean()) - 128) < 2  # the local average is gone
    assert seen[~beyond].std() > 5  # the vessels are not


def test_an_eye_cut_off_above_and_below_is_scaled_and_no_higher() -> None:
    height, width, _ = graham_preprocess(fake_archives.eye(200, 400, 150)).shape
    assert width == 540
    assert abs(height - 400) <= 1  # its radius, in whole pixels, is 299 or 300


def test_where_no_eye_is_seen_half_the_height_is_its_radius() -> None:
    seen = graham_preprocess(np.zeros((60, 80, 3), np.uint8))
    assert seen.shape == (540, 540, 3)
    assert (seen == 128).all()


def test_retinopathy_s_images_are_small_jpeg_files(tmp_path: Path) -> None:
    for _, image in fabricate("diabetic_retinopathy", tmp_path).images(
        RECORDS["diabetic_retinopathy"]
    ):
        assert opened(image).shape == (540, 540, 3)
        assert np.abs(opened(image)[:9, :9].astype(int) - 128).max() < 4


@pytest.mark.parametrize("source", sorted(REMADE))
def test_without_opencv_a_sentence_says_how_to_get_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = fabricate(source, tmp_path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert len(list(read.entries())) == 4  # records need none
    with pytest.raises(UserError, match="pip install opencv-python-headless"):
        next(read.images(RECORDS[source]))


# KITTI, CLEVR and TFRecord files


def test_no_video_of_kitti_lies_in_two_splits_and_a_tenth_of_them_in_each() -> None:
    videos = [f"drive_{i % 30:04d}" for i in range(100)]
    split_of = split_by_video(videos)
    pairs = set(zip(videos, split_of, strict=True))
    assert len(pairs) == 30
    assert [sum(s == split for _, s in pairs) for split in (TRAIN, VALIDATION, TEST)] == [24, 3, 3]


def test_kitti_s_videos_are_drawn_as_numpy_s_old_generator_draws_them() -> None:
    videos = [f"drive_{i:04d}" for i in range(10)]
    first, second = np.random.RandomState(123), np.random.RandomState(123)
    test = videos[first.permutation(10)[0]]
    second.permutation(10)
    rest = [video for video in videos if video != test]
    validation = rest[second.permutation(9)[0]]
    assert [test, validation] == ["drive_0004", "drive_0003"]
    split_of = dict(zip(videos, split_by_video(videos[::-1])[::-1], strict=True))
    assert (split_of[test], split_of[validation]) == (TEST, VALIDATION)


def test_the_nearest_car_van_or_truck_counts() -> None:
    line = "{} 0 0 0 0 0 0 0 0 0 0 1 2 {} 0\n"
    kinds = {"Pedestrian": 3, "DontCare": -1000, "Tram": 5, "Truck": 30.5, "Van": 20.25, "Car": 40}
    assert nearest_vehicle("".join(line.format(*item) for item in kinds.items())) == 20.25
    assert nearest_vehicle("") == 1000


def test_clevr_s_depths_are_compared_as_float32(tmp_path: Path) -> None:
    files = fake_archives.clevr(tmp_path)
    facts = {e.key: e.facts for e in reader("clevr", files).entries()}
    assert facts["CLEVR_train_000000.png"]["nearest"] == np.float32(8.25)


def test_the_checksum_is_that_of_the_standard() -> None:
    assert fake_archives.crc32c(b"123456789") == 0xE3069283
    mask = (0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8
    assert masked_crc32c(b"123456789") == mask & 0xFFFFFFFF


def test_records_may_lie_in_a_zip_file_or_a_folder_as_well(tmp_path: Path) -> None:
    members = {f"dmlab/{name}": content for name, content in fake_archives.dmlab_members().items()}
    for path in (
        fake_archives.zipped(tmp_path / "z", members),
        fake_archives.unpacked(tmp_path / "u", members),
    ):
        read = reader("dmlab", {"dmlab.tar.gz": path})
        assert {(e.split, e.key) for e in read.entries()} == set(RECORDS["dmlab"])
        assert len(dict(read.images(RECORDS["dmlab"]))) == 5


def test_features_that_are_no_bytes_or_integers_are_left_out(tmp_path: Path) -> None:
    record = fake_archives.example(depth=1.5, image=b"i", filename=b"f", label=300, other=2**40)
    splits = ("train", "validation", "test")
    members = {f"dmlab-{split}.tfrecord": fake_archives.tfrecord(record) for split in splits}
    read = reader("dmlab", {"dmlab.tar.gz": fake_archives.tarred(tmp_path / "t", members)})
    assert next(read.entries()) == SourceRecord("train", "f", {"class": 300})


# Labels


def classes(label: LabelRule, *values: Annotation) -> list[int]:
    return classes_of(
        label, [SourceRecord("train", str(i), {"x": v}) for i, v in enumerate(values)]
    )


def of_task(task: str, *values: Annotation) -> list[int]:
    label = load_suite("vtab1k").find(task).label
    assert label
    return classes_of(label, [SourceRecord("train", "k", {label.fact: value}) for value in values])


def test_clevr_s_counts_begin_at_three() -> None:
    assert of_task("clevr_count", 3, 10) == [0, 7]


def test_clevr_s_distances_are_binned_and_an_edge_belongs_below() -> None:
    depths = (0.1, 8, 8.001, 8.5, 8.501, 9, 9.001, 9.5, 9.501, 10, 10.001, 100)
    assert of_task("clevr_dist", *depths) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_kitti_s_distances_are_binned_and_an_edge_belongs_below() -> None:
    depths = (-3.2, 8, 8.01, 20, 20.01, 999, 1000)
    assert of_task("kitti", *depths) == [0, 0, 1, 1, 2, 2, 3]


def test_pets_and_flowers_count_from_one() -> None:
    assert of_task("oxford_iiit_pet", 1, 37) == [0, 36]
    assert of_task("oxford_flowers102", 1, 102) == [0, 101]


def test_names_stand_in_the_order_of_their_letters() -> None:
    assert of_task("sun397", "/b/bar", "/a/abbey", "/b/bar", "/c/car") == [1, 0, 1, 2]


def test_a_label_s_steps_come_in_their_order() -> None:
    assert classes(LabelRule("x", divide=2.5), 0, 2, 3, 4, 5, 39) == [0, 0, 1, 1, 2, 15]
    assert classes(LabelRule("x", modulo=10), 1, 9, 10) == [1, 9, 0]
    assert classes(LabelRule("x", subtract=1, divide=2, modulo=3), 1, 3, 8) == [0, 1, 0]
    assert classes(LabelRule("x", subtract=1, ranked=True), 30, 10, 20) == [2, 0, 1]


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        (LabelRule("y"), 1, "needs the fact 'y'; 0 has x"),
        (LabelRule("x"), "cat", "is text, 'cat': its label must be ranked"),
        (LabelRule("x", above=[0, 8]), 0, "0 is not above 0"),
    ],
)
def test_a_label_that_does_not_fit_its_facts_is_refused(
    label: LabelRule, value: Annotation, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        classes(label, value)


# What is broken


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_pets(folder: Path) -> Files:
    files = fake_archives.oxford_iiit_pet(folder)
    cut(files["images.tar.gz"])
    return files


def cut_clevr(folder: Path) -> Files:
    files = fake_archives.clevr(folder)
    cut(files["CLEVR_v1.0.zip"])
    return files


def cut_flowers(folder: Path) -> Files:
    files = fake_archives.oxford_flowers102(folder)
    cut(files["imagelabels.mat"])
    return files


def flowers_with_too_few_labels(folder: Path) -> Files:
    files = fake_archives.oxford_flowers102(folder)
    fake_archives.savemat(files["imagelabels.mat"], {"labels": np.array([[1, 2]])})
    return files


def dtd_without_a_list(folder: Path) -> Files:
    members = {k: v for k, v in fake_archives.dtd_members().items() if "val1" not in k}
    return {"dtd-r1.0.1.tar.gz": fake_archives.tarred(folder / "x.tar.gz", members)}


def dtd_without_an_image(folder: Path) -> Files:
    members = {k: v for k, v in fake_archives.dtd_members().items() if "dotted_0001" not in k}
    return {"dtd-r1.0.1.tar.gz": fake_archives.tarred(folder / "x.tar.gz", members)}


def pets_with_a_wordy_list(folder: Path) -> Files:
    files = fake_archives.oxford_iiit_pet(folder)
    members = {f"annotations/{name}.txt": b"pug_2 pug\n" for name in ("trainval", "test")}
    fake_archives.tarred(files["annotations.tar.gz"], members)
    return files


def clevr_of_half_a_scene(folder: Path) -> Files:
    said = {f"CLEVR_v1.0/scenes/CLEVR_{s}_scenes.json": b'{"scenes": [' for s in ("train", "val")}
    return {"CLEVR_v1.0.zip": fake_archives.zipped(folder / "c.zip", said)}


def solution_without_levels(folder: Path) -> Files:
    files = fake_archives.diabetic_retinopathy(folder)
    files["retinopathy_solution.csv"].write_text("image,grade\n1_left,2\n", encoding="utf-8")
    return files


def dmlab_with(folder: Path, changed: Callable[[bytes], bytes]) -> Files:
    members = fake_archives.dmlab_members()
    members["dmlab-validation.tfrecord"] = changed(members["dmlab-validation.tfrecord"])
    return {"dmlab.tar.gz": fake_archives.tarred(folder / "d.tar.gz", members)}


def dmlab_of_a_wrong_checksum(folder: Path) -> Files:
    return dmlab_with(folder, lambda content: content[:8] + b"wrong" + content[13:])


def dmlab_cut_in_a_head(folder: Path) -> Files:
    return dmlab_with(folder, lambda content: content[:7])


def dmlab_cut_in_a_record(folder: Path) -> Files:
    return dmlab_with(folder, lambda content: content[:90])


def dmlab_without_a_split(folder: Path) -> Files:
    members = {k: v for k, v in fake_archives.dmlab_members().items() if "test" not in k}
    return {"dmlab.tar.gz": fake_archives.tarred(folder / "d.tar.gz", members)}


def eurosat_that_climbs(folder: Path) -> Files:
    climbing = {"2750/../../Forest/Forest_1.jpg": picture("x")}
    return {"EuroSAT.zip": fake_archives.zipped(folder / "e.zip", climbing)}


def eurosat_that_swells(folder: Path) -> Files:
    bomb = {"2750/Forest/Forest_1.jpg": bytes(8_000_000)}
    return {"EuroSAT.zip": fake_archives.zipped(folder / "e.zip", bomb)}


def eurosat_of_nothing(folder: Path) -> Files:
    return {"EuroSAT.zip": fake_archives.zipped(folder / "e.zip", {"readme.txt": b""})}


def nothing(folder: Path) -> Files:
    return {}


BROKEN: list[tuple[str, Callable[[Path], Files], str]] = [
    ("oxford_iiit_pet", cut_pets, r"images.tar.gz is corrupt or truncated"),
    ("oxford_iiit_pet", pets_with_a_wordy_list, r"annotations.tar.gz: its member trainval.txt"),
    ("clevr", cut_clevr, r"CLEVR_v1.0.zip is corrupt or truncated"),
    ("clevr", clevr_of_half_a_scene, r"c.zip: its member scenes/CLEVR_train_scenes.json"),
    ("oxford_flowers102", cut_flowers, r"imagelabels.mat is "),
    ("oxford_flowers102", flowers_with_too_few_labels, r"imagelabels.mat is not laid out"),
    ("dtd", dtd_without_a_list, r"x.tar.gz: 1 of its members are missing: dtd/labels/val1.txt"),
    ("dtd", dtd_without_an_image, r"missing: dtd/images/dotted/dotted_0001.jpg"),
    ("diabetic_retinopathy", solution_without_levels, r"retinopathy_solution.csv is not laid out"),
    ("kitti", lambda f: fake_archives.kitti(f, labels=19), r"missing: training/label_2/000019.txt"),
    ("dmlab", dmlab_of_a_wrong_checksum, r"d.tar.gz: its member dmlab-validation.*checksum"),
    ("dmlab", dmlab_cut_in_a_head, r"d.tar.gz: its member dmlab-validation.tfrecord is truncated"),
    ("dmlab", dmlab_cut_in_a_record, r"d.tar.gz: its member dmlab-validation.tfrecord is "),
    ("dmlab", dmlab_without_a_split, r"d.tar.gz holds no file dmlab-test.tfrecord"),
    ("eurosat", eurosat_that_climbs, r"e.zip: its member '2750/../../Forest.*lies outside"),
    ("eurosat", eurosat_that_swells, r"e.zip: its member 2750/Forest/Forest_1.jpg would expand"),
    ("eurosat", eurosat_of_nothing, r"e.zip holds no .jpg files"),
    ("diabetic_retinopathy", nothing, r"trainLabels.csv is not there"),
]


@pytest.mark.parametrize(("source", "broken", "said"), BROKEN)
def test_what_is_broken_is_named_in_one_sentence(
    source: str, broken: Callable[[Path], Files], said: str, tmp_path: Path
) -> None:
    read = reader(source, broken(tmp_path))
    with pytest.raises(UserError, match=said) as error:
        list(read.images([(e.split, e.key) for e in read.entries()]))
    assert "\n" not in str(error.value)


# The real lists


def test_sun397_s_selection_and_classes_follow_from_the_real_lists(shared: Path) -> None:
    card, task = load_source("sun397"), load_suite("vtab1k").find("sun397")
    package = card.options["package"]
    path = shared / "data" / "archives" / "sun397" / package
    if not path.exists():
        pytest.skip(f"needs {path}")
    entries = list(reader("sun397", {package: path}).entries())
    assert task.label
    labels = dict(
        zip(((e.split, e.key) for e in entries), classes_of(task.label, entries), strict=True)
    )
    seen = {}
    for split, ranks in task.ranks.items():
        keys = keys_by_rank(ranks, [e.key for e in entries if e.split == ranks.source])
        assert digest_of_keys(keys) == ranks.digest
        seen[split] = {labels[ranks.source, key] for key in keys}
    assert len(seen["train"]) == 309
    assert len(seen["train"] | seen["val"]) == 325
