"""Training and evaluation mode, set for a while."""

import pytest
import torch

from methods.shared.modes import eval_mode


def test_evaluation_mode_ends_with_every_module_in_its_own_mode_whatever_happens_within():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()).train()
    model[0].eval()

    def fail_within():
        with eval_mode(model):
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            model[0].training = True
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_within()
    assert [module.training for module in model.modules()] == [True, False, True]
    assert torch.is_grad_enabled()
