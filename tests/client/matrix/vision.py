"""Convolutional networks and what came after them, small."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from matrix.kit import Kit, kind, of

BATCH, CLASSES = 6, 3


def classify(model: nn.Module, size: int = 8, channels: int = 3) -> Tensor:
    x, y = torch.randn(BATCH, channels, size, size), torch.randint(0, CLASSES, (BATCH,))
    return F.cross_entropy(model(x), y)


class Block(nn.Module):
    """Of a ResNet: in-place activations, one called twice."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or given != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        x += kept
        return self.relu(x)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(4, 4, 1), Block(4, 4, 1))
        self.layer2 = nn.Sequential(Block(4, 8, 2), Block(8, 8, 1))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


@kind("resnet")
def resnet() -> Kit:
    return of(ResNet(), classify)


@kind("vgg")
def vgg() -> Kit:
    return of(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.ReLU(True),
            nn.MaxPool2d(2, 2),
            nn.Flatten(),
            nn.Linear(32, 16),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(16, CLASSES),
        ),
        classify,
    )


class DenseLayer(nn.Module):
    def __init__(self, given: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(given)
        self.conv1 = nn.Conv2d(given, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv1(F.relu(self.norm1(x), inplace=True))], 1)


@kind("densenet")
def densenet() -> Kit:
    return of(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            DenseLayer(4),
            DenseLayer(8),
            nn.BatchNorm2d(12),
            nn.AvgPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(192, CLASSES),
        ),
        classify,
    )


class Mixed(nn.Module):
    """Of an Inception: branches that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(4, 3, 1)
        self.three = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 3, padding=1))
        self.five = nn.Conv2d(4, 2, 5, padding=2)
        self.pool = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1))
        return F.relu(torch.cat([self.one(x), self.three(x), self.five(x), pooled], 1))


class Inception(nn.Module):
    """With the second head of GoogLeNet: a named tuple comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.mixed = Mixed()
        self.aux = nn.Linear(11, CLASSES)
        self.fc = nn.Linear(11, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.mixed(F.relu(self.stem(x)))
        x = x.mean((2, 3))
        return self.fc(F.dropout(x, 0.2, self.training)), self.aux(x)


def two_heads(model: nn.Module) -> Tensor:
    x, y = torch.randn(BATCH, 3, 8, 8), torch.randint(0, CLASSES, (BATCH,))
    out, aux = model(x)
    return F.cross_entropy(out, y) + 0.4 * F.cross_entropy(aux, y)


@kind("inception")
def inception() -> Kit:
    return of(Inception(), two_heads)


class Inverted(nn.Module):
    """Of a MobileNet: expand, depthwise, project; squeeze and excite of an EfficientNet."""

    def __init__(self, width: int, *, excite: bool) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, 12, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.squeeze = nn.Conv2d(12, 3, 1) if excite else None
        self.excite = nn.Conv2d(3, 12, 1) if excite else None
        self.project = nn.Conv2d(12, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.soft = excite

    def forward(self, x: Tensor) -> Tensor:
        act = F.silu if self.soft else F.relu6
        y = act(self.bn1(self.expand(x)))
        y = act(self.bn2(self.depthwise(y)))
        if self.squeeze is not None and self.excite is not None:
            scale = self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
            y = y * scale.sigmoid()
        return x + self.bn3(self.project(y))


@kind("mobilenet, depthwise")
def mobilenet() -> Kit:
    return of(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.Hardswish(),
            Inverted(4, excite=False),
            Inverted(4, excite=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, CLASSES),
        ),
        classify,
    )


@kind("efficientnet, squeeze and excite")
def efficientnet() -> Kit:
    return of(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.BatchNorm2d(4),
            nn.SiLU(inplace=True),
            Inverted(4, excite=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, CLASSES),
        ),
        classify,
    )


class ConvNeXtBlock(nn.Module):
    """Channels last inside, a scale a layer as a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(4, 4, 7, padding=3, groups=4)
        self.norm = nn.LayerNorm(4)
        self.pwconv1 = nn.Linear(4, 16)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(16, 4)
        self.gamma = nn.Parameter(torch.full((4,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


@kind("convnext")
def convnext() -> Kit:
    return of(
        nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1),
            ConvNeXtBlock(),
            ConvNeXtBlock(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(4),
            nn.Linear(4, CLASSES),
        ),
        classify,
    )


class UNet(nn.Module):
    def __init__(self, given: int = 1, gives: int = 1) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(given, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.merge = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Conv2d(4, gives, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        up = torch.cat([one, self.up(two)], 1)
        return self.head(F.elu(self.merge(up)))


@kind("u-net, segmentation")
def unet() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x = torch.randn(BATCH, 1, 4, 4)
        return F.binary_cross_entropy_with_logits(model(x), (x > 0).float())

    return of(UNet(), loss)


@kind("u-net, pixels as classes")
def unet_classes() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x = torch.randn(BATCH, 1, 4, 4)
        return F.cross_entropy(model(x), (x[:, 0] > 0).long())

    return of(UNet(1, 2), loss)


class Attention(nn.Module):
    """Dotted by torch."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class ViTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 8) * 0.02)
        self.blocks = nn.ModuleList(ViTBlock(8) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@kind("vit")
def vit() -> Kit:
    return of(ViT(), classify)


class SwinBlock(nn.Module):
    """Windows, shifted, with a table of relative positions and softmax by hand."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.relative = nn.Parameter(torch.zeros(2, 4, 4))
        self.proj = nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        batch, high, wide, width = x.shape
        y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(batch, high // 2, 2, wide // 2, 2, width).transpose(2, 3).reshape(-1, 4, width)
        q, k, v = self.qkv(y).view(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / 2 + self.relative, -1)
        y = self.proj((weights @ v).transpose(1, 2).reshape(-1, 4, width))
        y = y.view(batch, high // 2, wide // 2, 2, 2, width).transpose(2, 3).reshape(x.shape)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + self.mlp(x)


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.blocks = nn.ModuleList([SwinBlock(0), SwinBlock(1)])
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


@kind("swin")
def swin() -> Kit:
    return of(Swin(), classify)


class MixerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.channels = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(), MixerBlock())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


@kind("mixer")
def mixer() -> Kit:
    return of(Mixer(), classify)


class Capsules(nn.Module):
    """Routing by agreement, the weights of all capsules in one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Conv2d(3, 8, 4, 4)
        self.routing = nn.Parameter(torch.randn(1, 8, CLASSES, 4, 4) * 0.3)

    @staticmethod
    def squash(x: Tensor) -> Tensor:
        square = (x**2).sum(-1, keepdim=True)
        return x * (square / (1 + square)) / (square + 1e-6).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        low = self.squash(self.primary(x).view(len(x), 8, 4))
        votes = (self.routing @ low[:, :, None, :, None]).squeeze(-1)
        logits = torch.zeros(votes.shape[:3])
        high = votes.mean(1)
        for _ in range(2):
            share = F.softmax(logits, 2)
            high = self.squash((share.unsqueeze(-1) * votes).sum(1))
            logits = logits + (votes * high.unsqueeze(1)).sum(-1)
        return high.norm(dim=-1) * 4


@kind("capsules")
def capsules() -> Kit:
    return of(Capsules(), classify)


class SimpleConv3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm3d(4, affine=True)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.leaky_relu(self.norm(self.conv(x)), 0.1).mean((2, 3, 4)))


@kind("video, 3d convolutions")
def video() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x, y = torch.randn(BATCH, 1, 4, 4, 4), torch.randint(0, CLASSES, (BATCH,))
        return F.cross_entropy(model(x), y)

    return of(SimpleConv3d(), loss)


class Detector(nn.Module):
    """Gives its losses itself while it trains, as torchvision's detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.boxes = nn.Conv2d(8, 4, 1)
        self.scores = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        features = self.backbone(x)
        return {
            "loss_boxes": F.smooth_l1_loss(self.boxes(features), targets["boxes"]),
            "loss_scores": F.binary_cross_entropy_with_logits(
                self.scores(features), targets["scores"]
            ),
        }


@kind("detector, losses come out")
def detector() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        targets = {"boxes": torch.randn(BATCH, 4, 4, 4), "scores": torch.rand(BATCH, 1, 4, 4)}
        losses = model(torch.randn(BATCH, 3, 8, 8), targets)
        return sum(losses.values(), torch.zeros(()))

    return of(Detector(), loss)
