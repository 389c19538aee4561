"""`tune`: trials without final runs, and without a look at test data."""

from bench.cli.main import main
from bench.data import splits
from support.tiny import command


def test_tuning_never_reads_test_data_and_keeps_every_trial(cards, tmp_path, capsys, monkeypatch):
    def poisoned(suite, task, split, root, variant=None, read=splits.load_split):
        found = read(suite, task, split, root)
        if split == "test":
            found.labels.fill_(-1)
        return found

    monkeypatch.setattr(splits, "load_split", poisoned)
    words = command("tune", cards, tmp_path, "linear,lora")
    assert main([*words, "--set", "grid={ lr = [1e-3, 1e-2] }"]) == 0
    lines = (tmp_path / "tuning.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * 2
    accuracies = [float(line.rsplit(",", 1)[1]) for line in lines[1:]]
    assert max(accuracies) > 0  # against labels of -1 it would be none
    assert "lora: lr" in capsys.readouterr().out
