"""Tiny archives in the layouts in which the sources of VTAB-1k are published.

Each function fills a folder and returns the files by their names in the source card. The image of
a record is `picture` of its key, unless the function says otherwise.
"""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Members = Mapping[str, bytes]
Files = dict[str, Path]


def picture(key: str, kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    """A file of noise that the key alone decides."""
    noise = np.random.RandomState(zlib.crc32(key.encode())).randint(0, 256, (*size[::-1], 3))
    file = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(file, kind)
    return file.getvalue()


def zipped(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def unpacked(path: Path, members: Members) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


# TFRecord files, by another way than the reader's


def crc32c(content: bytes) -> int:
    """CRC-32C a bit at a time, from its definition."""
    crc = 0xFFFFFFFF
    for bit in (byte >> i & 1 for byte in content for i in range(8)):
        crc = (crc >> 1) ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | (crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) % 2**32)


def tfrecord(*examples: bytes) -> bytes:
    lengths = [struct.pack("<Q", len(example)) for example in examples]
    return b"".join(
        n + _masked(n) + example + _masked(example)
        for n, example in zip(lengths, examples, strict=True)
    )


def _number(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def example(packed: bool = True, **features: bytes | int | float) -> bytes:
    """A tf.train.Example, its integers packed (as TensorFlow writes them) or not."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = _field(1, _field(1, value))
        elif isinstance(value, float):
            feature = _field(2, _field(1, struct.pack("<f", value)))
        else:
            number = _number(value)
            feature = _field(3, _field(1, number) if packed else b"\x08" + number)
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


# the sources


def class_folders(folder: Path, archive: str, top: str, keys: list[str]) -> Files:
    """`keys` like Forest/Forest_1.jpg."""
    members = {f"{top}/{key}": picture(key) for key in keys}
    return {archive: zipped(folder / archive, {**members, "__MACOSX/x/._y.jpg": b"", "r.txt": b""})}


def eurosat(folder: Path) -> Files:
    keys = ["Forest/Forest_1.jpg", "Forest/Forest_2.jpg", "AnnualCrop/AnnualCrop_1.jpg"]
    return class_folders(folder, "EuroSAT.zip", "2750", keys)


def resisc45(folder: Path) -> Files:
    keys = ["sea_ice/sea_ice_001.jpg", "airport/airport_001.jpg", "airport/airport_002.jpg"]
    return class_folders(folder, "NWPU-RESISC45.zip", "NWPU-RESISC45", keys)


def dtd_members() -> dict[str, bytes]:
    lists = {"train1": ["dotted/dotted_0002.jpg"], "val1": ["banded/banded_0001.jpg"]}
    lists |= {"test1": ["banded/banded_0004.jpg", "dotted/dotted_0001.jpg"]}
    lists |= {"train2": ["banded/banded_0001.jpg"]}
    images = {key for keys in lists.values() for key in keys}
    return {
        **{f"dtd/images/{key}": picture(key) for key in sorted(images)},
        **{
            f"dtd/labels/{name}.txt": "\n".join([*keys, ""]).encode()
            for name, keys in lists.items()
        },
    }


def dtd(folder: Path) -> Files:
    return {"dtd-r1.0.1.tar.gz": tarred(folder / "dtd-r1.0.1.tar.gz", dtd_members())}


def oxford_flowers102(folder: Path) -> Files:
    keys = [f"image_{i:05d}.jpg" for i in range(1, 6)]
    savemat(folder / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 1, 2]], np.uint8)})
    splits = {"trnid": [[5, 2]], "valid": [[1]], "tstid": [[4, 3]]}
    savemat(folder / "setid.mat", {name: np.array(ids, np.uint16) for name, ids in splits.items()})
    tarred(folder / "102flowers.tgz", {f"jpg/{key}": picture(key) for key in keys})
    return {name: folder / name for name in ("imagelabels.mat", "setid.mat", "102flowers.tgz")}


def oxford_iiit_pet(folder: Path) -> Files:
    lists = {"trainval": "Abyssinian_100 1 1 1\npug_2 26 2 20\n", "test": "Abyssinian_201 1 1 1\n"}
    keys = ["Abyssinian_100.jpg", "Abyssinian_201.jpg", "pug_2.jpg"]
    images = {f"images/{key}": picture(key, size=(60, 60)) for key in keys}
    said = {f"annotations/{name}.txt": text.encode() for name, text in lists.items()}
    return {
        "images.tar.gz": tarred(folder / "images.tar.gz", images),
        "annotations.tar.gz": tarred(folder / "annotations.tar.gz", said),
    }


SUN397 = {
    "/a/abbey/sun_big.jpg": picture("big", size=(500, 400)),
    "/a/abbey/sun_small.jpg": picture("small", "PNG", (40, 30)),
    "/c/church/outdoor/sun_gif.jpg": picture("gif", "GIF", (20, 10)),
    "/t/track/outdoor/sun_aophkoiosslinihb.jpg": b"no image at all",
}


def sun397(folder: Path) -> Files:
    images = list(SUN397)
    lists = {"tr": [images[0], images[3]], "va": [images[2]], "te": [images[1]]}
    package = "tensorflow_datasets-4.9.10-py3-none-any.whl"
    below = "tensorflow_datasets/image_classification/sun397_tfds_"
    said = {f"{below}{name}.txt": "\n".join(keys).encode() for name, keys in lists.items()}
    return {
        package: zipped(folder / package, said),
        "SUN397.tar.gz": tarred(
            folder / "SUN397.tar.gz", {f"SUN397{key}": content for key, content in SUN397.items()}
        ),
    }


def eye(height: int, width: int, radius: int, wave: int = 7) -> np.ndarray:
    """A reddish disc, with vessels of a kind, on black."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height // 2) ** 2 + (x - width // 2) ** 2 < radius**2
    waves = 20 * np.sin(x / wave)[..., None]
    return np.where(inside[..., None], np.array([180, 90, 40]) + waves, 0).astype(np.uint8)


EYES = {"left": 7, "right": 11}  # and how wide their vessels are


def _eye_file(radius: int, wave: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(eye(240, 300, radius, wave)).save(file, "JPEG")
    return file.getvalue()


def diabetic_retinopathy(folder: Path) -> Files:
    solution = "image,level,Usage\n1_left,0,Private\n1_right,3,Public\n"
    (folder / "trainLabels.csv").write_text(
        "image,level\n10_left,0\n10_right,4\n", encoding="utf-8"
    )
    (folder / "retinopathy_solution.csv").write_text(solution, encoding="utf-8")
    train = {f"train/10_{side}.jpeg": _eye_file(100, wave) for side, wave in EYES.items()}
    test = {f"1_{side}.jpeg": _eye_file(110, wave) for side, wave in EYES.items()}
    return {
        **{name: folder / name for name in ("trainLabels.csv", "retinopathy_solution.csv")},
        "train.zip": zipped(folder / "train.zip", train),
        "test": unpacked(folder / "test", test),
    }


def scene(image: str, depths: list[float]) -> dict[str, object]:
    """A shortened CLEVR scene description of an image."""
    kind = {"color": "red", "size": "large", "shape": "cube", "material": "metal", "rotation": 1.5}
    objects = [{**kind, "3d_coords": [1, 2, 3], "pixel_coords": [10, 20, d]} for d in depths]
    return {
        "image_index": 0,
        "objects": objects,
        "relationships": {"left": [[1], []]},
        "image_filename": image,
        "directions": {"left": [0.1, 0.2, 0.3]},
    }


def clevr(folder: Path) -> Files:
    keys = {
        "train": {"CLEVR_train_000000.png": [9.5, 8.25, 12], "CLEVR_train_000001.png": [11] * 4},
        "val": {"CLEVR_val_000000.png": [8.0] * 10},
    }
    members: dict[str, bytes] = {}
    for split, scenes in keys.items():
        said = {"info": {"split": split}, "scenes": [scene(*item) for item in scenes.items()]}
        images = {f"images/{split}/{key}": picture(key, "PNG") for key in scenes}
        members |= {**images, f"scenes/CLEVR_{split}_scenes.json": json.dumps(said).encode()}
    inside = {f"CLEVR_v1.0/{name}": content for name, content in members.items()}
    return {"CLEVR_v1.0.zip": zipped(folder / "CLEVR_v1.0.zip", inside)}


KITTI = [*("Car 0 0 -1.6 1 2 3 4 1.5 1.6 3.9 -10 1.7 8.01 -1.6", "Pedestrian" + " 4.25" * 14),
         *("DontCare -1 -1 -10 5 6 7 8 -1 -1 -1 -1000 -1000 -1000 -10",)]  # fmt: skip


def kitti(folder: Path, labels: int = 20) -> Files:
    """20 images, the i-th from the video (19 - i) % 10; a car in the first only."""
    lines = "".join(f"2011_09_26 drive_{i % 10:04d}_sync 00000{i:05d}\n" for i in range(20))
    turned = ",".join(str(20 - i) for i in range(20))
    mapping = {"train_mapping": lines.encode(), "train_rand": turned.encode()}
    said = ["\n".join(KITTI)] + ["\n".join(KITTI[1:])] * (labels - 1)
    texts = {f"training/label_2/{i:06d}.txt": text.encode() for i, text in enumerate(said)}
    keys = [f"{i:06d}.png" for i in range(20)]
    images = {f"training/image_2/{key}": picture(key, "PNG") for key in keys}
    parts: dict[str, Members] = {"data_object_label_2.zip": texts}
    parts["devkit_object.zip"] = {f"mapping/{n}.txt": text for n, text in mapping.items()}
    parts["data_object_image_2.zip"] = {**images, "testing/image_2/000000.png": b""}
    return {name: zipped(folder / name, members) for name, members in parts.items()}


def dmlab_members() -> dict[str, bytes]:
    shards = {
        "dmlab-train.tfrecord-00000-of-00002": {"video_1.jpg": 5},
        "dmlab-train.tfrecord-00001-of-00002": {"video_2.jpg": 0},
        "dmlab-validation.tfrecord": {"video_3.jpg": 1},
        "dmlab-test.tfrecord": {"video_4.jpg": 2, "video_5.jpg": 3},
    }
    return {
        member: tfrecord(
            *(
                example(label % 2 == 0, image=picture(key), filename=key.encode(), label=label)
                for key, label in records.items()
            )
        )
        for member, records in shards.items()
    }


def dmlab(folder: Path) -> Files:
    return {"dmlab.tar.gz": tarred(folder / "dmlab.tar.gz", dmlab_members())}


def caltech101(folder: Path) -> Files:
    records = {"train": {"image_0002.jpg": 4, "image_0001.jpg": 0}, "test": {"image_0007.jpg": 101}}
    names = {4: "BACKGROUND_Google", 0: "accordion", 101: "yin_yang"}
    shards = {
        f"caltech101-{split}.tfrecord-00000-of-00001": tfrecord(
            *(
                example(
                    **{"image/file_name": name.encode(), "label": label},
                    image=picture(f"{names[label]}/{name}"),
                )
                for name, label in some.items()
            )
        )
        for split, some in records.items()
    }
    return {
        "caltech101-tfds": unpacked(folder / "caltech101-tfds", {**shards, "features.json": b""})
    }


SOURCES: dict[str, Callable[[Path], Files]] = {
    "caltech101": caltech101,
    "clevr": clevr,
    "diabetic_retinopathy": diabetic_retinopathy,
    "dmlab": dmlab,
    "dtd": dtd,
    "eurosat": eurosat,
    "kitti": kitti,
    "oxford_flowers102": oxford_flowers102,
    "oxford_iiit_pet": oxford_iiit_pet,
    "resisc45": resisc45,
    "sun397": sun397,
}
