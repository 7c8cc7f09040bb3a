"""Images that come with scikit-learn: nothing to download."""

from __future__ import annotations

import numpy as np

from ..samples import ImageSamples
from .arrays import image_array_samples

__all__ = ["read_digits", "read_photographs"]


def read_digits() -> ImageSamples:
    """1797 handwritten digits of 8 x 8 pixels, ten classes, as grey RGB images.

    The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning
    Repository, 1998), which scikit-learn ships; values 0 to 16 become 0 to 255.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    return image_array_samples(
        np.repeat(grey[..., None], 3, axis=-1),
        data.target.astype(np.int64),
        class_names=tuple(str(name) for name in data.target_names),
        description="handwritten digits of scikit-learn: 1797 images of 8 x 8 pixels, 10 classes",
    )


def read_photographs() -> ImageSamples:
    """The two sample photographs of scikit-learn (a temple in China, a flower), 427 x 640 pixels."""
    from sklearn.datasets import load_sample_images

    data = load_sample_images()
    names = tuple(name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1] for name in data.filenames)
    images = [np.array(image) for image in data.images]
    samples = image_array_samples(
        np.stack(images),
        np.arange(len(images)),
        class_names=tuple(name.rsplit(".", 1)[0] for name in names),
        description="the two sample photographs of scikit-learn",
        ids=names,
    )
    return samples
