"""Tiny sources of photographs, in the authors' formats: same names, same layout.

Each function writes a source into a folder and returns the records that its reader must list:
split, key and class. Each image's bytes are unique to it.
"""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import scipy.io

from support.fake_archives import picture
from support.fake_array_sources import tar

Classes = dict[tuple[str, str], int | str]
WNIDS = ("n01440764", "n01443537", "n02085620")
KIT = "ILSVRC2012_devkit_t12"


def photo(key: str) -> bytes:
    return picture(key)


def birds(folder: Path, archive: str, at: str, ids: list[str], lists_last: bool = True) -> Classes:
    """Three lists beside images/, whose rows need not stand in one order."""
    keys = [
        f"{7 * i % 3 + 1:03d}.Bird/{number.replace('-', '')}.jpg" for i, number in enumerate(ids)
    ]
    classes = [7 * i % 3 + 1 for i in range(len(ids))]
    train = [int(i % 4 != 1) for i in range(len(ids))]
    columns = {"images.txt": keys, "image_class_labels.txt": classes, "train_test_split.txt": train}
    lists = {
        f"{at}/{name}": "".join(f"{n} {c}\n" for n, c in zip(ids, column, strict=True)).encode()
        for name, column in columns.items()
    }
    images = {f"{at}/images/{key}": photo(key) for key in keys}
    tar(folder / archive, images | lists if lists_last else lists | images)
    splits = ["train" if chosen else "test" for chosen in train]
    return {(s, k): c for s, k, c in zip(splits, keys, classes, strict=True)}


def cub(folder: Path) -> Classes:
    ids = [str(i + 1) for i in range(12)]
    return birds(folder, "CUB_200_2011.tgz", "CUB_200_2011", ids)


def nabirds(folder: Path) -> Classes:
    ids = [f"0000{i:04d}-2f0d-4b9e-a{i:03d}-0123456789ab" for i in range(10)]
    return birds(folder, "nabirds.tar.gz", "nabirds", ids, lists_last=False)


def matlab(**held: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, held)
    return file.getvalue()


def cells(values: list[str]) -> np.ndarray:
    """A column of a MATLAB cell array."""
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


def stanforddogs(folder: Path, missing: int = 0) -> Classes:
    classes: Classes = {}
    lists, images = {}, {}
    for split, count in {"test": 3, "train": 5}.items():
        dogs = [f"{WNIDS[2]}-Chihuahua/{WNIDS[2]}_{count}{i}.jpg" for i in range(count)]
        labels = np.arange(1, count + 1 - missing, dtype=np.float64)[:, None]
        lists[f"{split}_list.mat"] = matlab(
            file_list=cells(dogs), annotation_list=cells(dogs), labels=labels
        )
        images |= {f"Images/{dog}": photo(dog) for dog in dogs}
        classes |= {(split, dog): i + 1 for i, dog in enumerate(dogs)}
    tar(folder / "lists.tar", lists, "w")
    tar(folder / "images.tar", images, "w")
    return classes


def stanfordcars(folder: Path) -> Classes:
    fields = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
    cars = [(f"car_ims/{i + 1:06d}.jpg", 1, 2, 3, 4, i // 2 + 1, i % 2) for i in range(6)]
    table = np.array([cars], dtype=[(name, object) for name in fields])
    names = np.array([["AM General Hummer SUV 2000"]], dtype=object)
    (folder / "cars_annos.mat").write_bytes(matlab(annotations=table, class_names=names))
    tar(folder / "car_ims.tgz", {car[0]: photo(car[0]) for car in cars})
    return {("test" if car[6] else "train", car[0]): car[5] for car in cars}


def stanfordcars_parts(folder: Path) -> Classes:
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    classes: Classes = {}
    annotations = {}
    for split, count in {"train": 6, "test": 4}.items():
        cars = [(1, 2, 3, 4, i % 2 + 1, f"{i + 1:05d}.jpg") for i in range(count)]
        table = np.array([cars], dtype=[(name, object) for name in fields])
        annotations[split] = matlab(annotations=table)
        keys = {f"cars_{split}/{car[5]}": car[4] for car in cars}
        tar(folder / f"cars_{split}.tgz", {key: photo(key) for key in keys})
        classes |= {(split, key): label for key, label in keys.items()}
    tar(folder / "car_devkit.tgz", {"devkit/cars_train_annos.mat": annotations["train"]})
    (folder / "cars_test_annos_withlabels.mat").write_bytes(annotations["test"])
    return classes


def food101(folder: Path) -> Classes:
    names = ("apple_pie", "waffles")
    lists = {s: [f"{n}/{i}{len(s)}" for n in names for i in range(3)] for s in ("train", "test")}
    at = "food-101"
    members = {f"{at}/images/{key}.jpg": photo(f"{key}.jpg") for k in lists.values() for key in k}
    texts = {f"{at}/meta/{s}.txt": "\n".join(keys).encode() for s, keys in lists.items()}
    others = {f"{at}/classes.txt": "\n".join(names).encode(), f"{at}/meta/train.json": b"{}"}
    tar(folder / "food-101.tar.gz", members | others | texts)
    return {(s, f"{k}.jpg"): k.partition("/")[0] for s, keys in lists.items() for k in keys}


def fgvc_aircraft(folder: Path) -> Classes:
    variants = ("707-320", "An-12", "Boeing 717")
    at, classes, texts = "fgvc-aircraft-2013b/data", {}, {}
    for place, (split, name) in enumerate(
        {"train": "train", "validation": "val", "test": "test"}.items()
    ):
        numbers = {f"{place}{i:06d}": variants[i % 3] for i in range(6)}
        lines = "".join(f"{number} {variant}\n" for number, variant in numbers.items())
        texts[f"{at}/images_variant_{name}.txt"] = lines.encode()
        texts[f"{at}/images_family_{name}.txt"] = b"0000000 Boeing\n"
        classes |= {(split, f"{number}.jpg"): v for number, v in numbers.items()}
    images = {f"{at}/images/{key}": photo(key) for _, key in classes}
    tar(folder / "fgvc-aircraft-2013b.tar.gz", texts | images)
    return classes


def inat2018(folder: Path) -> Classes:
    classes: Classes = {}
    for split, (name, count) in {"train": ("train", 5), "validation": ("val", 2)}.items():
        keys = [f"train_val2018/Aves/{i % 3}/{name}{i}.jpg" for i in range(count)]
        held = {
            "info": {"year": 2018},
            "images": [{"id": i + 70, "file_name": key} for i, key in enumerate(keys)],
            "annotations": [
                {"id": 9 * i, "image_id": i + 70, "category_id": i % 3} for i in range(count)
            ],
        }
        content = json.dumps(held).encode()
        tar(folder / f"{name}2018.json.tar.gz", {f"{name}2018.json": content})
        classes |= {(split, key): i % 3 for i, key in enumerate(keys)}
    tar(folder / "train_val2018.tar.gz", {key: photo(key) for _, key in reversed(classes)})
    return classes


def training(count: int = 3) -> dict[str, list[str]]:
    return {wnid: [f"{wnid}_{i * 37}.JPEG" for i in range(count)] for wnid in WNIDS}


def validation(count: int = 4) -> dict[str, str]:
    return {f"ILSVRC2012_val_{i + 1:08d}.JPEG": WNIDS[i * 2 % 3] for i in range(count)}


def listed() -> Classes:
    train: Classes = {("train", key): wnid for wnid, keys in training().items() for key in keys}
    return train | {("validation", key): wnid for key, wnid in validation().items()}


def imagenet1k(folder: Path) -> Classes:
    parts = {}
    for wnid, keys in training().items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as inner:
            for key in keys:
                info = tarfile.TarInfo(key)
                info.size = len(photo(key))
                inner.addfile(info, io.BytesIO(photo(key)))
        parts[f"{wnid}.tar"] = file.getvalue()
    tar(folder / "ILSVRC2012_img_train.tar", parts, "w")
    tar(folder / "ILSVRC2012_img_val.tar", {key: photo(key) for key in validation()}, "w")
    kit(folder)
    return listed()


def kit(folder: Path) -> None:
    """Numbers of classes are not those of their order, and inner nodes of the tree come last."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    rows = [(2, WNIDS[0], "tench", 0), (1, WNIDS[1], "goldfish", 0), (3, WNIDS[2], "chihuahua", 0)]
    table = np.array(
        [[r] for r in [*rows, (4, "n00001740", "entity", 3)]], dtype=[(f, object) for f in fields]
    )
    numbers = {wnid: number for number, wnid, *_ in rows}
    truth = "".join(f"{numbers[wnid]}\n" for wnid in validation().values())
    at = f"{KIT}/data"
    tar(folder / f"{KIT}.tar.gz", {
        f"{at}/meta.mat": matlab(synsets=table),
        f"{at}/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    })  # fmt: skip


def imagenet1k_folders(folder: Path) -> Classes:
    for wnid, keys in training().items():
        for key in keys:
            write(folder / "train" / wnid / key)
    for key, wnid in validation().items():
        write(folder / "val" / wnid / key)
    return listed()


def imagenet1k_flat(folder: Path) -> Classes:
    classes = imagenet1k_folders(folder)
    for path in sorted((folder / "val").rglob("*.JPEG")):
        path.rename(folder / "val" / path.name)
    for below in sorted((folder / "val").iterdir()):
        if below.is_dir():
            below.rmdir()
    kit(folder)
    return classes


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo(path.name))
