"""FacT's logits are those of its released code, which interleaves an MLP layer's mixtures."""

import pytest
import timm
import torch
from torch import nn

import methods
from methods.fact import InterleavedTucker

RANK, SCALE, DEPTH = 3, 0.7, 2
SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": DEPTH, "num_heads": 2}

OFFICIAL = {
    "fact_tt": [
        [0.8044880858115259, -0.6927437959571683, -0.8664391210390974],
        [0.8043828746037531, -0.6934614758571611, -0.8663631206137388],
    ],
    "fact_tk": [
        [0.8317862452040128, -0.7283662286390238, -0.8951871735247894],
        [0.8318051236470998, -0.7282903742107578, -0.8952029645647053],
    ],
}
"""The logits, (2, 3), of `set_FacT` in FacT/fact_tt.py and FacT/fact_tk.py of
https://github.com/JieShibo/PETL-ViT at commit 026e4f1 on `bare` and `images`, in float64: its
tensors are `waves`, numbered as in `FACTORS` and `sigmas`, and 768 and 144 became 12 and 24."""


def waves(number: int, *shape: int) -> torch.Tensor:
    """Numbers that look like nothing, and are the same on every machine but for the last digits."""
    count = torch.Size(shape).numel()
    return torch.cos(torch.arange(count, dtype=torch.float64) * 1.7 + number).reshape(shape)


def images() -> torch.Tensor:
    return waves(0, 2, 3, 8, 8)


def bare() -> nn.Module:
    """A frozen network of two blocks whose every tensor is a wave."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **SIZES).double()
    for number, p in enumerate(model.parameters()):
        p.data = 0.4 * waves(number, *p.shape)
    return model.requires_grad_(False).eval()


def adapted(name: str) -> nn.Module:
    """The network with the official tensors in our places."""
    model = bare()
    methods.create(name, rank=RANK, scale=SCALE).attach(model)
    shared = model.blocks[0].attn.qkv.factors
    shared.u.data, shared.v.data = waves(100, RANK, 12), waves(101, 12, RANK)
    if name == "fact_tk":
        core = waves(102, RANK, RANK, RANK)  # (in, out, slice)
        shared.core.data = core.transpose(0, 1)
    for i, block in enumerate(model.blocks):
        layers = [block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2]
        (_train if name == "fact_tt" else _mixtures)(i, [layer.middle for layer in layers])
    return model.double().eval()


def _train(i: int, middles: list) -> None:
    """q, k, v, proj, fc1 and fc2 are waves 200 ... 205 of the first block, 210 ... of the next."""
    square = [waves(200 + 10 * i + k, RANK, RANK) for k in range(4)]
    middles[0].sigma.data, middles[1].sigma.data = torch.cat(square[:3]), square[3]
    middles[2].sigma.data = waves(204 + 10 * i, 4 * RANK, RANK)
    middles[3].sigma.data = waves(205 + 10 * i, RANK, 4 * RANK)


def _mixtures(i: int, middles: list) -> None:
    """Column 12 i + k of one matrix, (r, 24), is the mixture of tile k of block i."""
    of_block = waves(103, RANK, 12 * DEPTH)[:, 12 * i : 12 * i + 12].T
    for middle, rows in zip(middles, of_block.split([3, 1, 4, 4]), strict=True):
        middle.mixtures.data = rows.reshape(middle.mixtures.shape).clone()


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_logits_are_those_of_the_released_code(name: str) -> None:
    # 1e-12: sums of fewer than 100 numbers near 1 in float64, in whatever order
    want = torch.tensor(OFFICIAL[name], dtype=torch.float64)
    torch.testing.assert_close(adapted(name)(images()), want, rtol=0, atol=1e-12)


def test_each_tile_of_an_mlp_takes_rows_of_all_mixtures() -> None:
    """Of rank 2 with four mixtures of two slices, by hand."""
    core = torch.tensor([[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [4.0, 40.0]]])  # (r, r, slice)
    narrow = InterleavedTucker(2, 24, 4, 1)
    narrow.mixtures.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])[:, None]
    rows = [[1, 2], [10, 20], [11, 22], [0, 0], [3, 4], [30, 40], [33, 44], [0, 0]]
    assert narrow(core).tolist() == rows
    wide = InterleavedTucker(2, 24, 1, 4)
    wide.mixtures.data = narrow.mixtures.data.transpose(0, 1)
    assert wide(core).T.tolist() == rows


def test_the_paper_s_formula_gives_each_tile_a_mixture_of_its_own() -> None:
    core = waves(1, 2, 2, 2)
    tiles = {}
    for form in ("tucker", "tucker_interleaved"):
        model = bare()
        methods.create("fact_tk", rank=2, form=form).attach(model)
        middle = model.blocks[0].mlp.fc1.middle.double()
        middle.mixtures.data = torch.eye(2, dtype=torch.float64).repeat(2, 1)[:, None]
        tiles[form] = middle(core).split(2)
    slices = core.unbind(2)
    for tile, own in zip(tiles["tucker"], [*slices, *slices], strict=True):
        torch.testing.assert_close(tile, own)
    assert not torch.equal(tiles["tucker_interleaved"][0], slices[0])
