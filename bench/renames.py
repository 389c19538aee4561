"""Names of models that timm has changed: what is asked for by an old one is found by the new."""

from bench.errors import UserError

OLDER = {"vit_deit_": "deit_"}  # beginnings that timm changed before it kept a table


def current(name: str) -> str:
    """What timm calls a model now; another name as it is.

    Raises `UserError` for a model that timm has removed.
    """
    from timm import is_model  # slow to import; the project's own cards never need it
    from timm.models import get_deprecated_models

    for old, new in OLDER.items():
        if name.startswith(old) and is_model(new + name.removeprefix(old).partition(".")[0]):
            return new + name.removeprefix(old)
    known = get_deprecated_models()
    plain, dot, tag = name.partition(".")
    if dot and known.get(plain):
        raise UserError(f"timm calls {plain} {known[plain]} now: name that, and no tag {tag}")
    if name not in known:
        return name
    if known[name] is None:
        raise UserError(f"timm has removed {name}, and names nothing in its place")
    return str(known[name])


def note(old: str, new: str) -> str:
    """The change in words; empty where there is none."""
    return f"timm calls {old} {new} now" if old != new else ""
