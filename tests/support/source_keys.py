"""Keys of sources whose records are numbered."""

from bench.config.suite import SourceKeys


def numbered_keys(keys: SourceKeys) -> list[str]:
    """List the keys of a split of a source, in the source's order."""
    return [keys.template.format(index=i) for i in range(keys.counts[0])]
