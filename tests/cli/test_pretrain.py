"""`pretrain`: errors before any compute."""

from bench.cli import main


def test_pretrain_needs_a_folder_of_images(tmp_path, capsys):
    argv = ["pretrain", "mae", "--images", str(tmp_path / "none"), "--out", str(tmp_path / "w")]
    assert main.main(argv) == 2
    assert "no folder of images at" in capsys.readouterr().err
