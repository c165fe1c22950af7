"""
Tables: categories, dates, missing values
=========================================

``TabularMLPClassifier`` takes a data frame as it is. This example goes from a raw table
to calibrated probabilities, and shows what was done with each column.
"""

# %%
# A made-up table: will a customer cancel the contract? It has text, numbers, dates,
# truth values and identifiers. Numbers have different scales, and a tenth of the values
# is missing.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from fastmlp import TabularMLPClassifier

rng = np.random.default_rng(0)
n = 5000
table = pd.DataFrame(
    {
        "customer": [f"C{i:05}" for i in range(n)],
        "plan": rng.choice(["basic", "family", "business"], n, p=[0.5, 0.3, 0.2]),
        "town": rng.choice([f"town {i}" for i in range(40)], n),
        "since": pd.Timestamp("2015-01-01")
        + pd.to_timedelta(rng.integers(0, 3600, n), "D"),
        "monthly": rng.lognormal(3.5, 0.5, n),
        "calls": rng.poisson(1.5, n),
        "paperless": rng.random(n) < 0.5,
    }
)
of_town = pd.Series(rng.normal(0, 1, 40), [f"town {i}" for i in range(40)])
years = (pd.Timestamp("2025-01-01") - table["since"]).dt.days / 365
z = (
    of_town[table["town"]].to_numpy()
    + 1.5 * (table["calls"] > 2)
    + np.where(table["plan"] == "basic", table["monthly"] / 20, -1)
    - 0.4 * years
)
y = np.where(rng.random(n) < 1 / (1 + np.exp(-z)), "leaves", "stays")
for column in ("plan", "town", "since", "monthly", "calls"):
    table[column] = table[column].mask(rng.random(n) < 0.1)
X_train, X_test, y_train, y_test = train_test_split(
    table, y, train_size=1500, random_state=0
)
print(X_train.head(3).to_string(index=False))

# %%
# One line trains the network: no encoder, no imputer, no scaler. The epoch with the
# least log loss on held-out rows is kept.

model = TabularMLPClassifier("fast", scoring="neg_log_loss", random_state=0)
model.fit(X_train, y_train)

# %%
# What was done with each column. ``customer`` is dropped, because it differs in every
# row.

print(model.summary())

# %%
# Probabilities are calibrated: outputs were divided by a *temperature* that was chosen
# on held-out rows.

p = model.predict_proba(X_test)
leaves = model.classes_.tolist().index("leaves")
print(f"temperature {model.temperature_:.2f}")
print(f"accuracy    {model.score(X_test, y_test):.3f}")
print(f"AUC         {roc_auc_score(y_test == 'leaves', p[:, leaves]):.3f}")
print(f"log loss    {log_loss(y_test, p):.3f}")

# %%
# Left: of the customers with a predicted probability of 70%, do about 70% leave? Right:
# how much accuracy is lost if the values of one column are shuffled.

importance = permutation_importance(
    model, X_test[:500], y_test[:500], n_repeats=3, random_state=0
).importances_mean
order = np.argsort(importance)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
CalibrationDisplay.from_predictions(
    y_test == "leaves", p[:, leaves], n_bins=10, ax=left, name="test rows"
)
left.set(xlabel="predicted probability to leave", ylabel="share that leaves")
right.barh(table.columns[order], importance[order], color="#0072B2")
right.set(xlabel="accuracy that is lost if it is shuffled")
plt.show()

# %%
# New rows may have unknown towns and further missing values.

new = X_test[:2].assign(town=["a new town", None], monthly=None)
print(model.predict_proba(new).round(2))
