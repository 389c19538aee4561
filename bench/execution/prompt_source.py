"""Prompts that start from another task's images than those that they are trained on.

Source: Wang et al., 2024, section 4.3 and Figure 3(b), https://arxiv.org/abs/2402.02382.
"""

from dataclasses import dataclass
from typing import Any

from bench.config.suite import Suite, Task
from bench.records.schema import PROMPTS_FROM
from bench.utils.errors import UserError
from methods import Method


@dataclass(frozen=True)
class PromptSource:
    """Where prompts start from."""

    task: Task
    split: str  # "<variant>:<digest>" of its trainval


def prompt_source_task(suite: Suite, changes: dict[str, Any]) -> Task | None:
    """The task that ``--set prompts_from=TASK`` names; raises `UserError` where none is so called.

    None where nothing is said.
    """
    return suite.find(str(changes[PROMPTS_FROM])) if PROMPTS_FROM in changes else None


def prompt_source_of_cell(
    source: PromptSource | None, task: Task, method: Method
) -> PromptSource | None:
    """The source that a method's cell on a task is to have; None where it starts from its own.

    So does a cell whose source is its very task: it is the ordinary cell, and shares its record.
    """
    return source if source and source.task != task and method.starts_from_images else None


def require_prompt_source_used(changes: dict[str, Any], adapted: dict[str, Method]) -> None:
    """Raise `UserError` where a source is named and none of the chosen methods has a use for it."""
    served = any(method.starts_from_images for method in adapted.values())
    if PROMPTS_FROM in changes and not served:
        raise UserError(
            f"--set {PROMPTS_FROM}={changes[PROMPTS_FROM]} needs a method that starts from images, "
            f"such as spt_deep; none of {', '.join(adapted)} does"
        )
