"""What is told of a search while it runs: lines as scikit-learn's, or a live one."""

import math
import time
from collections import defaultdict

from joblib.logger import short_format_time

from fastmlp.training.progress import shows_progress

__all__ = ["HalvingProgress", "Progress"]


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

    def begin(self, candidate, split):
        """The fit of this candidate for this split begins."""
        if self._line is None and self._verbose > 9:
            self._print("START", candidate, split, "")

    def note(self, candidate, split, result):
        """It is done."""
        if self._line is None:
            if self._verbose > 1:
                self._print("END", candidate, split, self._outcome(result))
            return
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

    def _print(self, event, candidate, split, outcome):
        """Print a line like scikit-learn's; at once, as other threads print, too."""
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


class HalvingProgress:
    """Tells of the rungs of successive halving: a line for each, or a live one.

    Parameters
    ----------
    verbose : int or 'progress'
        1 for a line per rung, 2 for each candidate's score, too.
    candidates : list of dict
    brackets : list of list of Rung
    """

    def __init__(self, verbose, candidates, brackets):
        self._verbose, self._candidates = verbose, candidates
        self._brackets = brackets
        self._started = time.perf_counter()
        self._scores = defaultdict(list)  # of each rung
        self._n_expected = {}  # scores of rungs whose candidates are known
        self._best = -math.inf  # of all
        self._line = None
        if shows_progress(verbose):
            from tqdm.auto import tqdm

            n_results = sum(rung.n_candidates for rungs in brackets for rung in rungs)
            self._line = tqdm(total=n_results, unit="score", leave=True)

    def note(self, result):
        """A candidate has been scored."""
        if not math.isnan(result.score):
            self._best = max(self._best, result.score)
        if self._line is not None:
            figures = {"epochs": result.n_epochs}
            if self._best > -math.inf:
                figures["best score"] = f"{self._best:.4g}"
            self._line.set_postfix(figures, refresh=False)
            self._line.update()
        elif self._verbose > 0:
            self._print(result)

    def _print(self, result):
        if self._verbose > 1:
            parameters = sorted(self._candidates[result.candidate].items())
            what = ", ".join(f"{name}={value}" for name, value in parameters)
            print(f"[{result.n_epochs} epochs] {what}; score={result.score:.3f}")
        self._scores[result.bracket, result.rung].append(result.score)
        self._print_rung(result.bracket, result.rung)

    def _print_rung(self, bracket, number):
        """A line if a rung is complete, and then perhaps one for the next, and so on.

        Those that were sure to climb may have been scored there before.
        """
        rungs, rung = self._brackets[bracket], (bracket, number)
        every = self._scores[rung]
        if len(every) != self._n_expected.get(rung, rungs[number].n_candidates):
            return
        where = f"rung {number + 1} of {len(rungs)}"
        if len(self._brackets) > 1:
            where = f"bracket {bracket + 1} of {len(self._brackets)}, {where}"
        scores = [score for score in every if not math.isnan(score)]
        best = f"best score {max(scores):.4g}" if scores else "no score"
        seconds = short_format_time(time.perf_counter() - self._started)
        print(
            f"[{where}] candidates: {len(every)}, epochs: {rungs[number].n_epochs}, "
            f"{best}, {seconds.strip()}",
            flush=True,
        )
        if scores and number + 1 < len(rungs):
            n_expected = min(rungs[number + 1].n_candidates, len(scores))
            self._n_expected[bracket, number + 1] = n_expected
            self._print_rung(bracket, number + 1)

    def close(self):
        """The search is over."""
        if self._line is not None:
            self._line.close()
