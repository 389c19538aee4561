"""Weights of backbones: which are here, downloads from the hub and from plain addresses, checks."""

import hashlib
import io
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch

from bench.cli import main
from bench.models import backbones, weight_places
from bench.prepare import weights
from bench.utils import network
from bench.utils.errors import UserError
from support import tiny
from support.scripted_server import Server, Step

pytestmark = pytest.mark.usefixtures("impatient")

HUB = "vit_tiny_patch16_224.augreg_in21k"
HERE = ["vit_micro_mae", "vit_micro_sup", "vit_mini_mae", "vit_mini_sup"]


def content_of_file(seed: int = 0) -> bytes:
    """A file of weights of the tiny card."""
    torch.manual_seed(seed)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **tiny.ARCHITECTURE)
    stream = io.BytesIO()
    torch.save({"model": model.state_dict()}, stream)
    return stream.getvalue()


CONTENT = content_of_file()


@pytest.fixture(autouse=True)
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched weights, and an empty cache of the hub's."""
    folder = tmp_path / "fetched"
    for module in (weights, weight_places):
        monkeypatch.setattr(module, "FETCHED_DIR", folder)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    return folder


def a_card(tmp_path: Path, *urls: str, **more: object) -> str:
    own = {"weights": "w.pth", "urls": list(urls), "licence": "mit", **more}
    return str(tiny.backbone_card(tmp_path / "mine.toml", **own))


def on_the_hub(monkeypatch: pytest.MonkeyPatch, server: Server, sha256: str, step: Step) -> None:
    """Let the hub be the local server, which answers like it about the file of a repository."""
    url = server.does(step)
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda *_: url)
    said = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(step.content))}
    monkeypatch.setattr(network, "_ask", lambda _: said)


def brought(name: str, *accepted: str) -> str:
    """The line about a backbone that is fetched, without its sha256."""
    (line,) = weights.fetch([name], accepted, lambda *_: None)
    assert line.endswith(f", sha256 {hashlib.sha256(CONTENT).hexdigest()}")
    return line.partition(", sha256")[0]


def refused(name: str, *accepted: str) -> str:
    with pytest.raises(UserError) as error:
        brought(name, *accepted)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_at_a_plain_address_is_fetched_and_then_found(
    server: Server, tmp_path: Path, fetched: Path
) -> None:
    card = a_card(tmp_path, server.does(Step(CONTENT)))
    with pytest.raises(UserError, match="python -m bench weights fetch mine gets them \\(mit\\)"):
        backbones.find(card)
    path = fetched / "mine" / "file"
    assert brought(card) == f"mine: {path}"
    assert path.read_bytes() == CONTENT
    assert backbones.find(card).weights == path
    assert backbones.find(card, {"backbone.pooling": "avg"}).weights == path
    asked = len(server.asked)
    assert brought(card) == f"mine: {path}"  # it is here
    assert len(server.asked) == asked


def test_a_torn_download_is_resumed(server: Server, tmp_path: Path, fetched: Path) -> None:
    card = a_card(tmp_path, server.does(Step(CONTENT, stop=50_000), Step(CONTENT)))
    assert brought(card) == f"mine: {fetched / 'mine' / 'file'}"
    assert "bytes=50000-" in server.ranges
    assert (fetched / "mine" / "file").read_bytes() == CONTENT


def test_a_file_with_another_sha256_than_its_card_s_is_refused(
    server: Server, tmp_path: Path, fetched: Path
) -> None:
    card = a_card(tmp_path, server.does(Step(CONTENT)), sha256="0" * 64)
    assert "expected sha256 000" in refused(card)
    assert not (fetched / "mine" / "file").exists()


def test_the_hub_says_the_sha256_of_its_files(
    server: Server, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub(monkeypatch, server, hashlib.sha256(CONTENT).hexdigest(), Step(CONTENT))
    path = fetched / f"{HUB}.safetensors"
    assert brought(HUB) == f"{HUB}: {path}"
    assert path.read_bytes() == CONTENT


def test_a_file_of_the_hub_s_with_another_content_is_refused(
    server: Server, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub(monkeypatch, server, hashlib.sha256(b"other").hexdigest(), Step(CONTENT))
    assert "E-HASH" in refused(HUB)
    assert not (fetched / f"{HUB}.safetensors").exists()


def test_where_the_hub_cannot_be_reached_the_released_file_is_taken(
    server: Server, fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda *_: "http://127.0.0.1:9/x")
    url = server.does(Step(CONTENT))
    own = {"weights": "", "timm": HUB, "architecture": {}, "input_size": 224}
    card = a_card(tmp_path, url, **own)
    assert brought(card) == f"mine: {fetched / 'mine' / 'file'}"
    assert weight_places.find_here(weights.load_backbone(card)) == fetched / "mine" / "file"


def test_terms_are_accepted_before_anything_is_asked(server: Server, tmp_path: Path) -> None:
    card = a_card(tmp_path, server.does(Step(CONTENT)), licence="cc-by-nc-4.0", source="its page")
    says = refused(card)
    assert "are under cc-by-nc-4.0 (its page): read its terms, then add --accept-license " in says
    assert refused(card, "dinov3-license") == says
    assert server.asked == []
    assert brought(card, "cc-by-nc-4.0")


def test_moco_v3_needs_only_its_licence() -> None:
    name = "vit_base_patch16_224.mocov3"
    assert refused(name).endswith("then add --accept-license cc-by-nc-4.0")
    assert "dl.fbaipublicfiles.com/moco-v3" in refused(name, "cc-by-nc-4.0")


def test_without_network_one_sentence_says_so_after_one_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def nobody(url: str) -> network.Unreachable:
        asked.append(url)
        return network.Unreachable("Name or service not known")

    monkeypatch.setattr(network, "_ask", nobody)
    names = ["vit_base_patch16_224.mae", "vit_base_patch16_224.augreg_in21k"]
    with pytest.raises(UserError) as error:
        list(weights.fetch(names, ["cc-by-nc-4.0"], lambda *_: None))
    assert str(error.value).startswith("the weights of vit_base_patch16_224.mae cannot be downl")
    assert "Name or service not known" in str(error.value)
    assert len(asked) == len(set(asked)) == 4  # the hub and the released file, of each
    asked.clear()
    with pytest.raises(UserError, match=r"could not be downloaded from timm/.*service not known"):
        backbones.find("vit_base_patch16_224.mae")
    assert len(asked) == 1


def test_what_the_hub_s_cache_has_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(path))
    monkeypatch.setattr(network, "_ask", None)
    assert weight_places.find(weights.load_backbone(HUB), HUB) == path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vit_bse_patch16_224.mae", "no backbone 'vit_bse_patch16_224.mae'; did you mean"),
        ("vit_giant_patch14_224", "no known server has the weights of vit_giant"),
        ("vit_mini_mae@gone.pth", "no known server has the weights of vit_mini_mae@gone"),
    ],
)
def test_what_cannot_be_fetched_is_said(name: str, says: str) -> None:
    assert says in refused(name)


# --- the command


def test_the_command_fetches_and_says_where_to(
    server: Server, tmp_path: Path, fetched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = a_card(tmp_path, server.does(Step(CONTENT)), licence="dinov3-license")
    (line,) = printed(capsys, "fetch", card, status=2)
    assert "--accept-license dinov3-license" in line
    lines = printed(capsys, "fetch", card, "--accept-license", "dinov3-license,mit")
    assert f"mine: {fetched / 'mine' / 'file'}, sha256 " in lines[0]


def printed(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> list[str]:
    assert main.main(["weights", *words]) == status
    out, err = capsys.readouterr()
    return (out + err).splitlines()


def test_the_status_says_of_each_card_whether_it_is_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = {line.split()[0]: line for line in printed(capsys, "status")}
    assert all("here: " in lines[name] for name in HERE)
    moco = lines["vit_base_patch16_224.mocov3"]
    assert "to fetch" in moco
    assert "cc-by-nc-4.0" in moco
    dino = lines["vit_large_patch16_dinov3.lvd1689m"]
    assert "to fetch" in dino
    assert "about 1.2 GB" in dino
    assert "dinov3-license" in dino


def test_the_status_of_some_and_of_names_without_a_card(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    random = str(tiny.backbone_card(tmp_path / "random.toml"))
    names = [HUB, "vit_giant_patch14_224", "vit_mini_mae@gone.pth", random]
    *_, hub, none, gone, started = printed(capsys, "status", *names)
    assert "to fetch" in hub
    assert "apache-2.0" in hub
    assert "by hand" in none
    assert "by hand" in gone
    assert "none: it starts at random" in started
    (line,) = printed(capsys, "status", "vit_tiny_patch16_2244", status=2)
    assert "did you mean" in line


def test_the_check_loads_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "check")
    assert [line.split(":")[0] for line in lines] == HERE
    assert all(line.endswith(", fits") for line in lines)


def test_the_check_of_a_file_says_what_it_is_or_what_is_wrong_with_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mini = "bench/weights/vit_mini_mae.safetensors"
    wrong, absent, fine = printed(
        capsys, "check", f"vit_micro_mae@{mini}", "vit_tiny_patch16_224", "vit_mini_mae", status=1
    )[1:] + printed(capsys, "check", "vit_mini_mae")
    assert "wants" in wrong or "is of other weights" in wrong
    assert "the weights of vit_tiny_patch16_224 are not here" in absent
    assert fine.startswith("vit_mini_mae: ")


def test_the_check_notices_a_file_that_has_changed_since_it_was_fetched(
    server: Server, tmp_path: Path, fetched: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    right = hashlib.sha256(CONTENT).hexdigest()
    card = a_card(tmp_path, server.does(Step(CONTENT)), sha256=right)
    assert brought(card) == f"mine: {fetched / 'mine' / 'file'}"
    (line,) = printed(capsys, "check", card)
    assert f"sha256 {right[:12]}, fits" in line
    plain = a_card(tmp_path, "http://127.0.0.1/file")  # the card says no hash
    (fetched / "mine" / "file").write_bytes(content_of_file(1))
    (line,) = printed(capsys, "check", plain, status=1)
    assert "has changed since it was downloaded: delete it, and fetch it again" in line
