"""
Five lines: your own pictures, a certified head
===============================================

From a folder of pictures, or an array of features, to a head with a proof. Install
first, in a clone::

    pip install -c constraints.txt .
"""

# %%
# A folder of pictures
# --------------------
# One subfolder a class (torchvision's ``ImageFolder`` layout), in ``train/``, ``val/``
# and ``test/`` where you have a split already. Here is a small one: discs and rings.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import headwise as hw

work = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
for split, shape, count in (
    (split, shape, count)
    for split, count in (("train", 50), ("val", 15), ("test", 30))
    for shape in ("disc", "ring")
):
    folder = work / "photos" / split / shape
    folder.mkdir(parents=True)
    for i in range(count):
        picture = Image.fromarray(
            rng.integers(60, 140, size=(32, 32, 3), dtype=np.uint8)
        )
        x, y, radius = *rng.integers(8, 24, size=2), rng.integers(4, 8)
        colour = tuple(int(c) for c in rng.integers(150, 256, size=3))
        box = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(picture).ellipse(
            box, fill=colour if shape == "disc" else None, outline=colour, width=2
        )
        picture.save(folder / f"{i}.png")

# %%
# The five lines
# --------------
# The backbone is the small one inside the package; ``"timm/vit_small_patch16_224"`` and
# the like need the extra ``timm``. Beta is chosen on ``val/``, or on a fifth of the
# samples where there is none.

backbone = hw.load_backbone("embedded")
store = hw.extract(backbone, hw.open_data(work / "photos"), work / "tokens")
model = hw.HeadClassifierCV("default").fit(store)
model.head_.save_pretrained(work / "head")
check = hw.verify(work / "head", work / "tokens")

# %%
# What came out: a proof of how far the head is from the best one of its kind,
# recomputed from the two folders alone.

print(model.certificate_)
print(f"the claim holds: {check.holds}")

# %%
# The test samples were not touched so far:

test = store.rows("test")
names = np.array(store.class_names)
tokens = store.read(test).values
right = names[model.predict(tokens)] == names[store.labels[test]]
print(f"test accuracy {right.mean():.2f} on {len(test)} pictures")

# %%

probability = model.predict_proba(tokens)[:, 1]
fig, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for axis, k in zip(
    axes.ravel(), np.linspace(0, len(test) - 1, 12).astype(int), strict=True
):
    axis.imshow(Image.open(work / "photos" / store.ids[test[k]]))
    axis.set(xticks=[], yticks=[], xlabel=f"ring: {100 * probability[k]:.0f} %")
fig.suptitle("Test pictures and the predicted probability of a ring")
plt.show()

# %%
# Features that you have already
# ------------------------------
# ``.npy`` arrays of shape ``(n, s, d)``, prefix tokens first, or ``(n, d)``, need no
# backbone:

np.save(work / "features.npy", store.read().values)
np.save(work / "labels.npy", store.labels)

tokens, labels = np.load(work / "features.npy"), np.load(work / "labels.npy")
model = hw.HeadClassifierCV(
    "default", num_prefix=store.num_prefix, grid=store.grid
).fit(tokens, labels)
print(model.certificate_)

# %%
# The whole job with one command, a report included::
#
#     headwise study --data photos/ --out photos-study
