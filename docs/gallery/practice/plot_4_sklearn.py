"""
scikit-learn: pipelines and grid searches
=========================================

The estimators are scikit-learn's: ``clone``, ``Pipeline``, ``GridSearchCV``,
``cross_val_score`` and ``set_output`` work as with any other. Tables are ``(n, d)``,
tokens ``(n, s, d)``.
"""

# %%
# A table in a pipeline
# ---------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import headwise as hw

wine, kind = load_wine(return_X_y=True)
heads = {
    "headwise, linear": hw.HeadClassifier("linear", beta=0.02),
    "logistic regression": LogisticRegression(),
}
for name, head in heads.items():
    scores = cross_val_score(make_pipeline(StandardScaler(), head), wine, kind, cv=5)
    print(f"{name}: {scores.mean():.3f} ± {scores.std():.3f}")

# %%
# Pixels to tokens inside a pipeline
# ----------------------------------
# An 8 x 8 digit is sixteen tokens of 2 x 2 pixels. Any transformer that returns ``(n,
# s, d)`` may come first.

pictures, digit = load_digits(return_X_y=True)
rows = np.random.default_rng(0).permutation(len(digit))[:600]


def patches(images):
    return (
        images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4) / 16
    )


pipeline = make_pipeline(
    FunctionTransformer(patches), hw.HeadClassifier("mlp_mixer", grid=(4, 4), tol=1e-2)
)

# %%
# Search over blocks and betas
# ----------------------------
# For beta alone ``HeadClassifierCV`` is faster: it starts each solution from the one
# before. A grid search is for what is not ordered: blocks, gates, conditioning.

betas = [0.001, 0.005, 0.02]
blocks = ["linear", "attention", "mlp_mixer"]
search = GridSearchCV(
    pipeline, {"headclassifier__block": blocks, "headclassifier__beta": betas}, cv=3
)
search.fit(pictures[rows[:400]], digit[rows[:400]])
print(search.best_params_)
print(f"test accuracy {search.score(pictures[rows[400:]], digit[rows[400:]]):.2f}")
print(search.best_estimator_[-1].certificate_)

# %%

table = np.zeros((len(blocks), len(betas)))
for said, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    table[
        blocks.index(said["headclassifier__block"]),
        betas.index(said["headclassifier__beta"]),
    ] = score
fig, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
image = axis.imshow(table, cmap="cividis", aspect="auto")
for (i, j), value in np.ndenumerate(table):
    light = value < (table.min() + table.max()) / 2
    axis.text(
        j,
        i,
        f"{value:.2f}",
        ha="center",
        va="center",
        color="white" if light else "black",
    )
axis.set(
    xticks=range(len(betas)),
    xticklabels=betas,
    yticks=range(len(blocks)),
    yticklabels=blocks,
    xlabel="beta",
)
fig.colorbar(image, label="accuracy (mean of 3 folds)")
plt.show()
