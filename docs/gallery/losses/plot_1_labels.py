"""
Yes/no questions: binary and multi-label cross-entropy
======================================================

Is the digit even? Is it above four? Does it have a hole? One head answers all three
questions of scikit-learn's scanned digits, with directions that the questions may
share.
"""

# %%
# Three labels a sample
# ---------------------
# Labels are zeros and ones, one column a question. (A single 0/1 column, or two classes
# of any kind, work as well.)

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import headwise as hw

pictures, digit = load_digits(return_X_y=True)
questions = {
    "even": digit % 2 == 0,
    "above four": digit > 4,
    "has a hole": np.isin(digit, [0, 6, 8, 9]),
}
y = np.stack(list(questions.values()), 1).astype(int)
train, test = np.arange(len(y)) < 1000, np.arange(len(y)) >= 1000

# %%
# One fit
# -------

model = hw.HeadClassifierCV("linear", loss="binary", betas=8).fit(
    pictures[train], y[train]
)
probability = model.predict_proba(pictures[test])
area = roc_auc_score(y[test], probability, average=None)
print(model.certificate_)
exact = (model.predict(pictures[test]) == y[test]).all(1).mean()
print(
    f"rank {model.rank_}; all three answers are right for {100 * exact:.0f} % of test"
)

# %%
# Are the probabilities what they say?
# ------------------------------------

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
bars = left.barh(list(questions), area)
left.bar_label(bars, fmt="%.3f", padding=3)
left.set(
    xlim=(0.5, 1.08),
    xticks=np.arange(0.5, 1.01, 0.1),
    xlabel="area under the ROC curve (test; 0.5 is chance)",
)
left.invert_yaxis()
right.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
for k, (name, marker) in enumerate(zip(questions, "osD", strict=True)):
    seen, said = calibration_curve(
        y[test, k], probability[:, k], n_bins=6, strategy="quantile"
    )
    right.plot(said, seen, marker + "-", label=name)
right.set(xlabel="predicted probability", ylabel="share of yes", title="Reliability")
right.legend()
plt.show()

# %%
# For one class out of many, the default ``loss="multinomial"`` is the one to use.
