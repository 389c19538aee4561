"""Images per second of `bench data prepare`: pixels written as PNG, files kept as published.

Run by ``tox -e speed``; each time is of so many images as its group says.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.prepare import writer
from bench.prepare.readers.class_folders import ClassFolders
from bench.utils import parallel

IMAGES = 1000


@pytest.mark.benchmark(group=f"write {IMAGES} images of 32x32 pixels as PNG")
@pytest.mark.parametrize("threads", [1, parallel.THREADS])
def test_pixels_become_png(benchmark, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(parallel, "THREADS", threads)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    pictures = [(("train", str(i)), image) for i, image in enumerate(pixels)]
    benchmark(writer.write_images, tmp_path, pictures)


@pytest.mark.long
@pytest.mark.benchmark(group=f"keep {IMAGES} JPEG files of 500x375 pixels, each decoded")
@pytest.mark.parametrize("threads", [1, parallel.THREADS])
def test_files_are_kept(benchmark, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(parallel, "THREADS", threads)
    files = {"photos.zip": photos(tmp_path / "photos.zip")}
    reader = ClassFolders(files, "photos.zip", ".jpg", "{folder}_{file}")
    wanted = {(entry.split, entry.key) for entry in reader.entries()}
    benchmark.pedantic(
        lambda: writer.write_images(tmp_path, reader.images(wanted)), rounds=3, warmup_rounds=1
    )


def photos(path: Path) -> Path:
    rough = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    smooth = Image.fromarray(rough).resize((500, 375))
    with zipfile.ZipFile(path, "w") as file:
        for i in range(IMAGES):
            stream = io.BytesIO()
            smooth.rotate(i % 360).save(stream, "JPEG", quality=90)
            file.writestr(f"photos/class{i % 10}/{i}.jpg", stream.getvalue())
    return path
