"""What can be told from noise: the edge of the noise's singular values, and the three possible answers."""

from __future__ import annotations

from enum import Enum

import numpy as np

__all__ = ["Visibility", "noise_edge"]

TRACY_WIDOM_99 = 2.0234
"""99 % quantile of the Tracy-Widom law of order one."""
NORMAL_99 = 2.3263


class Visibility(Enum):
    """What can be said of a label set at its sample size, as a sentence."""

    LEARNABLE = "modes of the labels are above the noise"
    HIDDEN = (
        "no single mode of the labels is above the noise at this sample size, but together they hold a signal; more "
        "samples will show it"
    )
    NOTHING = "nothing learnable is visible at this sample size"


def noise_edge(num_directions: int, num_outputs: int, freedom: float = np.inf) -> float:
    """Value that the largest squared singular value of noise of variance one exceeds in one of a hundred draws.

    The edge of the bulk, ``(sqrt(r) + sqrt(c))^2``, plus what finite matrices fluctuate about it (Johnstone, Annals of
    Statistics 29, 2001, with the centring of Ma, Bernoulli 18, 2012; recalled, and checked by draws in the tests).
    Where the variance was estimated with so many degrees of ``freedom``, its own fluctuation is added in quadrature.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> edge = noise_edge(50, 5)
    >>> bool(np.mean([np.linalg.norm(rng.normal(size=(5, 50)), 2) ** 2 > edge for _ in range(500)]) < 0.03)
    True
    """
    r, c = (num_directions - 0.5) ** 0.5, (num_outputs - 0.5) ** 0.5
    bulk, beyond = (r + c) ** 2, TRACY_WIDOM_99 * (r + c) * (1 / r + 1 / c) ** (1 / 3)
    return float(bulk + np.hypot(beyond, NORMAL_99 * bulk * (2 / freedom) ** 0.5))
