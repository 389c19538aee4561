"""Hugging Face's peft: LoRA (Hu et al., 2022), https://arxiv.org/abs/2106.09685, and other tuners.

The papers of the others are cited where they are registered, at the end of the file.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from methods.shared.base import Method, Unsupported
from methods.shared.block_layers import names_in_plain_vit
from methods.shared.registry import refuse, register
from methods.shared.structure import blocks_of, expose_layers, heads_of, require_transformer

LINEAR_LAYERS = r"blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))"  # without patch_embed.proj
NORM_LAYERS = r"blocks\.\d+\.norm[12]|norm|fc_norm"
FLOAT32_INITS = {"PsoftConfig", "pissa", "olora"}  # can only decompose float32 weights
PATTERN_OPTIONS = {"feedforward_modules"}  # name modules, as `targets` does
CHANGED_AT_START = {"C3AConfig", "UniLoraConfig", "VBLoRAConfig"}  # start from noise
NO_META_INIT = {"AdamssConfig", "BOFTConfig", "ShiraConfig", "UniLoraConfig"}  # fail on meta
EXPECTED_WARNINGS = (  # of effects that these options are meant to have
    "Failed to load the CUDA extension",  # BOFT then computes the same with torch alone
    "Setting boft_n_butterfly_factor to 1",
    "Specified to not save",
    "Unsupported layer type .*Norm",
)


class Float32Layer(nn.Module):
    """A FourierFT layer, run with float32 as the default dtype, which peft's code assumes."""

    def __init__(self, layer: Any):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with _float32_by_default():
            return self.layer(x)

    def merged(self) -> nn.Module:
        """Return an equivalent plain layer."""
        with _float32_by_default():
            self.layer.merge(safe_merge=True)
        return self.layer.get_base_layer()


@contextmanager
def _float32_by_default() -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


@dataclass(frozen=True)
class PeftLibrary(Method):
    """The tuner of peft's class `config` with its `options`, on the modules called `targets`.

    The names are those of a plain ViT; what stands in a module's place elsewhere, such as three
    layers for ``attn.qkv``, is meant, too.

    The option named by `divides` must divide the backbone's width and is lowered to the largest
    number that does. AdaLoRA counts epochs as steps: it reallocates ranks after each epoch, from
    the gradients of its last batch, and its ``total_step`` should be the recipe's epochs. Its
    penalty is omitted, since peft adds it only to a loss that the model itself computes.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    targets: str = LINEAR_LAYERS
    divides: str = ""

    @property
    def identity_at_start(self) -> bool:
        options = {"init_weights": self.config != "FourierFTConfig", **self.options}
        from_noise = False in (options["init_weights"], options.get("init_lora_weights"))
        return self.config not in CHANGED_AT_START and not from_noise

    def attach(self, model: VisionTransformer) -> None:
        import peft  # takes seconds, so only when needed

        require_transformer(model)
        for block in blocks_of(model):
            expose_layers(block)
        names = _require_modules(model, self.targets)
        options = self._fitted_options(model)
        options["target_modules"] = _exact_pattern(names)
        single = bool(FLOAT32_INITS & {self.config, self.options.get("init_lora_weights")})
        with (
            _weights_for_init(model, single, self.config in NO_META_INIT),
            _ignore_expected_warnings(),
        ):
            config = getattr(peft, self.config)(**options)
            tuner = peft.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](model, config, "default")
        heads_of(model).requires_grad_(True)  # peft froze them
        if self.config == "FourierFTConfig":
            for name in names:
                model.set_submodule(name, Float32Layer(model.get_submodule(name)))
        if self.config == "AdaLoraConfig":
            model.peft_tuners = (tuner,)  # in a tuple: as a submodule it would contain the model

    def after_epoch(self, model: VisionTransformer, epoch: int) -> None:
        for tuner in getattr(model, "peft_tuners", ()):
            tuner.update_and_allocate(epoch)

    def training_state(self, model: VisionTransformer) -> dict[str, Tensor]:
        return {
            f"{table}.{name}": torch.as_tensor(value)
            for tuner in getattr(model, "peft_tuners", ())
            for table, entries in _allocation_tables(tuner).items()
            for name, value in entries.items()
        }

    def load_training_state(self, model: VisionTransformer, state: dict[str, Tensor]) -> None:
        for tuner in getattr(model, "peft_tuners", ()):
            tables = {table: dict[str, Any]() for table in _allocation_tables(tuner)}
            for full_name, value in state.items():
                table, _, name = full_name.partition(".")
                tables[table][name] = value
            kept = {name: value.tolist() for name, value in tables.pop("rank_pattern").items()}
            tuner.peft_config["default"].rank_pattern = kept or None
            vars(tuner.rankallocator).update(tables)

    def _fitted_options(self, model: VisionTransformer) -> dict[str, Any]:
        """Return the options as they fit the backbone's width and the names of its modules."""
        options = dict(self.options)
        if self.divides:
            width, most = model.embed_dim, self.options[self.divides]
            options[self.divides] = max(d for d in range(1, most + 1) if width % d == 0)
        for name in PATTERN_OPTIONS & options.keys():
            options[name] = _exact_pattern(_require_modules(model, options[name]))
        return options


def _allocation_tables(tuner: Any) -> dict[str, dict[str, Any]]:
    """Return what AdaLoRA remembers from one epoch to the next: importances, and kept ranks."""
    allocator = tuner.rankallocator
    tables = {name: getattr(allocator, name) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")}
    return {**tables, "rank_pattern": tuner.peft_config["default"].rank_pattern or {}}


def _exact_pattern(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, names))


def _require_modules(model: VisionTransformer, targets: str) -> list[str]:
    """Return the modules called `targets` that have weights, or that a plain ViT would call so."""
    plain = names_in_plain_vit(model)
    found = [
        name
        for name, module in model.named_modules()
        if any(re.fullmatch(targets, called) for called in (name, plain.get(name, name)))
        and any(True for _ in module.parameters())
    ]
    if not found:
        raise Unsupported(f"no module with weights is called {targets} in this backbone")
    return found


@contextmanager
def _weights_for_init(model: VisionTransformer, single: bool, real: bool) -> Iterator[None]:
    """Provide weights that a tuner can be initialised from: in float32 if `single`.

    With `real`, weights on the meta device, where models are only counted, are replaced by noise
    for the time being.
    """
    first = next(model.parameters())
    dtype, on_cpu = first.dtype, real and first.is_meta
    if single:
        model.float()
    if on_cpu:
        model.to_empty(device="cpu")
        for p in model.parameters():
            p.data.normal_()
    with torch.device("cpu") if on_cpu else nullcontext():
        yield
    model.to("meta" if on_cpu else None, dtype if single else None)


@contextmanager
def _ignore_expected_warnings() -> Iterator[None]:
    """Suppress warnings about intended effects."""
    sparse = torch.sparse.check_sparse_tensor_invariants
    if not sparse.is_enabled():
        sparse.disable()  # SHiRA's tensors are valid; torch warns unless this is set explicitly
    with warnings.catch_warnings():
        for text in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", text)
        yield


_LORA = "LoraConfig"
_PROJECTION_FROM_SEED = {"save_projection": False}  # frozen noise is redrawn from its seed

for _name, _method in {
    "lora": PeftLibrary(_LORA, {"r": 8}),
    "rslora": PeftLibrary(_LORA, {"r": 8, "use_rslora": True}),  # 2312.03732
    "dora": PeftLibrary(_LORA, {"r": 8, "use_dora": True}),  # 2402.09353
    "pissa": PeftLibrary(_LORA, {"r": 8, "init_lora_weights": "pissa"}),  # 2404.02948
    "olora": PeftLibrary(_LORA, {"r": 8, "init_lora_weights": "olora"}),  # 2406.01775
    "adalora": PeftLibrary(  # 2303.10512
        "AdaLoraConfig",
        {"init_r": 12, "target_r": 8, "tinit": 10, "tfinal": 30, "total_step": 100},
    ),
    "adamss": PeftLibrary("AdamssConfig"),  # openreview 8ZdWmpYxT0
    "beft": PeftLibrary("BeftConfig"),  # 2509.15974
    "boft": PeftLibrary("BOFTConfig", {"boft_block_size": 4}),  # 2311.06243
    "c3a": PeftLibrary("C3AConfig", {"block_size": 256}, divides="block_size"),  # 2407.19342
    "deft": PeftLibrary("DeftConfig", {"r": 8}),
    "delora": PeftLibrary("DeloraConfig", {"r": 8}),  # 2503.18225
    "fourierft": PeftLibrary(  # 2405.03003
        "FourierFTConfig",
        {"n_frequency": 1000, "init_weights": True},  # True is zero; peft's default is noise
    ),
    "glora": PeftLibrary("GloraConfig", {"r": 8}),  # 2306.07967
    "gralora": PeftLibrary("GraloraConfig", {"r": 8}),  # 2505.20355
    "hira": PeftLibrary("HiraConfig", {"r": 8}),  # openreview TwJrTz9cRS
    "hra": PeftLibrary("HRAConfig", {"r": 8}),  # 2405.17484
    "ia3": PeftLibrary(  # 2205.05638
        "IA3Config",
        {"feedforward_modules": r"blocks\.\d+\.mlp\.fc2"},
        targets=r"blocks\.\d+\.(attn\.qkv|mlp\.fc2)",
    ),
    "lily": PeftLibrary("LilyConfig", {"r": 8}),  # 2407.09946
    "ln": PeftLibrary("LNTuningConfig", targets=NORM_LAYERS),  # 2312.11420
    "loha": PeftLibrary("LoHaConfig", {"r": 8}),  # 2108.06098
    "lokr": PeftLibrary("LoKrConfig", {"r": 8}),  # 2309.14859
    "miss": PeftLibrary("MissConfig", {"r": 8}),  # 2409.15371
    "oft": PeftLibrary("OFTConfig", {"oft_block_size": 32}, divides="oft_block_size"),  # 2306.07280
    "peanut": PeftLibrary("PeanutConfig", {"r": 8}),  # 2410.01870
    "psoft": PeftLibrary("PsoftConfig", {"r": 32}),  # openreview FSHrinMArK
    "pvera": PeftLibrary("PveraConfig", {"r": 256, **_PROJECTION_FROM_SEED}),  # 2512.07703
    "randlora": PeftLibrary("RandLoraConfig", {"r": 8, **_PROJECTION_FROM_SEED}),  # 2502.00987
    "road": PeftLibrary("RoadConfig", {"group_size": 64}, divides="group_size"),  # 2409.00119
    "shira": PeftLibrary("ShiraConfig", {"r": 8}),  # 2406.13175
    "supertuning": PeftLibrary("SupertuningConfig", {"sparsity": 0.99}),  # 2607.09287
    "tinylora": PeftLibrary("TinyLoraConfig", {"u": 64, **_PROJECTION_FROM_SEED}),  # 2602.04118
    "unilora": PeftLibrary("UniLoraConfig", {"theta_d_length": 256}),  # 2506.00799
    "vblora": PeftLibrary(  # 2405.15179
        "VBLoRAConfig", {"vector_length": 256}, divides="vector_length"
    ),
    "vera": PeftLibrary("VeraConfig", {"r": 256, **_PROJECTION_FROM_SEED}),  # 2310.11454
    "waveft": PeftLibrary("WaveFTConfig", {"n_frequency": 2592}),  # 2505.12532
}.items():
    register(f"peft_{_name}", _method)

_NEEDS_LANGUAGE_MODEL = (
    "it needs the configuration of a language model from transformers, which no ViT has"
)
UNSUPPORTED_TUNERS = {
    "peft_adaption_prompt": _NEEDS_LANGUAGE_MODEL,
    "peft_cartridge": _NEEDS_LANGUAGE_MODEL,
    "peft_cpt": _NEEDS_LANGUAGE_MODEL,
    "peft_multitask_prompt_tuning": _NEEDS_LANGUAGE_MODEL,
    "peft_p_tuning": _NEEDS_LANGUAGE_MODEL,
    "peft_prefix_tuning": _NEEDS_LANGUAGE_MODEL,
    "peft_prompt_tuning": f"{_NEEDS_LANGUAGE_MODEL}; vpt_shallow is its like for images",
    "peft_shadow": "it looks for the backbone of a decoder",
    "peft_xlora": _NEEDS_LANGUAGE_MODEL,
    "peft_frod": "it decomposes all weights when it attaches, 88 s for ViT-B/16 on one core",
    "peft_osf": "its gradient hooks cannot be copied, and it trains two thirds of the backbone",
    "peft_poly": "it wants the number of the task beside each image",
    "peft_trainable_tokens": "it trains rows of a table of words",
}
"""Tuners of peft that are not offered here, and why."""

for _name, _reason in UNSUPPORTED_TUNERS.items():
    refuse(_name, _reason)
