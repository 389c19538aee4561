"""Train LoRA on random images for some seconds; print ``ready``, wait for a line, print the rate.

Usage: ``python training_steps.py BACKBONE SECONDS``. The rate is in steps of 32 images a second.
"""

import sys
import time

import torch
from torch.nn import functional as F

import methods
from bench.models import backbones

BATCH, CLASSES = 32, 10


def main(name: str, seconds: float) -> None:
    """Take steps until the seconds are over."""
    backbone = backbones.find(name)
    model = backbones.build(backbone, CLASSES)
    model.requires_grad_(False).get_classifier().requires_grad_(True)
    methods.create("lora").attach(model)
    backbones.use_plain_attention(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    images = torch.randn(BATCH, 3, backbone.input.size, backbone.input.size)  # (B, 3, H, W)
    labels = torch.randint(CLASSES, (BATCH,))  # (B,)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model.train()(images), labels)
        loss.backward()
        optimizer.step()

    step()  # the first one allocates
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    taken, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds or not taken:
        step()
        taken += 1
    sys.stdout.write(f"{taken / max(spent, 1e-9)}\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
