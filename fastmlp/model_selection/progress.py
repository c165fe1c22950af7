"""What is told of a search while it runs: lines as scikit-learn's, or a live one."""

import math

from joblib.logger import short_format_time

from fastmlp.training.progress import shows_progress

__all__ = ["Progress"]


class Progress:
    """Tells of fits as they are done.

    Parameters
    ----------
    verbose : int or 'progress'
        The parameter of the search.
    candidates : list of dict
    n_splits : int
    refit : object
        The parameter: which of several scores is shown; the first, if it is no name.
    """

    def __init__(self, verbose, candidates, n_splits, refit):
        self._verbose = verbose
        self._candidates, self._n_splits = candidates, n_splits
        self._metric = refit if isinstance(refit, str) else None
        self._scores = [[] for _ in candidates]
        self._best = -math.inf
        self._line = None
        if shows_progress(verbose):
            from tqdm.auto import tqdm

            n_fits = len(candidates) * n_splits
            self._line = tqdm(total=n_fits, unit="fit", leave=True)

    def begin(self, number):
        """A fit begins: `number` counts all splits of a candidate, then the next's."""
        if self._line is None and self._verbose > 9:
            self._print("START", number, "")

    def note(self, number, result):
        """A fit is done."""
        if self._line is None:
            if self._verbose > 1:
                self._print("END", number, self._outcome(result))
            return
        candidate = number // self._n_splits
        scores = self._scores[candidate]
        scores.append(self._shown(result["test_scores"]))
        if len(scores) == self._n_splits:
            self._best = max(self._best, sum(scores) / len(scores))  # not if it is NaN
        if self._best > -math.inf:
            self._line.set_postfix({"best score": f"{self._best:.4g}"}, refresh=False)
        self._line.update()

    def _shown(self, scores):
        if not isinstance(scores, dict):
            return scores
        return scores.get(self._metric, next(iter(scores.values())))

    def _print(self, event, number, outcome):
        """Print a line like scikit-learn's; at once, as other threads print, too."""
        candidate, split = divmod(number, self._n_splits)
        where = "[CV"
        if self._verbose > 2:
            where += f" {split + 1}/{self._n_splits}"
        if self._verbose > 9:
            where += f"; {candidate + 1}/{len(self._candidates)}"
        parameters = sorted(self._candidates[candidate].items())
        what = ", ".join(f"{name}={value}" for name, value in parameters) + outcome
        start = f"{where}] {event} "
        if event == "START":
            line = start + what.ljust(80 - len(start), ".")
        else:
            line = start + what.rjust(80 - len(start), ".")
        print(line + "\n", end="", flush=True)

    def _outcome(self, result):
        """Scores and seconds of a fit, as far as they are asked for."""
        seconds = short_format_time(result["fit_time"] + result["score_time"])
        told = ""
        if self._verbose > 2:
            test, train = result["test_scores"], result.get("train_scores")
            if isinstance(test, dict):
                for name in sorted(test):
                    other = "" if train is None else f"train={train[name]:.3f}, "
                    told += f" {name}: ({other}test={test[name]:.3f})"
            elif train is None:
                told = f", score={test:.3f}"
            else:
                told = f", score=(train={train:.3f}, test={test:.3f})"
        return f";{told} total time={seconds}"

    def close(self):
        """The search is over."""
        if self._line is not None:
            self._line.close()
