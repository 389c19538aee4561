"""The published VTAB-1k means by which our orders are judged, from the known results."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from types import MappingProxyType

from bench.papers.known import KnownResult

SUITE, BACKBONE = "vtab1k", "vit_base_patch16_224"
PRETRAININGS = {  # checkpoint -> whose order it is of; those of one order differ by less
    "orig_in21k": "supervised",
    "augreg_in21k": "supervised",
    "in21k": "supervised",  # not said which
    "mae": "MAE",
    "mocov3": "MoCo-v3",
}
Orders = Mapping[str, Mapping[str, float]]  # pretraining -> registered method -> published mean
NO_ORDERS: Orders = MappingProxyType({})


def published_orders(results: Iterable[KnownResult]) -> Orders:
    """Return each method's published mean over groups on VTAB-1k with ViT-B/16, by pretraining.

    Only methods that are registered here count. A mean over groups that is not printed is that of
    the three groups. Of several numbers of one method the median counts.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        order, mean = PRETRAININGS.get(result.checkpoint), result.mean("over_groups")
        if order and mean is not None and _is_ours(result):
            found[order][result.registered].append(float(mean))
    return {
        order: {method: median(values) for method, values in sorted(found[order].items())}
        for order in dict.fromkeys(PRETRAININGS.values())
        if order in found
    }


def _is_ours(result: KnownResult) -> bool:
    return bool(result.registered) and (result.suite, result.backbone) == (SUITE, BACKBONE)
