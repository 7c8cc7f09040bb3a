"""
Better than gradient descent: shrinkage
=======================================

Gradient descent has one clock for all modes. The best estimate gives each mode a factor
of its own, by a formula that needs nothing but the scale of the noise, which the data
tell. It is never worse than gradient descent stopped at the best time of all, which
nobody knows in practice.
"""

# %%
# Over the strength of the signal
# -------------------------------
# Lines are predicted, dots the mean of five draws, in which the shrunk estimate finds
# the scale of the noise itself and gradient descent is told its best time.

import numpy as np
from sklearn.linear_model import LinearRegression

import headwise as hw
from headwise import theory

shrinkage = theory.THEORIES.get("shrinkage")
axes = shrinkage.plot(shrinkage.config(), seeds=range(5))
axes.set_title("100 inputs, 50 outputs, one mode")

# %%
# One teacher of several modes
# ----------------------------
# Each mode is shrunk by what noise did to it, and what cannot be told from noise is
# zero.

teacher, data = theory.random_matrix.draw([6, 3, 1.5], 200, 100, seed=0)
values = np.linalg.svd(data, compute_uv=False)
estimate, scale = theory.shrinkage.denoise(data)
print(f"scale of the noise: {scale:.2f}")
print("data  ", values[:5].round(2))
print("shrunk", theory.shrinkage.shrink(values[:5], 0.5, scale).round(2))
for name, found in (("data as they are", data), ("shrunk", estimate)):
    error = ((found - teacher) ** 2).sum() / (teacher**2).sum()
    print(f"{name}: relative squared error {error:.2f}")

# %%
# As a regressor
# --------------
# ``ShrinkageRegressor`` does the same for inputs of any covariance, beside
# scikit-learn's least squares. 150 samples, 60 features, 40 outputs, two modes.

rng = np.random.default_rng(0)
mixing = rng.normal(size=(60, 60))
X = rng.normal(size=(2000, 60)) @ mixing
truth = np.linalg.inv(mixing) @ rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
Y = X @ truth / 4 + 2 * rng.normal(size=(2000, 40))
models = {
    "least squares": LinearRegression(),
    "shrinkage": hw.ShrinkageRegressor(),
}
for name, model in models.items():
    score = model.fit(X[:150], Y[:150]).score(X[150:], Y[150:])
    print(f"{name}: held-out R² {score:.2f}")
print(f"modes above the noise: {model.rank_}, noise {model.noise_:.2f}")
