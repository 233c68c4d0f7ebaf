"""The node classes that the stand-in has, and how /object_info describes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tabario.embedded.comfyui.versions import Version

CHECKPOINTS: Final = ("sd_xl_base_1.0.safetensors",)

# fmt: off
SAMPLERS: Final = (
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2", "exp_heun_2_x0",
    "exp_heun_2_x0_sde", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm",
    "ipndm", "ipndm_v", "deis", "res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "er_sde", "seeds_2",
    "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc", "uni_pc_bh2",
)
# fmt: on
SCHEDULERS: Final = (
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
)
MAX_RESOLUTION: Final = 16_384
MAX_SEED: Final = 2**64 - 1


@dataclass(frozen=True)
class Input:
    """An input of a node: a type name, or the values to choose from, and the options shown beside it."""

    kind: str | tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def type_name(self) -> str:
        """The type of a link that fits."""
        return self.kind if isinstance(self.kind, str) else "COMBO"

    def describe(self) -> list[Any]:
        """As /object_info shows it."""
        return [self.kind if isinstance(self.kind, str) else list(self.kind), self.options]


@dataclass(frozen=True)
class NodeClass:
    """A node class. `outputs` maps each output's name to its type; every input is required."""

    name: str
    display_name: str
    category: str
    inputs: dict[str, Input]
    outputs: dict[str, str]
    is_output: bool = False
    hidden: dict[str, str] = field(default_factory=dict)

    @property
    def output_types(self) -> tuple[str, ...]:
        """Types of the outputs, by slot."""
        return tuple(self.outputs.values())

    def describe(self, version: Version) -> dict[str, Any]:
        """The entry of this class in /object_info."""
        shown: dict[str, Any] = {"required": {name: given.describe() for name, given in self.inputs.items()}}
        order = {"required": list(self.inputs)}
        if self.hidden:
            shown["hidden"] = self.hidden
            order["hidden"] = list(self.hidden)
        # Older output nodes do not pass on what they were given.
        outputs = self.outputs if version.is_strict or not self.is_output else {}
        entry = {
            "input": shown,
            "input_order": order,
            "output": list(outputs.values()),
            "output_is_list": [False] * len(outputs),
            "output_name": list(outputs),
            "name": self.name,
            "display_name": self.display_name,
            "description": "",
            "python_module": "nodes",
            "category": self.category,
            "output_node": self.is_output,
        }
        return {**entry, "is_input_list": False, "has_intermediate_output": False} if version.is_strict else entry


def _size(default: int, step: int, smallest: int) -> Input:
    return Input("INT", {"default": default, "min": smallest, "max": MAX_RESOLUTION, "step": step})


_PROMPT: Final = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_BATCH: Final = Input("INT", {"default": 1, "min": 1, "max": 4096})

NODE_CLASSES: Final[dict[str, NodeClass]] = {
    node.name: node
    for node in (
        NodeClass(
            name="CheckpointLoaderSimple",
            display_name="Load Checkpoint",
            category="model/loaders",
            inputs={"ckpt_name": Input(CHECKPOINTS)},
            outputs={"MODEL": "MODEL", "CLIP": "CLIP", "VAE": "VAE"},
        ),
        NodeClass(
            name="CLIPTextEncode",
            display_name="CLIP Text Encode (Prompt)",
            category="model/conditioning",
            inputs={
                "text": Input("STRING", {"multiline": True, "dynamicPrompts": True}),
                "clip": Input("CLIP"),
            },
            outputs={"CONDITIONING": "CONDITIONING"},
        ),
        NodeClass(
            name="EmptyLatentImage",
            display_name="Empty Latent Image",
            category="model/latent",
            inputs={"width": _size(512, 8, 16), "height": _size(512, 8, 16), "batch_size": _BATCH},
            outputs={"LATENT": "LATENT"},
        ),
        NodeClass(
            name="KSampler",
            display_name="KSampler",
            category="model/sampling",
            inputs={
                "model": Input("MODEL"),
                "seed": Input("INT", {"default": 0, "min": 0, "max": MAX_SEED, "control_after_generate": True}),
                "steps": Input("INT", {"default": 20, "min": 1, "max": 10_000}),
                "cfg": Input("FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}),
                "sampler_name": Input(SAMPLERS),
                "scheduler": Input(SCHEDULERS),
                "positive": Input("CONDITIONING"),
                "negative": Input("CONDITIONING"),
                "latent_image": Input("LATENT"),
                "denoise": Input("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
            },
            outputs={"LATENT": "LATENT"},
        ),
        NodeClass(
            name="VAEDecode",
            display_name="VAE Decode",
            category="model/latent",
            inputs={"samples": Input("LATENT"), "vae": Input("VAE")},
            outputs={"IMAGE": "IMAGE"},
        ),
        NodeClass(
            name="EmptyImage",
            display_name="Empty Image",
            category="image",
            inputs={
                "width": _size(512, 1, 1),
                "height": _size(512, 1, 1),
                "batch_size": _BATCH,
                "color": Input("INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}),
            },
            outputs={"IMAGE": "IMAGE"},
        ),
        NodeClass(
            name="ImageInvert",
            display_name="Invert Image",
            category="image",
            inputs={"image": Input("IMAGE")},
            outputs={"IMAGE": "IMAGE"},
        ),
        NodeClass(
            name="LoadImage",
            display_name="Load Image",
            category="image",
            inputs={"image": Input((), {"image_upload": True})},
            outputs={"IMAGE": "IMAGE", "MASK": "MASK"},
        ),
        NodeClass(
            name="SaveImage",
            display_name="Save Image",
            category="image",
            inputs={"images": Input("IMAGE"), "filename_prefix": Input("STRING", {"default": "ComfyUI"})},
            outputs={"images": "IMAGE"},
            is_output=True,
            hidden=_PROMPT,
        ),
        NodeClass(
            name="PreviewImage",
            display_name="Preview Image",
            category="image",
            inputs={"images": Input("IMAGE")},
            outputs={"images": "IMAGE"},
            is_output=True,
            hidden=_PROMPT,
        ),
    )
}
