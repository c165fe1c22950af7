"""
Resuming an interrupted fit from a checkpoint
=============================================

``checkpoint`` is a file that is kept up to date while ``fit`` runs, and removed when it
is done. If a fit is killed, the same call resumes from the file, and ends with the same
weights as if nothing had happened.
"""

# %%
# First a fit without interruption, for comparison.

import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

X, y = load_digits(return_X_y=True)
X = X / 16
settings = {"hidden_layer_sizes": (64,), "max_iter": 60, "random_state": 0}
whole = MLPClassifier(**settings).fit(X, y)

# %%
# Now a fit that dies: a callback raises an error after epoch 25, in place of a power
# cut. The file is there afterwards. The callback also waits a little in each epoch, to
# make this fit as slow as a large one. The file is written only so often that writing
# takes a small share of the time, so a fit of milliseconds would save only its first
# epochs.

folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "fit.npz"


def power_cut(state):
    time.sleep(0.1)
    if state.epoch == 25:
        raise RuntimeError("power cut")


before, after = [], []
model = MLPClassifier(
    checkpoint=file, callbacks=[lambda s: before.append(s.loss), power_cut], **settings
)
try:
    model.fit(X, y)
except RuntimeError as error:
    print(f"the fit ended with: {error}; checkpoint exists: {file.exists()}")

# %%
# Call ``fit`` again with the same parameters and data, without the power cut.

model = MLPClassifier(
    checkpoint=file, callbacks=[lambda s: after.append(s.loss)], **settings
).fit(X, y)
print(f"epochs before the interruption: {len(before)}, after it: {len(after)}")
print(f"checkpoint exists: {file.exists()}")
same = all(
    np.array_equal(a, b) for a, b in zip(model.coefs_, whole.coefs_, strict=True)
)
print(f"bitwise the same weights as without interruption: {same}")
folder.cleanup()

# %%
# The second call resumes where the file was last written.

fig, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
ax.semilogy(range(1, 61), whole.loss_curve_, color="0.75", lw=7, label="uninterrupted")
ax.semilogy(
    range(1, len(before) + 1), before, color="#0072B2", lw=2, label="interrupted"
)
first = 61 - len(after)
ax.semilogy(range(first, 61), after, "--", color="#D55E00", lw=2, label="resumed")
ax.axvline(25, color="0.25", lw=1, ls=":")
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
plt.show()
