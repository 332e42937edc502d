"""Makes every file of tests/goldens/data. The tests read those files and need none of these packages:

    pip install torch==2.15.0 timm==1.0.31 torchscale==0.3.0 safetensors==0.8.0
    python tests/goldens/make_goldens.py [names of files …]
"""

import argparse
import itertools
import json
import pathlib
import struct
import types

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torchscale.architecture.retnet import RetNetRelPos
from torchscale.component.multiscale_retention import MultiScaleRetention

import golden_random
import vision_retnet_reference as reference
from augment_goldens import augment_golden, mixing_golden
from model_goldens import configs, model_golden

DATA = pathlib.Path(__file__).parent / "data"


def save(name, metadata, tensors):
    """A safetensors file, the same bytes each time (the package's writer shuffles the metadata)."""
    kinds = {"float64": "F64", "float32": "F32", "int64": "I64", "uint8": "U8"}
    header, data = {"__metadata__": {"format": "vretnet-golden"} | metadata}, b""
    for key, value in tensors.items():
        piece = np.ascontiguousarray(value).tobytes()
        header[key] = {"dtype": kinds[str(value.dtype)], "shape": list(value.shape),
                       "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (DATA / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def make_python_written():
    """A file of every dtype by another writer, for the reader's own test."""
    index = torch.arange(12)
    value = (index / 2 - 3).reshape(3, 4)
    tensors = {"f64": value.double(), "f32": value.float(), "f16": value.half(), "bf16": value.bfloat16()}
    whole = {"i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8}
    tensors |= {name: index.to(dtype) for name, dtype in whole.items()} | {"flags": index % 2 == 0}
    save_file(tensors, DATA / "python_written.safetensors", metadata={"made_by": "make_goldens.py"})


def make_random():
    """The generator itself: what golden_random.h has to make of (seed, number, name, shape)."""
    shapes = {
        "blocks.0.cpe.weight": (4, 1, 3, 3),
        "blocks.0.norm1.weight": (7,),
        "blocks.10.mlp.fc1.bias": (5,),
        "blocks.2.mlp.fc1.weight": (5, 6),
        "cls_token": (1, 1, 6),
        "patch_embed.proj.weight": (6, 3, 2, 2),
        "pos_embed": (1, 5, 6),
    }
    seed = 2**63 + 11
    tensors = {f"parameter.{name}": value for name, value in golden_random.parameters(seed, shapes).items()}
    tensors["images"] = golden_random.images(seed, 3, 2, 3, 4, 3)
    tensors["labels"] = np.array(golden_random.labels(seed, 3, 50, 10))
    tensors["tensor"] = golden_random.tensor(seed, 5, (3, 7))
    save("random", {"kind": "random", "seed": str(seed), "step": "3", "tensor": "5"}, tensors)


def make_retention():
    """The retention of every scan × decay × position before its head norm, and its gradients, on a 3×5 grid."""
    height, width, heads, key_width, value_width, batch, seed = 3, 5, 2, 10, 6, 2, 77
    tokens = height * width
    cases, tensors = [], {}
    grid = itertools.product((False, True), (("raster", "slow"), ("raster", "fast"), ("row", "slow"), ("row", "fast")),
                             ("none", "raster", "axial"))
    for number, (bidirectional, (decay, speed), position) in enumerate(grid):
        deltas = reference.decay_complements(heads, speed)
        mask = reference.decay_mask(bidirectional, decay, deltas, height, width)
        for head, delta in enumerate(deltas):
            closed = [reference.row_sum(bidirectional, decay, delta, height, width, n) for n in range(tokens)]
            np.testing.assert_allclose(closed, mask[head].sum(-1).numpy(), rtol=1e-14)
        case = f"{'bidirectional' if bidirectional else 'causal'}_{decay}_{speed}_{position}"
        extents = {"q": key_width, "k": key_width, "v": value_width, "d_o": value_width}
        q, k, v, d_o = (
            torch.from_numpy(golden_random.tensor(seed, 4 * number + place, (batch, tokens, heads, extent)))
            for place, extent in enumerate(extents.values())
        )
        for x in (q, k, v):
            x.requires_grad_()
        out = reference.retention(
            *(x.transpose(1, 2) for x in (q, k, v)), bidirectional=bidirectional, decay=decay, deltas=deltas,
            position=position, height=height, width=width,
        ).transpose(1, 2)
        out.backward(d_o)
        cases.append({"name": case, "number": number, "bidirectional": bidirectional, "decay": decay,
                      "decay_speed": speed, "position": position})
        tensors |= {f"{case}.o": out.detach().numpy(), f"{case}.d_q": q.grad.numpy(), f"{case}.d_k": k.grad.numpy(),
                    f"{case}.d_v": v.grad.numpy()}
    shape = {"batch": batch, "height": height, "width": width, "heads": heads, "key_width": key_width,
             "value_width": value_width}
    save("retention", {"kind": "retention", "seed": str(seed), "shape": json.dumps(shape), "cases": json.dumps(cases)},
         tensors)


def torchscale_outputs(args, module, x, chunk):
    """The output of each mode that torchscale can run at this length."""
    position = RetNetRelPos(args).double()
    delta = 2.0 ** (-5 - torch.arange(args.decoder_retention_heads, dtype=torch.float64))
    position.decay.copy_(torch.log1p(-delta))  # torchscale keeps it in float32
    tokens = x.shape[1]
    outputs = {"parallel": module(x, position(tokens))}
    state = {}
    steps = [module(x[:, n : n + 1], position(n + 1, activate_recurrent=True), incremental_state=state)
             for n in range(tokens)]
    outputs["recurrent"] = torch.cat(steps, dim=1)
    if tokens % chunk == 0:
        outputs["chunkwise"] = module(x, position(tokens, chunkwise_recurrent=True), chunkwise_recurrent=True)
    return outputs


def make_torchscale():
    """torchscale's MultiScaleRetention at its own first weights, ε = 0 (its RMSNorm computes in float32)."""
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    cases, tensors = [], {}
    for heads, tokens in ((2, 12), (4, 12), (4, 11)):
        width, chunk, value_factor = 32, 4, 2
        args = types.SimpleNamespace(decoder_embed_dim=width, decoder_retention_heads=heads, layernorm_eps=0.0,
                                     recurrent_chunk_size=chunk, multiway=False)
        module = MultiScaleRetention(args, width, value_factor * width, heads)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(parameter.float())  # what is stored is what is used
            x = torch.randn(2, tokens, width).float().double()
            outputs = torchscale_outputs(args, module, x, chunk)
        case = f"heads{heads}_tokens{tokens}"
        cases.append({"name": case, "heads": heads, "tokens": tokens, "chunk": chunk, "width": width,
                      "value_factor": value_factor, "modes": list(outputs)})
        tensors[f"{case}.x"] = x.float().numpy()
        tensors |= {f"{case}.{name}": value.detach().float().numpy() for name, value in module.named_parameters()}
        tensors |= {f"{case}.{mode}": value.float().numpy() for mode, value in outputs.items()}
        for mode, value in outputs.items():
            error = (value - outputs["parallel"]).abs().max() / outputs["parallel"].abs().max()
            print(f"torchscale {case} {mode}: differs from parallel by {error:.1e}")
            assert error < 1e-6
    torch.set_default_dtype(torch.float32)
    save("torchscale", {"kind": "torchscale", "version": "0.3.0", "cases": json.dumps(cases)}, tensors)


def timm_vit(seed, image_size):
    """vit_tiny_patch16_224 with generated weights, at an image size (positions resampled), in float64."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=1000).double().eval()
    values = golden_random.parameters(seed, {name: tuple(value.shape) for name, value in model.state_dict().items()})
    state = {name: torch.from_numpy(value) for name, value in values.items()}
    if image_size != 224:
        model = timm.create_model("vit_tiny_patch16_224", num_classes=1000, img_size=image_size).double().eval()
        grid = [image_size // 16] * 2
        state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], new_size=grid, num_prefix_tokens=1)
    model.load_state_dict(state)
    return model, values


def make_timm_vit_tiny():
    """Logits of timm's own vit_tiny_patch16_224 for two images, and for one of 160 pixels."""
    seed, tensors = 1234, {}
    for image_size, batch in ((224, 2), (160, 1)):
        model, values = timm_vit(seed, image_size)
        images = torch.from_numpy(golden_random.images(seed, 0, batch, image_size, image_size, 3))
        with torch.no_grad():
            logits = model(images.permute(0, 3, 1, 2)).numpy()
        print(f"timm vit_tiny {image_size}: logits deviate by {logits.std():.2f}")
        tensors[f"logits_{image_size}"] = logits
    for name in ("blocks.0.attn.qkv.weight", "blocks.11.norm2.weight", "cls_token", "head.bias", "pos_embed"):
        tensors[f"sample.{name}"] = values[name].reshape(-1)[:8]
    save("timm_vit_tiny", {"kind": "timm", "model": "vit_tiny_patch16_224", "seed": str(seed)}, tensors)


def make_resample():
    """timm's resampling of learned positions: bicubic, antialiased, the class token kept."""
    cases, tensors = [], {}
    for number, (old, new, prefix) in enumerate((((14, 14), (10, 12), 0), ((7, 7), (9, 8), 1), ((8, 8), (3, 16), 1))):
        table = golden_random.tensor(9, number, (1, prefix + old[0] * old[1], 8))
        resampled = resample_abs_pos_embed(torch.from_numpy(table), new_size=list(new), old_size=list(old),
                                           num_prefix_tokens=prefix)
        assert resampled.shape == (1, prefix + new[0] * new[1], 8)
        case = f"{old[0]}x{old[1]}_to_{new[0]}x{new[1]}"
        cases.append({"name": case, "number": number, "old": old, "new": new, "prefix": prefix, "width": 8})
        tensors[case] = resampled.numpy()
    save("resample", {"kind": "resample", "seed": "9", "cases": json.dumps(cases)}, tensors)


def make_model(config):
    metadata, tensors = model_golden(config, seed=5, batch=4)
    save(f"model_{config.name}", metadata, tensors)


def main():
    makers = {
        "python_written": make_python_written,
        "random": make_random,
        "retention": make_retention,
        "torchscale": make_torchscale,
        "timm_vit_tiny": make_timm_vit_tiny,
        "resample": make_resample,
        "augment": lambda: save("augment", *augment_golden()),
        "mixing": lambda: save("mixing", *mixing_golden()),
    }
    makers |= {f"model_{config.name}": lambda config=config: make_model(config) for config in configs()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="files to make (default: all): " + ", ".join(makers))
    names = parser.parse_args().names
    unknown = [name for name in names if name not in makers]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(makers)}")
    torch.set_num_threads(1)
    DATA.mkdir(exist_ok=True)
    for name in names or makers:
        makers[name]()


if __name__ == "__main__":
    main()
