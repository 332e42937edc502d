"""Vision RetNet in PyTorch, written from the model's equations (core/README.md) and from nothing of ours: the dense
form of retention with its mask made element by element, in the dtype of its inputs (the goldens use float64).
It is slow on purpose. Parameter names are those of a checkpoint; `mixer = "attention"` is the ViT twin."""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass(frozen=True)
class Config:
    """The `model` object of a checkpoint, and what few models have: mixer, class_token, layer_scale, learned_decay."""

    name: str = "golden"
    image_size: tuple = (16, 16)  # height, width
    patch_size: int = 4
    in_chans: int = 1
    width: int = 24
    depth: int = 2
    heads: int = 3
    value_factor: float = 2
    ffn_factor: float = 2
    stem: str = "patch"  # patch, conv
    scan: str = "causal"  # causal, alternate, bidirectional, cross
    decay: str = "raster"  # raster, row, manhattan
    decay_speed: str = "slow"  # slow, fast
    position: str = "raster"  # none, raster, axial
    pool: str = "mean"  # mean, last, token, sequence
    learned_position: bool = False
    cpe: bool = False
    lepe: bool = False
    gate: bool = True
    head_norm: str = "layer"  # layer, rms
    head_norm_epsilon: float = 1e-6
    norm_epsilon: float = 1e-6
    classes: int = 10
    mixer: str = "retention"  # retention, attention
    class_token: bool = False
    layer_scale: float = 0
    learned_decay: bool = False

    @property
    def grid(self):
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


# ------------------------------------------------------------------------------------------------ retention


def decay_complements(heads, speed):
    """delta_i = 1 − gamma_i."""
    if speed == "slow":
        return [2.0 ** (-5 - i) for i in range(heads)]
    return [2.0 ** (-2 - 4 * i / heads) for i in range(heads)]


def mask_exponent(bidirectional, decay, width, n, m):
    """The power of gamma with which token n sees token m, or None where it does not see it."""
    y_n, x_n, y_m, x_m = n // width, n % width, m // width, m % width
    if decay == "raster":
        return abs(n - m) if bidirectional or n >= m else None
    if decay == "manhattan":
        return abs(y_n - y_m) + abs(x_n - x_m)
    if y_n == y_m:
        return abs(x_n - x_m)
    return abs(y_n - y_m) if bidirectional or y_n > y_m else None


def decay_mask(bidirectional, decay, deltas, height, width):
    """D [heads, tokens, tokens], float64, before the row scale."""
    tokens = height * width
    mask = torch.zeros(len(deltas), tokens, tokens, dtype=torch.float64)
    for head, delta in enumerate(deltas):
        for n in range(tokens):
            for m in range(tokens):
                exponent = mask_exponent(bidirectional, decay, width, n, m)
                if exponent is not None:
                    mask[head, n, m] = math.exp(exponent * math.log1p(-delta))
    return mask


def learned_mask(bidirectional, decay, log_rate, height, width):
    """D [1, tokens, tokens] of a head with gamma = exp(−exp(log_rate)), log_rate [1]."""
    places = range(height * width)
    exponents = [[mask_exponent(bidirectional, decay, width, n, m) for m in places] for n in places]
    seen = torch.tensor([[exponent is not None for exponent in row] for row in exponents])
    power = torch.tensor([[exponent or 0.0 for exponent in row] for row in exponents], dtype=torch.float64)
    return torch.where(seen, torch.exp(-torch.exp(log_rate) * power.to(log_rate)), 0.0)[None]


def row_sum(bidirectional, decay, delta, height, width, n):
    """s_n, the sum of a mask's row n, in closed form."""
    gamma = 1 - delta
    y, x = n // width, n % width

    def geometric(count):  # gamma + gamma² + … of so many terms
        return -gamma * math.expm1(count * math.log1p(-delta)) / delta

    def both_sides(length, place):
        return 1 + geometric(place) + geometric(length - 1 - place)

    if decay == "raster":
        return both_sides(height * width, n) if bidirectional else 1 + geometric(n)
    if decay == "manhattan":
        return both_sides(width, x) * both_sides(height, y)
    rows = geometric(y) + (geometric(height - 1 - y) if bidirectional else 0)
    return both_sides(width, x) + width * rows


def frequencies(pairs):
    return [10000.0 ** (-j / (pairs - 1)) if pairs > 1 else 1.0 for j in range(pairs)]


def angles(position, key_width, height, width):
    """[tokens, key_width / 2], float64."""
    pairs = key_width // 2
    rows = []
    for n in range(height * width):
        y, x = n // width, n % width
        if position == "none":
            rows.append([0.0] * pairs)
        elif position == "raster":
            rows.append([n * theta for theta in frequencies(pairs)])
        else:
            vertical = key_width // 4
            rows.append(
                [y * theta for theta in frequencies(vertical)] + [x * theta for theta in frequencies(pairs - vertical)]
            )
    return torch.tensor(rows, dtype=torch.float64)


def rotate(x, angle):
    """x [..., tokens, key_width]: elements (2j, 2j + 1) turn by angle[token, j]."""
    cosine, sine = angle.cos().to(x), angle.sin().to(x)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], dim=-1).flatten(-2)


def retention(q, k, v, *, bidirectional, decay, deltas, position, height, width, log_rate=None):
    """q, k [batch, heads, tokens, d_k], v [batch, heads, tokens, d_v], all as projected: k is scaled here.
    Tokens stand in the order in which they are read, height × width of them. With `log_rate` [1] the one head's
    decay is learned; its rows are scaled as those of `deltas`."""
    angle = angles(position, q.shape[-1], height, width)
    q, k = rotate(q, angle), rotate(k / math.sqrt(q.shape[-1]), angle)
    mask = decay_mask(bidirectional, decay, deltas, height, width)
    row_scale = mask.sum(-1, keepdim=True).sqrt()
    if log_rate is not None:
        mask = learned_mask(bidirectional, decay, log_rate, height, width)
    mask = mask / row_scale
    return (q @ k.transpose(-1, -2) * mask.to(q)) @ v


def reading_order(scan, layer, head, height, width):
    """The image's tokens in the order in which a head reads them, and the height and width of that order."""
    raster = torch.arange(height * width)
    if scan != "cross":
        return (raster.flip(0) if scan == "alternate" and layer % 2 == 1 else raster), height, width
    by_columns = raster.view(height, width).T.flatten()
    return [
        (raster, height, width),
        (raster.flip(0), height, width),
        (by_columns, width, height),
        (by_columns.flip(0), width, height),
    ][head % 4]


def head_norm(x, kind, epsilon):
    if kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()


# --------------------------------------------------------------------------------------------------- layers


class Depthwise(nn.Conv2d):
    """3×3, each channel on its own, over tokens in image order; row-causal: two rows of zeros above, none below."""

    def __init__(self, channels, row_causal):
        super().__init__(channels, channels, 3, groups=channels)
        self.row_causal = row_causal

    def forward(self, x, grid):
        image = x.transpose(1, 2).unflatten(2, grid)
        image = F.pad(image, (1, 1, 2, 0) if self.row_causal else (1, 1, 1, 1))
        return super().forward(image).flatten(2).transpose(1, 2)


class Retention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.config = config
        self.layer = layer
        width, values = config.width, int(config.width * config.value_factor)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, values, bias=False)
        if config.gate:
            self.g_proj = nn.Linear(width, values, bias=False)
        self.out_proj = nn.Linear(values, width, bias=False)
        if config.lepe:
            self.lepe = Depthwise(values, row_causal=config.scan == "causal")
        if config.learned_decay:
            self.decay = nn.Parameter(torch.zeros(config.heads))

    def forward(self, x, grid):
        config = self.config

        value = self.v_proj(x)
        parts = [
            y.unflatten(-1, (config.heads, -1)).transpose(1, 2) for y in (self.q_proj(x), self.k_proj(x), value)
        ]
        outs = []
        for head, delta in enumerate(decay_complements(config.heads, config.decay_speed)):
            order, height, width = reading_order(config.scan, self.layer, head, *grid)
            read = retention(
                *(part[:, head : head + 1, order] for part in parts),
                bidirectional=config.scan == "bidirectional",
                decay=config.decay,
                deltas=[delta],
                position=config.position,
                height=height,
                width=width,
                log_rate=self.decay[head : head + 1] if config.learned_decay else None,
            )
            outs.append(read[:, :, order.argsort()])
        out = head_norm(torch.cat(outs, 1), config.head_norm, config.head_norm_epsilon).transpose(1, 2).flatten(2)
        if config.gate:
            out = F.silu(self.g_proj(x)) * out
        if config.lepe:
            out = out + self.lepe(value, grid)
        return self.out_proj(out)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x, grid):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = int(config.width * config.ffn_factor)
        self.fc1 = nn.Linear(config.width, hidden)
        self.fc2 = nn.Linear(hidden, config.width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((config.width,), float(config.layer_scale)))

    def forward(self, x):
        return x * self.gamma


class SequencePool(nn.Module):
    """The mean of the tokens by softmax(x·w) over them."""

    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, config.width))

    def forward(self, x):
        return ((x @ self.weight.T).softmax(1) * x).sum(1)


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        if config.cpe:
            self.cpe = Depthwise(config.width, row_causal=config.scan == "causal")
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.mixer_name = "retention" if config.mixer == "retention" else "attn"
        mixer = Retention(config, layer) if config.mixer == "retention" else Attention(config)
        self.add_module(self.mixer_name, mixer)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.mlp = Mlp(config)
        if config.layer_scale:
            self.ls1, self.ls2 = LayerScale(config), LayerScale(config)
        else:
            self.ls1 = self.ls2 = nn.Identity()

    def forward(self, x, grid):
        if hasattr(self, "cpe"):
            x = x + self.cpe(x, grid)
        x = x + self.ls1(getattr(self, self.mixer_name)(self.norm1(x), grid))
        return x + self.ls2(self.mlp(self.norm2(x)))


class StemStage(nn.Module):
    def __init__(self, channels_in, channels_out, epsilon):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(channels_out, eps=epsilon)

    def forward(self, x):
        x = self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.gelu(x)


class PatchEmbed(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.stem == "patch":
            self.stem = nn.ModuleList()
            self.proj = nn.Conv2d(config.in_chans, config.width, config.patch_size, stride=config.patch_size)
            return
        stages = int(math.log2(config.patch_size))
        widths = [config.in_chans] + [config.width >> (stages - 1 - i) for i in range(stages)]
        self.stem = nn.ModuleList(
            StemStage(widths[i], widths[i + 1], config.norm_epsilon) for i in range(stages)
        )
        self.proj = nn.Conv2d(config.width, config.width, 1)

    def forward(self, x):
        for stage in self.stem:
            x = stage(x)
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionRetNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        tokens = config.grid[0] * config.grid[1]
        self.patch_embed = PatchEmbed(config)
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        if config.learned_position:
            self.pos_embed = nn.Parameter(torch.zeros(1, tokens + config.class_token, config.width))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        if config.pool == "sequence":
            self.attention_pool = SequencePool(config)
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, images):
        """images [batch, channels, height, width] → logits [batch, classes]."""
        config = self.config
        x = self.patch_embed(images)
        if config.class_token:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if config.learned_position:
            x = x + self.pos_embed
        for block in self.blocks:
            x = block(x, config.grid)
        x = self.norm(x)
        pool = {
            "mean": lambda: x.mean(1),
            "last": lambda: x[:, -1],
            "token": lambda: x[:, 0],
            "sequence": lambda: self.attention_pool(x),
        }
        return self.head(pool[config.pool]())
