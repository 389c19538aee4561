"""`status`: cells done, running, failed and left."""

from dataclasses import dataclass

from bench.cli import main
from methods.linear import Linear
from methods.shared import registry
from support import tiny


@dataclass(frozen=True)
class Failing(Linear):
    """Fails whenever it is run."""

    def prepare(self, model, batches):
        raise RuntimeError("as it should")


def test_status_counts_cells_done_failed_and_not_run(cards, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bench.report.figures._figure_specs", list)
    monkeypatch.setitem(registry._methods, "failing", Failing())
    status = tiny.command("status", cards, tmp_path, "linear,failing", "--seeds", "0,1,2")
    assert main.main(status) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 done, 0 running, 0 failed, 6 left"
    main.main(tiny.command("run", cards, tmp_path, "linear", "--seeds", "0,1"))
    main.main(tiny.command("run", cards, tmp_path, "failing"))
    capsys.readouterr()
    assert main.main(status) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2 done, 0 running, 1 failed, 3 left"
    assert second.startswith("about ")
