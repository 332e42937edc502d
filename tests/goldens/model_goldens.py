"""Goldens of whole models: logits, gradients of one step and ten training losses, in float64."""

import dataclasses
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

import golden_random
from vision_retnet_reference import Config, VisionRetNet

TRAINING = {
    "steps": 10,
    "learning_rate": 5e-4,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 2.0,  # far more than is usual, so that ten losses show a decay that is left out
    "max_norm": 1.0,  # of the gradient of all parameters together
    "label_smoothing": 0.1,
}
TOLERANCE = 1e-4  # relative: what the C++ tests ask of float32
FULL_GRADIENT_LIMIT = 80_000  # parameters; a larger model stores samples
SAMPLES = 64

LOCAL = {"stem": "conv", "value_factor": 1, "ffn_factor": 3.5, "cpe": True, "lepe": True}
ROW_FAST_AXIAL = {"decay": "row", "decay_speed": "fast", "position": "axial"}
ATTENTION = {"mixer": "attention", "scan": "bidirectional", "position": "none", "gate": False}
VIT = ATTENTION | {"learned_position": True, "value_factor": 1, "ffn_factor": 4}
PICO = {"image_size": (28, 28), "width": 96, "depth": 4}


def configs():
    """One for each branch of the model, at hard shapes: height ≠ width, odd grids, d_k = 10, small and large ε."""
    return [
        Config("classic_causal_raster", (16, 12)),
        Config("classic_alternate_raster", (12, 16), in_chans=3, scan="alternate", depth=3),
        Config("classic_alternate_row_axial", (20, 12), scan="alternate", depth=3, width=30, decay="row",
               position="axial"),
        Config("classic_bidirectional_raster", (16, 16), scan="bidirectional", position="none", gate=False,
               head_norm="rms", learned_position=True),
        Config("classic_causal_row_last", (12, 20), decay="row", pool="last", head_norm="rms",
               head_norm_epsilon=1e-3),
        Config("local_bidirectional_row", (20, 12), in_chans=3, width=30, scan="bidirectional",
               **LOCAL, **ROW_FAST_AXIAL),
        Config("local_causal_row", (12, 20), pool="last", **LOCAL, **ROW_FAST_AXIAL),
        Config("local_causal_raster", (16, 12), in_chans=3, head_norm_epsilon=1e-2, **LOCAL),
        Config("local_bidirectional_raster_patch8", (24, 40), patch_size=8, scan="bidirectional",
               decay_speed="fast", **LOCAL),
        Config("classic_cross_raster", (12, 20), width=30, heads=5, scan="cross", depth=3, layer_scale=0.5),
        Config("local_cross_row_sequence", (20, 12), heads=4, width=32, in_chans=3, scan="cross", pool="sequence", **LOCAL,
               **ROW_FAST_AXIAL),
        Config("local_manhattan", (12, 20), scan="bidirectional", layer_scale=0.1, **LOCAL,
               **ROW_FAST_AXIAL | {"decay": "manhattan"}),
        Config("local_cross_learned_decay", (12, 20), heads=5, width=30, scan="cross", learned_decay=True, **LOCAL,
               **ROW_FAST_AXIAL),
        Config("vit", (16, 12), in_chans=3, **VIT),
        Config("vit_class_token", (12, 16), class_token=True, pool="token", **VIT),
        Config("vit_local", (20, 12), in_chans=3, width=30, **ATTENTION, **LOCAL),
        Config("vretnet_pico_patch4_28", **PICO),
        Config("vretnet_pico_patch4_28_local", scan="bidirectional", **PICO, **LOCAL, **ROW_FAST_AXIAL),
        Config("vit_pico_patch4_28", **PICO, **VIT),
    ]


def timm_twin(config):
    """timm's own model of a config that timm has, or None."""
    if config.mixer != "attention" or config.stem != "patch":
        return None
    return VisionTransformer(
        img_size=config.image_size, patch_size=config.patch_size, in_chans=config.in_chans,
        num_classes=config.classes, embed_dim=config.width, depth=config.depth, num_heads=config.heads,
        mlp_ratio=config.ffn_factor, class_token=config.class_token, fc_norm=False,
        global_pool="token" if config.class_token else "avg",
    )


def build(config, seed, own=False):
    """timm's model where it has one, else (or where asked for) the reference, with generated weights."""
    model = (None if own else timm_twin(config)) or VisionRetNet(config)
    model = model.double()
    values = golden_random.parameters(seed, {name: tuple(p.shape) for name, p in model.named_parameters()})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))
    assert model.state_dict().keys() == values.keys()
    return model


def batch_of(config, seed, step, batch, dtype):
    height, width = config.image_size
    images = golden_random.images(seed, step, batch, height, width, config.in_chans)
    labels = golden_random.labels(seed, step, batch, config.classes)
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype), torch.tensor(labels)


def train(model, config, seed, batch, settings, dtype=torch.float64):
    """The loss before each of the steps, and the norm of the first gradient."""
    model = model.to(dtype)
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        weight = parameter.ndim >= 2 and name not in ("pos_embed", "cls_token")
        (decayed if weight else plain).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings["weight_decay"]}, {"params": plain, "weight_decay": 0.0}],
        lr=settings["learning_rate"], betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"],
    )
    losses, norms = [], []
    for step in range(settings["steps"]):
        images, labels = batch_of(config, seed, step, batch, dtype)
        loss = F.cross_entropy(model(images), labels, label_smoothing=settings["label_smoothing"])
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), settings["max_norm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), np.array(norms)


def difference(a, b):
    return np.max(np.abs(a - b) / np.abs(b))


def check_sharpness(config, seed, batch, losses, norms):
    """The goldens must catch what they are for: leaving out one part of the recipe moves a loss by more than the
    tolerance, and float32 alone does not come near it."""
    assert norms.max() > TRAINING["max_norm"], (config.name, "the gradient is never clipped", norms)
    for key, value in {"weight_decay": 0.0, "max_norm": math.inf, "label_smoothing": 0.0, "beta1": 0.8, "beta2": 0.5}.items():
        wrong, _ = train(build(config, seed), config, seed, batch, TRAINING | {key: value})
        assert difference(wrong, losses) > 1.5 * TOLERANCE, (config.name, key, difference(wrong, losses))
    single, _ = train(build(config, seed), config, seed, batch, TRAINING, torch.float32)
    assert difference(single, losses) < TOLERANCE / 20, (config.name, difference(single, losses))
    return difference(single, losses)


def samples(array):
    flat = array.reshape(-1)
    return flat[[place * flat.size // SAMPLES for place in range(SAMPLES)]]


def model_golden(config, seed, batch):
    """(metadata, tensors) of one file."""
    model = build(config, seed)
    if timm_twin(config) is not None:  # our ViT and timm's are one function
        images, _ = batch_of(config, seed, 0, batch, torch.float64)
        ours = build(config, seed, own=True)(images)
        assert torch.allclose(ours, model(images), rtol=0, atol=1e-12), config.name
    images, labels = batch_of(config, seed, 0, batch, torch.float64)
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=TRAINING["label_smoothing"])
    loss.backward()

    count = sum(parameter.numel() for parameter in model.parameters())
    tensors = {"logits": logits.detach().numpy(), "loss": np.array([loss.item()])}
    for name, parameter in sorted(model.named_parameters()):
        gradient = parameter.grad.numpy()
        whole = count <= FULL_GRADIENT_LIMIT or gradient.size <= SAMPLES
        tensors[f"gradient.{name}"] = (gradient if whole else samples(gradient)).astype(np.float32)
        tensors[f"gradient_norm.{name}"] = np.array([np.linalg.norm(gradient)])
    losses, norms = train(build(config, seed), config, seed, batch, TRAINING)
    single = check_sharpness(config, seed, batch, losses, norms)
    assert losses[0] == loss.item()
    tensors["losses"] = losses
    tensors["gradient_norms"] = norms
    print(f"{config.name}: {count} parameters, losses {losses[0]:.4f} … {losses[-1]:.4f}, "
          f"norms {norms.min():.2f} … {norms.max():.2f}, float32 differs by {single:.1e}")
    metadata = {
        "kind": "model",
        "model": json.dumps({key: value for key, value in dataclasses.asdict(config).items() if value or key not in ("layer_scale", "learned_decay")}),
        "training": json.dumps(TRAINING | {"seed": seed, "batch": batch}),
    }
    return metadata, tensors
