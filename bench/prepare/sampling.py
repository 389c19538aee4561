"""Which of a source's records VTAB-1k takes: those with the smallest hashes of their keys.

The rule is the order in which TensorFlow Datasets writes records, so that its ``train[:800]`` can
be had without it: each record has a key (its number or its name in the source), and records stand
by the md5 of the source split's name followed by the key. Zhai et al., 2019,
https://arxiv.org/abs/1910.04867, cut the splits out of that order. The shares of larger data sets
are the project's own rule, on hashes of the same kind.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from bench.config.suite import ClassShare, HashRange, SourceKeys

DIGEST_DIGITS = 16  # shown of a digest


def numbered_keys(keys: SourceKeys) -> list[str]:
    """The keys of a source whose records are numbered, in the source's order."""
    return [keys.template.format(index=i) for i in range(keys.counts[0])]


def order_by_hash(source: str, keys: Iterable[str]) -> list[str]:
    """The keys by the hash that the name of the source's split salts."""
    return sorted(keys, key=lambda key: _salted_hash(source, key))


def _salted_hash(salt: str, key: str) -> bytes:
    return hashlib.md5(salt.encode() + key.encode()).digest()


def keys_by_rank(ranks: HashRange, keys: Iterable[str]) -> list[str]:
    """Of all keys of the source's split, those that a split of the task takes, in hash order."""
    found = order_by_hash(ranks.source, keys)
    start = len(found) * ranks.after_percent // 100
    return found[start + ranks.first : start + ranks.last]


def keys_by_share(share: ClassShare, keys_by_class: Mapping[Any, Iterable[str]]) -> list[str]:
    """Of all keys of the source's split, those of a share of every class.

    Record i of the n of its class, by hash, has the place (i + 0.5) / n in percent. What stands
    between two places is the share, so that a smaller one lies inside a larger one, and each class
    has its part of it to within one record.
    """
    places = [
        (100 * (i + 0.5) / len(keys), _salted_hash(share.salt, key), key)
        for keys in (order_by_hash(share.salt, keys) for keys in keys_by_class.values())
        for i, key in enumerate(keys)
    ]
    return [key for place, _, key in sorted(places) if share.first <= place < share.last]


def digest_of_keys(keys: Iterable[str]) -> str:
    """16 hex digits that stand for keys in their order."""
    text = "".join(f"{key}\n" for key in keys)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]
