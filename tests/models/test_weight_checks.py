"""Weights files that are none: a sentence each, before any compute, in bounded time and memory."""

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.config.backbone import BackboneCard
from bench.models import (
    backbones,
    checkpoints,
    state_dicts,
    weight_checks,
    weight_conversion,
    weight_files,
)
from bench.utils.errors import UserError
from support import odd_files, tiny

ENDINGS = ("safetensors", "pth")


def safetensors_with(header: bytes, size: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + data


def header_of(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


def tensor_of(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


class Hostile:
    """Pickled, it is a call of `print` in whoever unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return print, ("it has run",)


def zipped(*members: tuple[str, bytes], compress: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compress else 0) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return stream.getvalue()


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def bomb() -> bytes:
    """A file as torch writes it, but for a member of a gigabyte of zeros in a thousandth of it."""
    stream = io.BytesIO(saved({"a": torch.zeros(4)}))
    with (
        zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as packed,
        packed.open("archive/data/1", "w", force_zip64=True) as member,
    ):
        for _ in range(256):
            member.write(bytes(2**20))
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(4, np.float32))
    return stream.getvalue()


SAFETENSORS = {
    "a header of 8 TB": safetensors_with(b"{}", 8 * 2**40),
    "a header without end": safetensors_with(b"{", 1),
    "a header that is no object": safetensors_with(b"[]"),
    "a header that is nested deeply": safetensors_with(b"[" * 100_000),
    "cut off": safetensors_with(header_of(a=tensor_of([4], 0, 16)), data=bytes(8)),
    "a shape that lies": safetensors_with(header_of(a=tensor_of([10**12], 0, 16)), data=bytes(16)),
    "a shape below zero": safetensors_with(header_of(a=tensor_of([-4], 0, 16)), data=bytes(16)),
    "offsets beyond the file": safetensors_with(header_of(a=tensor_of([4], 10**15, 10**15 + 16))),
    "an unknown type": safetensors_with(header_of(a=tensor_of([4], 0, 16, "X9")), data=bytes(16)),
    "one byte": b"\x00",
    "a pickle": pickle.dumps({"a": 1}),
}
PICKLED = {
    "code": pickle.dumps(Hostile()),
    "code in torch's own format": saved(Hostile()),
    "a zip of nothing": zipped(),
    "a zip of something else": zipped(("a.txt", b"hello")),
    "a zip that unpacks to a gigabyte": bomb(),
    "npz": npz(),
    "cut off": saved({"a": torch.zeros(1000)})[:-200],
    "noise": bytes(range(256)) * 16,
    "a list": saved([torch.zeros(1)]),
    "a number": saved(3),
    "names that are numbers": saved({0: torch.zeros(1)}),
    "complex numbers": saved({"a": torch.zeros(4, dtype=torch.complex64)}),
    "a sparse tensor": saved({"a": torch.eye(4).to_sparse()}),
    "a tensor of one value that says it is a terabyte": saved(
        {"a": torch.zeros(1).expand(2**20, 2**18)}
    ),
    "a thousand views of one tensor": saved(
        (lambda many: {f"a{i}": many[i:] for i in range(1000)})(torch.zeros(2**16))
    ),
}
FILES = [
    *((name, content, "x.safetensors") for name, content in SAFETENSORS.items()),
    *((name, content, "x.pth") for name, content in PICKLED.items()),
    *((f"a page, {end}", b"\n <!DOCTYPE html><html>", f"x.{end}") for end in ENDINGS),
    *((f"nothing, {end}", b"", f"x.{end}") for end in ENDINGS),
    *((f"a pointer, {end}", odd_files.LFS_POINTER, f"x.{end}") for end in ENDINGS),
]


@pytest.mark.parametrize(
    ("content", "name"), [file[1:] for file in FILES], ids=[f[0] for f in FILES]
)
def test_a_file_that_holds_no_weights_is_refused(
    tmp_path: Path, content: bytes, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with odd_files.time_limit(60), pytest.raises(UserError, match=str(path)) as error:
        weight_files.read(path)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000
    assert capsys.readouterr().out == ""  # no code of the file's has run


def names(*found: str) -> bytes:
    """A file of tensors of these names."""
    return saved({name: torch.zeros(1) for name in found})


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("w.pth"))
    return stream.getvalue()


def torchscript() -> bytes:
    """As `torch.jit.save` writes them: with the code."""
    members = ("m/data.pkl", b""), ("m/code/__torch__.py", b""), ("m/constants.pkl", b"")
    return zipped(*members)


SMALL = timm.create_model("vit_tiny_patch16_224", **tiny.ARCHITECTURE)
CARD = BackboneCard(name="small", timm="vit_tiny_patch16_224")
HUGGING_FACE = "embeddings.patch_embeddings.projection.weight"
CALLED = {
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras writes them"),
    "GGUF": (b"GGUF" + bytes(99), "is a GGUF file"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "is compressed (gzip): unpack it first"),
    "an array": (b"\x93NUMPY\x01\x00" + bytes(99), "is one array of NumPy's"),
    "JSON": (b'{"weight_map": {}}', "is a text in JSON"),
    "tar": (tar(), "is a tar archive: unpack it first"),
    "TorchScript": (torchscript(), "is a TorchScript program"),
    "zip": (zipped(("a.txt", b"x"), ("b.txt", b"x")), "is a zip archive of a.txt, b.txt: unpack"),
    "ViTModel": (names(HUGGING_FACE, "encoder.layer.0.x"), "holds a Hugging Face model"),
    "ViTForImageClassification": (names(f"vit.{HUGGING_FACE}"), "holds a Hugging Face model"),
    "CLIPModel": (
        names("vision_model.embeddings.patch_embedding.weight", "logit_scale"),
        "holds a Hugging Face model",
    ),
    "ResNetModel": (names("resnet.embedder.embedder.convolution.weight"), "holds a Hugging Face"),
    "torchvision": (names("conv_proj.weight", "encoder.ln.bias"), "holds a model of torchvision's"),
    "OpenMMLab": (names("backbone.patch_embed.projection.weight"), "holds a model of OpenMMLab's"),
    "PEFT": (
        names("base_model.model.blocks.0.attn.qkv.lora_A.weight"),
        "holds an adapter of PEFT's without its backbone",
    ),
    "Flax": (names("params/encoder/kernel"), "holds a model of TensorFlow's or Flax's"),
}


@pytest.mark.parametrize(("content", "says"), CALLED.values(), ids=CALLED)
def test_a_file_of_another_kind_is_called_what_it_is(
    tmp_path: Path, content: bytes, says: str
) -> None:
    for ending in ("pth", "bin", "pth.tar"):
        path = tmp_path / f"x.{ending}"
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            checkpoints.read(path, SMALL)
        assert str(error.value).startswith(f"{path} {says}")
        assert str(error.value).isprintable()


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} is a folder, not a weights file: name the"):
        backbones.find(f"vit_tiny_patch16_224@{tmp_path}")


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    """The file's name does not matter, nor its first byte, which is of its header's length."""
    for name in ("x.bin", "x.pth"):
        save_file({"a": torch.ones(3)}, tmp_path / name)
        assert torch.equal(weight_files.read(tmp_path / name)["a"], torch.ones(3))
    for first in (b"<", b"{", b" <"):  # as a page, JSON, and a page after a blank begin
        length = int.from_bytes(first.ljust(2, b"\1"), "little")
        header = header_of(a=tensor_of([1], 0, 4)).ljust(length)
        path = tmp_path / "x.safetensors"
        path.write_bytes(safetensors_with(header, data=bytes(4)))
        assert weight_files.read(path).keys() == {"a"}


def arrays(**found: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **found)
    return stream.getvalue()


def lying_array() -> bytes:
    """An array in an .npz that says that it has a terabyte of numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)}
    )
    return zipped(("embedding/kernel.npy", stream.getvalue() + bytes(16)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (arrays(a=np.array([{}], dtype=object)), "cannot be read as weights: it holds an array of"),
        (arrays(a=np.array(["x"])), "cannot be read as weights: it holds an array of <U1"),
        (lying_array(), "cannot be read as weights: the header of an array says"),
        (zipped(("a.npy", b"none")), "cannot be read as weights"),
        (arrays(a=np.zeros(3, np.float32)), "has 0 blocks; 2 were expected"),
    ],
    ids=["objects", "texts", "a terabyte", "no header", "another model's"],
)
def test_an_archive_of_odd_arrays_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with odd_files.time_limit(60), pytest.raises(UserError) as error:
        weight_conversion.convert(checkpoints.read(path, SMALL), SMALL, CARD)
    assert f"{path} {says}" in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("make", odd_files.NOT_REGULAR, ids=lambda make: make.__name__)
def test_weights_that_are_no_file_are_refused_when_the_request_is_read(
    tmp_path: Path, make: Callable[[Path], None], ending: str
) -> None:
    path = tmp_path / f"x.{ending}"
    make(path)
    with odd_files.time_limit(60), pytest.raises(UserError, match=str(path)):
        backbones.find(f"vit_tiny_patch16_224@{path}")


def test_weights_of_a_terabyte_are_refused_before_they_are_hashed(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    odd_files.sparse(path)
    with odd_files.time_limit(60), pytest.raises(UserError, match=r"has 1,099,511,627,776 bytes"):
        backbones.find(f"vit_tiny_patch16_224@{path}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    odd_files.pointer(path)
    card = tiny.backbone_card(tmp_path / "own.toml", weights=path.name)
    for name in (f"vit_tiny_patch16_224@{path}", str(card)):
        with pytest.raises(UserError, match=f"{path} is {odd_files.LFS_SENTENCE}"):
            backbones.find(name)


def test_very_many_tensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_checks, "MAX_TENSORS", 10)
    path = tmp_path / "x.safetensors"
    save_file({f"a{i}": torch.zeros(1) for i in range(11)}, path)
    with pytest.raises(UserError, match="has 11 tensors; at most 10 are allowed"):
        weight_files.read(path)


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.zeros(2, 3), "b": torch.ones(1, dtype=torch.float16)},
        {"a": torch.arange(12.0).reshape(3, 4).T},
        {"model": {"a": torch.zeros(2)}, "epoch": 3},
        {"state_dict": {"a": torch.zeros(2)}, "args": ["x"]},
        {"a": torch.nn.Parameter(torch.zeros(2))},
        (lambda shared: {"a": shared, "b": shared})(torch.zeros(100_000)),
    ],
    ids=range(6),
)
def test_files_as_they_are_released_are_read(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    found = weight_files.read(path)
    wanted = state_dicts.flatten(content)
    assert found.keys() == wanted.keys()
    assert len(wanted) >= 1
    assert all(isinstance(v, Tensor) and torch.equal(v, wanted[k]) for k, v in found.items())
