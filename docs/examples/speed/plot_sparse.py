"""
Text classification with sparse word counts
===========================================

The word counts of texts form a matrix in which nearly all entries are 0. fastmlp trains
on such a sparse matrix without making it dense: the time depends on the number of
nonzero entries, not of columns.
"""

# %%
# The texts are generated, so that nothing has to be downloaded: each topic prefers some
# words. The column of a word is a hash of it, so no vocabulary is needed.

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

rng = np.random.default_rng(0)
n_texts, n_topics, n_words = 6000, 8, 30000
usual = rng.zipf(1.4, 400000) % n_words  # common words, whatever the topic
special = rng.integers(0, n_words, (n_topics, 400))  # words of each topic
topics = rng.integers(0, n_topics, n_texts)


def text_about(topic):
    """Thirty words, some of them from the topic."""
    n_special = rng.binomial(30, 0.2)
    words = np.concatenate(
        [rng.choice(special[topic], n_special), rng.choice(usual, 30 - n_special)]
    )
    return [f"word{word}" for word in words]


hasher = FeatureHasher(2**14, input_type="string", alternate_sign=False)
counts = hasher.transform(text_about(topic) for topic in topics)
X = TfidfTransformer().fit_transform(counts)
X_train, X_test, y_train, y_test = train_test_split(X, topics, random_state=0)
share = X.nnz / np.prod(X.shape)
print(f"{X.shape[0]} x {X.shape[1]}, {share:.2%} of the entries are nonzero")

# %%
# The same fit on the sparse matrix and on a dense copy: the loss is the same, but the
# sparse one takes less time and memory. (The small fits before the clock starts make
# sure that everything is compiled.)

settings = {"hidden_layer_sizes": (64,), "max_iter": 5, "tol": 0, "random_state": 0}
settings |= {"n_iter_no_change": 5, "learning_rate": "one_cycle"}
settings["learning_rate_init"] = 0.01
kinds = {"sparse": X_train, "dense": X_train[:1500].toarray()}
seconds, losses = {}, {}
for name, data in kinds.items():
    part, labels = data[:1500], y_train[:1500]
    MLPClassifier(**settings).fit(part[:300], labels[:300])
    start = time.perf_counter()
    model = MLPClassifier(**settings).fit(part, labels)
    seconds[name], losses[name] = time.perf_counter() - start, model.loss_curve_
    print(f"{name:6} 1500 texts: {seconds[name]:.2f} s, last loss {model.loss_:.4f}")
difference = np.max(np.abs(np.subtract(*losses.values())))
print(f"largest difference of the loss curves: {difference:.1e}")

model = MLPClassifier(**settings).fit(X_train, y_train)
print(f"all texts, test accuracy: {model.score(X_test, y_test):.3f}")

# %%
# Which words indicate a topic? The product of the weights of both layers tells roughly
# (it ignores the activation function). Left: its mean over the words of each topic.
# Right: the times of the two fits.

influence = model.coefs_[0] @ model.coefs_[1]
fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[3, 2]
)
column_of = {}
for topic in range(n_topics):
    row = hasher.transform([[f"word{word}" for word in special[topic]]])
    column_of[topic] = row.indices
table = np.array(
    [
        [influence[column_of[t], topic].mean() for topic in range(n_topics)]
        for t in range(n_topics)
    ]
)
image = left.imshow(table, cmap="PuOr_r", vmin=-abs(table).max(), vmax=abs(table).max())
left.set(
    xlabel="output of topic", ylabel="words of topic", title="Mean product of weights"
)
fig.colorbar(image, ax=left)
right.bar(
    list(seconds), list(seconds.values()), color=["#0072B2", "#D55E00"], width=0.5
)
for place, value in enumerate(seconds.values()):
    right.text(place, value, f"{value:.2f} s", ha="center", va="bottom")
right.set(ylabel="seconds per fit, this machine", title="1500 texts, 5 epochs")
right.spines[["top", "right"]].set_visible(False)
plt.show()
