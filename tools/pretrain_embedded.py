"""Train the vision transformer that the package ships, by distilling the patch and class tokens of a larger one.

The student sees 32 x 32 natural images without labels, with a share of its patches dropped and some images blurred,
grey, inverted or of hard contrast. At the patches it sees and at the class token it predicts the last tokens
(standardised per feature) that the teacher gives for the clean image; at each patch also the clean pixels of that
patch and of its eight neighbours, which keeps the strokes and edges that the teacher's classes do not need. Views are
augmented once, with a seed, and the teacher's tokens of each view are kept on disk, so every epoch costs the student
alone.

    python tools/pretrain_embedded.py --images train_10k.npz --teacher vit_tiny.safetensors --work checkpoints/

Run it again and it goes on where it stopped; a larger ``--steps`` trains longer. ``--export FILE`` writes the weights.
The learning rate is constant after a warm-up and falls over the last fifth of the steps, so a run can be lengthened.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from headwise.backbones.vit import VisionTransformer, VisionTransformerConfig

TEACHER_SIDE = 160  # pixels; 10 x 10 patches, averaged to the student's 8 x 8
MEAN = STD = 0.5


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random view of each image: a crop of 35 to 100 % of the area, brightness, contrast, saturation, some grey."""
    n, _, side, _ = images.shape
    area = torch.empty(n).uniform_(0.35, 1.0, generator=generator)
    ratio = torch.exp(torch.empty(n).uniform_(-0.29, 0.29, generator=generator))
    half_w = (area * ratio).sqrt().clamp(max=1.0)
    half_h = (area / ratio).sqrt().clamp(max=1.0)
    shift = torch.empty(2, n).uniform_(-1, 1, generator=generator)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_w, shift[0] * (1 - half_w)
    theta[:, 1, 1], theta[:, 1, 2] = half_h, shift[1] * (1 - half_h)
    out = F.grid_sample(
        images, F.affine_grid(theta, (n, 3, side, side), align_corners=False), mode="bicubic", align_corners=False
    )
    strength = torch.empty(3, n, 1, 1, 1).uniform_(0.7, 1.3, generator=generator)
    out = out * strength[0]
    out = (out - out.mean((1, 2, 3), keepdim=True)) * strength[1] + out.mean((1, 2, 3), keepdim=True)
    grey = out.mean(1, keepdim=True)
    grey_only = torch.rand(n, 1, 1, 1, generator=generator) < 0.15
    out = grey + (out - grey) * torch.where(grey_only, torch.zeros(()), strength[2])
    return out.clamp(0, 1)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """What the student sees of a view: half of the images as they are, the others coarse, grey, inverted or hard."""

    def chosen(share: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) < share

    n, _, side, _ = images.shape
    coarse_side = int(torch.randint(8, 25, (), generator=generator))
    coarse = F.interpolate(images, size=coarse_side, mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, size=side, mode="bicubic")
    out = torch.where(chosen(0.5), coarse, images)
    out = torch.where(chosen(0.4), out.mean(1, keepdim=True), out)
    out = torch.where(chosen(0.3), 1 - out, out)
    hard = torch.sigmoid((out - out.mean((1, 2, 3), keepdim=True)) * 12)
    out = torch.where(chosen(0.3), hard, out)
    return torch.where(chosen(0.5), images, out.clamp(0, 1))


def neighbourhoods(images: Tensor, patch: int) -> Tensor:
    """Standardised pixels of each patch and its eight neighbours at half resolution, ``(B, patches, features)``."""
    half = F.avg_pool2d(images, 2)
    x = F.unfold(half, 3 * patch // 2, padding=patch // 2, stride=patch // 2).transpose(1, 2)
    return (x - x.mean((1, 2), keepdim=True)) / (x.std((1, 2), keepdim=True) + 0.05)


def normalise(images: Tensor) -> Tensor:
    return (images - MEAN) / STD


def teacher_tokens(teacher: nn.Module, view: Tensor, grid: tuple[int, int]) -> Tensor:
    """Last tokens of the teacher for a 32 x 32 view, patch tokens resampled to the student's grid."""
    large = F.interpolate(view, size=TEACHER_SIDE, mode="bicubic", antialias=True).clamp(0, 1)
    tokens = teacher.forward_features(normalise(large))
    side = round((tokens.shape[1] - 1) ** 0.5)
    patches = tokens[:, 1:].transpose(1, 2).reshape(len(view), -1, side, side)
    patches = F.interpolate(patches, size=grid, mode="bilinear", antialias=True)
    return torch.cat([tokens[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


def cache_views(args: argparse.Namespace, config: VisionTransformerConfig) -> list[tuple[np.ndarray, np.ndarray]]:
    """(images uint8, teacher tokens float16) of each view, memory-mapped; views that exist are not made again."""
    images = torch.from_numpy(np.load(args.images)["images"]).permute(0, 3, 1, 2)
    teacher = None
    paths = [(args.work / f"view{v}_images.npy", args.work / f"view{v}_tokens.npy") for v in range(args.views)]
    for number, (image_path, token_path) in enumerate(paths):
        if token_path.exists():
            continue
        if teacher is None:
            import timm

            teacher = timm.create_model(
                "vit_tiny_patch16_224",
                pretrained=True,
                pretrained_cfg_overlay={"file": str(args.teacher)},
                img_size=TEACHER_SIDE,
            ).eval()
        generator = torch.Generator().manual_seed(args.seed * 1000 + number)
        began, views, tokens = time.time(), [], []
        with torch.inference_mode():
            for chunk in images.split(250):
                view = chunk.float() / 255
                view = augment(view, generator) if number else view
                view = (view * 255).round().to(torch.uint8)
                views.append(view.numpy())
                tokens.append(teacher_tokens(teacher, view.float() / 255, config.grid).half().numpy())
        for path, arrays in ((image_path, views), (token_path, tokens)):
            part = path.with_suffix(".part.npy")
            np.save(part, np.concatenate(arrays))
            os.replace(part, path)
        print(f"view {number}: {time.time() - began:.0f} s", flush=True)
    return [(np.load(i, mmap_mode="r"), np.load(t, mmap_mode="r")) for i, t in paths]


class Student(nn.Module):
    """The shipped transformer with linear maps to the teacher's features and to pixels (dropped after training)."""

    def __init__(self, config: VisionTransformerConfig, teacher_width: int) -> None:
        super().__init__()
        self.vit = VisionTransformer(config)
        self.to_teacher = nn.Linear(config.width, teacher_width)
        self.to_pixels = nn.Linear(config.width, 3 * (3 * config.patch_size // 2) ** 2)

    def forward(self, images: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.vit.embed(images)
        tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        for block in self.vit.blocks:
            tokens = block(tokens)
        tokens = self.vit.norm(tokens)
        return self.to_teacher(tokens), self.to_pixels(tokens[:, 1:])


def learning_rate(step: int, args: argparse.Namespace) -> float:
    warm = min(1.0, (step + 1) / 300)
    decay = min(1.0, (args.steps - step) / (0.2 * args.steps))
    return float(args.lr * warm * decay)


def train(args: argparse.Namespace, config: VisionTransformerConfig) -> Student:
    views = cache_views(args, config)
    sample = torch.from_numpy(np.array(views[0][1][:2000])).float()
    mean, std = sample.mean((0, 1)), sample.std((0, 1))
    cls_mean, cls_std = sample[:, 0].mean(0), sample[:, 0].std(0)
    torch.manual_seed(args.seed)
    student = Student(config, sample.shape[-1])
    decayed = [p for p in student.parameters() if p.ndim > 1]
    plain = [p for p in student.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.95),
    )
    checkpoint, step = args.work / "checkpoint.safetensors", 0
    if checkpoint.exists():
        step = load_checkpoint(checkpoint, student, optimiser)
        print(f"resumed at step {step}", flush=True)
    n, patches = len(views[0][0]), config.grid[0] * config.grid[1]
    log = (args.work / "log.jsonl").open("a")
    running, began = [], time.time()
    while step < args.steps:
        rng = np.random.default_rng((args.seed, step))  # each step has its own seed, so a resumed run is the same run
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        images, target = views[rng.integers(len(views))]
        rows = np.sort(rng.choice(n, args.batch, replace=False))
        image = torch.from_numpy(images[rows]).float() / 255
        teacher = torch.from_numpy(target[rows]).float()
        if rng.random() < 0.5:
            image = image.flip(-1)
            grid = teacher[:, 1:].view(args.batch, *config.grid, -1).flip(2)
            teacher = torch.cat([teacher[:, :1], grid.reshape(args.batch, patches, -1)], dim=1)
        teacher = torch.cat([(teacher[:, :1] - cls_mean) / cls_std, (teacher[:, 1:] - mean) / std], dim=1)
        pixels = neighbourhoods(image, config.patch_size)
        image = normalise(degrade(image, generator)) + 0.03 * torch.randn(image.shape, generator=generator)
        finishing = step >= 0.9 * args.steps  # the last tenth sees whole images, as the user's images will be
        kept = patches if finishing else patches // 2
        order = torch.rand(args.batch, patches, generator=generator).argsort(1)[:, :kept] + 1
        keep = torch.cat([torch.zeros(args.batch, 1, dtype=torch.long), order], dim=1)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, args)
        output, drawn = student(image, keep)
        wanted = teacher.gather(1, keep[..., None].expand(-1, -1, teacher.shape[-1]))
        loss_cls = F.smooth_l1_loss(output[:, 0], wanted[:, 0])
        loss_patch = F.smooth_l1_loss(output[:, 1:], wanted[:, 1:])
        shown = pixels.gather(1, (keep[:, 1:, None] - 1).expand(-1, -1, pixels.shape[-1]))
        loss_pixel = F.smooth_l1_loss(drawn, shown)
        loss = loss_cls + loss_patch + args.pixels * loss_pixel
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        running.append((loss_cls.item(), loss_patch.item(), loss_pixel.item()))
        step += 1
        if step % 100 == 0 or step == args.steps:
            means = np.mean(running, axis=0).round(4).tolist()
            row = {"step": step, **dict(zip(("cls", "patch", "pixel"), means, strict=True))}
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row, f"{(time.time() - began) / len(running):.2f} s/step", flush=True)
            running, began = [], time.time()
            save_checkpoint(checkpoint, student, optimiser, step)
    return student


def save_checkpoint(path: Path, student: Student, optimiser: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"model.{k}": v for k, v in student.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v.detach().clone() for k, v in state.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"step": str(step)})
    os.replace(part, path)


def load_checkpoint(path: Path, student: Student, optimiser: torch.optim.Optimizer) -> int:
    from safetensors import safe_open

    tensors = load_file(path)
    student.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    state = optimiser.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".")
            state["state"].setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(state)
    with safe_open(path, "pt") as handle:
        return int(handle.metadata()["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help=".npz with `images`, uint8 (n, 32, 32, 3)")
    parser.add_argument("--teacher", type=Path, required=True, help="safetensors of timm's vit_tiny_patch16_224")
    parser.add_argument("--work", type=Path, default=Path("checkpoints"), help="views, checkpoint and log")
    parser.add_argument("--export", type=Path, help="write the weights here when training is done (float16)")
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--pixels", type=float, default=0.5, help="weight of the pixels' loss")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    student = train(args, VisionTransformerConfig())
    if args.export:
        half = {k: v.half().contiguous() for k, v in student.vit.state_dict().items()}
        save_file(half, args.export, metadata={"steps": str(args.steps), "seed": str(args.seed)})


if __name__ == "__main__":
    main()
