"""Records all of whose texts are hostile, made as objects: reading would refuse most of them."""

from dataclasses import replace
from itertools import cycle
from typing import Any

from bench.records.schema import Failure, Outcome, Record, Settings, Trial, TuningResult
from support import hostile
from support.synthetic_records import records as synthetic_records

TASKS = 3


def board(texts: list[str]) -> list[Record]:
    """Complete rows, an incomplete and a failed one on one board, named by the texts in turn."""
    names = cycle(texts)
    shared: dict[str, Any] = {
        "suite": next(names),
        "backbone": next(names),
        "recipe": {"name": next(names), "version": next(names), next(names): next(names)},
        "input": {"size": 32, "pooling": next(names), next(names): next(names)},
    }
    tasks = [f"{i}{next(names)}" for i in range(TASKS)]  # two texts may look alike
    methods = ["full", *(f"{next(names)}" for _ in range(4)), f"full_{next(names)}"]
    about = {"device_name": next(names), "threads": next(names), "torch": next(names)}
    made = []
    for i, method in enumerate(dict.fromkeys(methods)):
        fields = {next(names): next(names), "share": 0.1 * i}
        for j, task in enumerate(tasks[: 2 if i == 4 else TASKS]):
            settings = Settings(
                suite_version=1, task=task, classes=10, split=f"{texts[0]}:{'5' * 32}",
                method=method, fields=fields, weights=texts[-1], seed=0,
                rates={"lr": 0.1, texts[-1]: 0.5}, code=texts[0], **shared,
            )  # fmt: skip
            is_broken = i == 3 and j == 1
            made.append(_record(settings, next(names), is_broken, about, 50.0 + 7 * i - j))
    return made


def _record(
    s: Settings, text: str, is_broken: bool, about: dict[str, Any], accuracy: float
) -> Record:
    failure = Failure("failed", text, text, f"Traceback\n{text}") if is_broken else None
    trial = Trial({"lr": 0.1, "weight_decay": 0.1, text: text}, 1, 50.0, 1.0, text)
    return Record(
        s,
        text,
        None if is_broken else _outcome(accuracy, text),
        failure,
        environment={**about, text: text},
        request={
            **{n: getattr(s, n) for n in ("suite", "method", "backbone", "task", "seed")},
            "recipe": text,
            "variant": text,
            "data_root": text,
            "plugins": [text],
            "changes": {text: {text: [text]}},
        },
        remark=text,
        cell=s.digest(),
        tuned=TuningResult(0, 1.0, [trial]),
    )


def _outcome(accuracy: float, text: str) -> Outcome:
    return Outcome(
        accuracy, accuracy + 1, 1, 100, 1000, 10, 0.5, 4, 9.0, 1.0, 99.0, [1.0], {text: 1.0}, text
    )


def of_papers() -> list[Record]:
    """Records that the papers' tables show, with hostile machines, inputs and remarks."""
    texts = cycle(text for name, text in hostile.TEXTS.items() if name != "surrogate")
    return [
        replace(
            record,
            environment={"device_name": (text := next(texts)), "threads": text},
            settings=replace(record.settings, input={"size": 224, "pooling": text}),
            remark=text,
        )
        for record in synthetic_records()[::40]
    ]
