"""The measured training step with deep prompts: all variants compute the same."""

import torch

from bench.performance import training_step


def test_steps_are_measured_for_each_number_of_prompts():
    rows = list(training_step.measure_steps("test_vit", 2, 1, "cpu"))
    assert len(rows) == 2 * len(training_step.CONCATENATION_BARS)
    assert all(row.value > 0 and row.seconds > 0 for row in rows)


def test_both_forms_compute_the_same():
    rows = list(training_step.measure_form_differences("test_vit", 2, "cpu"))
    assert len(rows) == 2 * len(training_step.CONCATENATION_BARS)
    assert {row.met for row in rows} == {"met"}


def test_a_difference_of_the_forms_would_be_seen(monkeypatch):
    monkeypatch.setattr(training_step, "CONCATENATION_BARS", {20: 1.0})
    monkeypatch.setattr(training_step, "FORMS", ("keys_and_values", "concatenation"))
    seeds, bare = iter((1.0, 1.001)), training_step.frozen_network

    def scaled(network, device):
        model = bare(network, device)
        with torch.no_grad():
            model.blocks[0].attn.qkv.weight.mul_(next(seeds))
        return model

    monkeypatch.setattr(training_step, "frozen_network", scaled)
    assert {row.met for row in training_step.measure_form_differences("test_vit", 2, "cpu")} == {
        "not met"
    }


def test_keys_and_values_keep_no_more_for_the_backward_pass_than_the_concatenation():
    def kept(form):
        held, model = {}, training_step.prompted_network("test_vit", 20, form, "cpu")

        def keep(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            scores = model(training_step.noise_images("test_vit", 2, "cpu"))
        assert scores.requires_grad
        return sum(held.values())

    assert kept("keys_and_values") < kept("concatenation")


def test_the_floor_s_gradient_reaches_the_first_block():
    model = training_step.frozen_network("test_vit", "cpu")
    images = torch.randn(2, 3, 160, 160)
    seen = []
    model.blocks[0].register_full_backward_hook(lambda *_: seen.append(1))
    training_step.make_floor(model, images)()
    assert seen
    assert all(parameter.grad is None for parameter in model.parameters())
