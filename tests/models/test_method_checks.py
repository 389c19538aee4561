"""Every registered method passes the checks."""

import json
from itertools import product

import pytest
import timm
import torch

import methods
from bench.models import method_checks, small_models
from support import paths
from support.variants import OF_EACH_KIND

# a strict table: a check that starts to pass must leave it
EXPECTED_FAILURES: dict[tuple[str, str], str] = {
    (
        "adapter_vpt2022",
        "trainable_parameters",
    ): "as released: all starts at zero, only the upper biases learn",
}
GOLDEN = json.loads((paths.GOLDEN / "trainable.json").read_text(encoding="utf-8"))
# met or missed by a kind of method, and seldom by one method alone
CHECKS_OF_A_KIND = {
    *("batch_independence", "checkpointing", "compiled", "copy", "half_precision", "head"),
    *("reload", "scores", "seed"),
}


def marks(name, check):
    why = EXPECTED_FAILURES.get((name, check))
    fails = [pytest.mark.xfail(reason=why, strict=True, raises=AssertionError)] if why else []
    is_long = check in CHECKS_OF_A_KIND and name not in OF_EACH_KIND
    return [*fails, *([pytest.mark.long] if is_long else [])]


def compiles_for_long(name, check):
    """peft's layers take torch.compile some ten seconds each, and SHiRA's it cannot read."""
    return check == "compiled" and name.startswith("peft_") and name != "peft_dora"


def cases():
    for name, check in product(methods.names(), method_checks.CHECKS):
        if compiles_for_long(name, check):
            continue
        yield pytest.param(name, check, id=f"{name}-{check}", marks=marks(name, check))


def cases_of_learning():
    return [
        pytest.param(name, marks=marks(name, "trainable_parameters")) for name in methods.names()
    ]


@pytest.mark.parametrize(("name", "check"), list(cases()))
def test_contract(name, check):
    method_checks.CHECKS[check](methods.create(name), small_models.small_backbone())


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", cases_of_learning())
def test_it_serves_average_pooling_too(name):
    method_checks.check_trainable_parameters(
        methods.create(name), small_models.small_backbone("avg")
    )


def test_no_two_names_mean_the_same():
    meanings = [repr(methods.create(name)) for name in methods.names()]
    assert len(set(meanings)) == len(meanings)


def test_every_method_s_module_cites_its_source():
    for name in methods.names():
        module = type(methods.create(name)).__module__
        doc = __import__(module, fromlist=["__doc__"]).__doc__
        assert "arxiv.org" in doc or name in {"full", "linear"}, module


def trainable_on_vit_b(name):
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0).requires_grad_(False)
        methods.create(name).attach(model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", methods.names())
def test_trainable_parameters_on_vit_b_are_the_golden_count(name):
    assert trainable_on_vit_b(name) == GOLDEN[name]


@pytest.mark.parametrize("classes", [2, 100, 397])
def test_a_head_has_769_parameters_a_class(classes):
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=classes)
    assert sum(p.numel() for p in model.get_classifier().parameters()) == classes * 769


def test_an_unknown_method_names_near_ones():
    with pytest.raises(KeyError, match="did you mean vpt_deep"):
        methods.create("vtp_deep")


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="taken"):
        methods.register("linear", methods.create("full"))


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="no field 'rnak'; its fields are rank, alpha"):
        methods.create("lora", rnak=4)


# peft warns, and rightly, of layers that it does not know
@pytest.mark.sample(32)
@pytest.mark.parametrize("name", [n for n in methods.names() if not n.startswith("peft_")])
@pytest.mark.parametrize("kind", ["vit_base_patch16_rpn_224", "vit_base_patch16_xp_224"])
def test_a_backbone_of_other_blocks_is_served_or_refused_in_a_sentence(name, kind):
    if not timm.is_model(kind):
        pytest.skip(f"this timm has no {kind}")
    with torch.device("meta"):
        model = timm.create_model(kind, depth=2, num_classes=2).requires_grad_(False)
        refusal = refused(methods.create(name), model)
    assert refusal is None or 4 < len(refusal.split()) < 40
    assert refusal is None or "\n" not in refusal


def refused(method, model):
    try:
        method.attach(model)
    except methods.Unsupported as refusal:
        return str(refusal)
    return None
