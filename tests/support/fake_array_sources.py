"""Tiny sources that store arrays, in the authors' formats: same names, same layout.

Each function writes a source into a folder and returns the pixels by split and key.
"""

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import h5py
import numpy as np
import scipy.io

Pixels = dict[tuple[str, str], np.ndarray]
DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
NORB = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}


def random(shape: tuple[int, ...], seed: int, below: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, below, shape, np.uint8)


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a source's folder by name, as readers get them."""
    return {path.name: path for path in sorted(folder.iterdir())}


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def cifar100_records(count: int = 7) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fine classes and images (N, 32, 32, 3) of each split."""
    return {
        split: (np.arange(n) * 13 % 100, random((n, 32, 32, 3), seed))
        for seed, (split, n) in enumerate({"test": count - 2, "train": count}.items())
    }


def planes(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def cifar100_binary(folder: Path) -> Pixels:
    members = {"cifar-100-binary/fine_label_names.txt": b"apple\n"}
    records = cifar100_records()
    for split, (fine, images) in records.items():
        rows = [fine // 5, fine, planes(images)]
        table = np.concatenate([np.reshape(r, (len(fine), -1)) for r in rows], axis=1)
        members[f"cifar-100-binary/{split}.bin"] = table.astype(np.uint8).tobytes()
    tar(folder / "cifar-100-binary.tar.gz", members)
    return numbered({split: images for split, (_, images) in records.items()})


def cifar100_pickled(folder: Path) -> Pixels:
    members = {}
    records = cifar100_records()
    for split, (fine, images) in records.items():
        held = {
            "filenames": [f"{i}.png" for i in range(len(fine))],
            "batch_label": f"{split}ing batch 1 of 1",
            "fine_labels": fine.tolist(),
            "coarse_labels": (fine // 5).tolist(),
            "data": planes(images),
        }
        members[f"cifar-100-python/{split}"] = pickle.dumps(held, protocol=2)
    tar(folder / "cifar-100-python.tar.gz", members)
    return numbered({split: images for split, (_, images) in records.items()})


def numbered(images: dict[str, np.ndarray]) -> Pixels:
    return {(split, str(i)): image for split in images for i, image in enumerate(images[split])}


def svhn(folder: Path, missing: int = 0) -> Pixels:
    images = {"train": random((11, 32, 32, 3), 3), "test": random((4, 32, 32, 3), 4)}
    for split, pixels in images.items():
        digits = np.arange(len(pixels) - missing, dtype=np.uint8)[:, None] % 10 + 1
        held = {"X": pixels.transpose(1, 2, 3, 0), "y": digits}
        scipy.io.savemat(folder / f"{split}_32x32.mat", held, do_compression=True)
    return numbered(images)


def patch_camelyon(folder: Path, packed: bool = True, missing: int = 0) -> Pixels:
    pixels: Pixels = {}
    for seed, (split, part) in enumerate(
        {"train": "train", "validation": "valid", "test": "test"}.items()
    ):
        images = random((5 + seed, 96, 96, 3), seed)
        labels = (np.arange(len(images) - missing, dtype=np.uint8) % 2).reshape(-1, 1, 1, 1)
        for kind, held in {"x": images, "y": labels}.items():
            path = folder / f"camelyonpatch_level_2_split_{part}_{kind}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset(kind, data=held, chunks=(2, *held.shape[1:]))
            if packed:
                (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
        pixels |= {(split, f"{part}_{i}"): image for i, image in enumerate(images)}
    return pixels


def dsprites_arrays(count: int = 600) -> dict[str, np.ndarray]:
    """As many sprites as asked for, whose latent classes count through as the real ones do."""
    sizes = (1, 3, 6, 40, 32, 32)
    classes = np.stack(np.unravel_index(np.arange(count) * 1229 % 737280, sizes), axis=1)
    return {"imgs": random((count, 64, 64), 5, below=2), "latents_classes": classes}


def dsprites_hdf5(folder: Path) -> Pixels:
    held = dsprites_arrays()
    with h5py.File(folder / f"{DSPRITES}.hdf5", "w") as file:
        file.create_dataset("imgs", data=held["imgs"], chunks=(100, 16, 16), compression="gzip")
        file["latents/classes"] = held["latents_classes"]
        file["latents/values"] = held["latents_classes"] / 7
    return numbered({"train": held["imgs"] * 255})


def dsprites_npz(folder: Path) -> Pixels:
    held = dsprites_arrays()
    metadata = np.array({"title": "dSprites"}, dtype=object)  # pickled, as theirs is
    np.savez_compressed(folder / f"{DSPRITES}.npz", metadata=metadata, **held)  # type: ignore[arg-type]
    return numbered({"train": held["imgs"] * 255})


def norb_matrix(path: Path, held: np.ndarray) -> None:
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[str(held.dtype)]
    sizes = [*held.shape, *[1] * (3 - held.ndim)]
    header = np.array([magic, held.ndim, *sizes], "<i4").tobytes()
    path.write_bytes(gzip.compress(header + held.tobytes()))


def norb_info(count: int) -> np.ndarray:
    """Instance, elevation, azimuth and lighting."""
    i = np.arange(count, dtype=np.int32)
    return np.stack([i % 10, i % 9, i % 18 * 2, i % 6], axis=1)


def smallnorb(folder: Path, missing: int = 0) -> Pixels:
    pairs = {"train": random((20, 2, 96, 96), 6), "test": random((19, 2, 96, 96), 7)}
    for split, images in pairs.items():
        count = len(images) - missing
        norb_matrix(folder / f"{NORB[split]}-dat.mat.gz", images)
        norb_matrix(folder / f"{NORB[split]}-info.mat.gz", norb_info(count))
        categories = np.arange(count, dtype=np.int32) % 5
        norb_matrix(folder / f"{NORB[split]}-cat.mat.gz", categories)
    return numbered({split: images[:, 0] for split, images in pairs.items()})
