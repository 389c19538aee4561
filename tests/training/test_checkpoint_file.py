"""The file of a checkpoint: what was written is read, and nothing else is."""

import random

import pytest
import torch
from safetensors.torch import save_file

from bench.training import checkpoint_file
from bench.training.checkpoint_file import BadCheckpoint

STATE = {"losses": [0.1, 1e-300, 1 / 3], "name": "é", "none": None}


def tensors():
    base = torch.randn(4, 6)
    return {
        "plain": base,
        "view": base[1:3],  # of the same memory
        "transposed": base.T,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3).bfloat16(),
        "learns": torch.nn.Parameter(torch.randn(2)),
    }


@pytest.fixture
def written(tmp_path):
    path, found = tmp_path / "folder" / "one.safetensors", tensors()
    checkpoint_file.write(path, found, STATE)
    return path, found


def test_what_was_written_is_read(written):
    path, expected = written
    found, text = checkpoint_file.read(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert text == b'{"losses": [0.1, 1e-300, 0.3333333333333333], "name": "\\u00e9", "none": null}'
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_changed_byte_anywhere_is_noticed(written):
    path, _ = written
    content, rng = path.read_bytes(), random.Random(0)
    for place in [0, 7, 8, 9, len(content) - 1, *rng.sample(range(len(content)), 200)]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found, text = checkpoint_file.read(path)
        except BadCheckpoint:
            continue
        path.write_bytes(content)  # such as a space in the header: the content is the same
        expected, state = checkpoint_file.read(path)
        assert text == state
        assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_cut_anywhere_is_noticed(written):
    path, _ = written
    content = path.read_bytes()
    for size in [*range(40), *range(40, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(BadCheckpoint):
            checkpoint_file.read(path)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"state": "{}"}])
def test_a_file_of_tensors_alone_is_no_checkpoint(metadata, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a", metadata)
    with pytest.raises(BadCheckpoint, match="it is a file of tensors alone"):
        checkpoint_file.read(tmp_path / "a")


def test_state_that_json_cannot_hold_is_not_written(written):
    path, _ = written
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint_file.write(path, {}, {"loss": float("nan")})
    assert path.read_bytes() == before


def test_removing_what_is_not_there_is_no_error(tmp_path):
    checkpoint_file.remove(tmp_path / "none" / "one")
    (tmp_path / "folder").mkdir()
    checkpoint_file.remove(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()
