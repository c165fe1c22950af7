"""One contestant in one process: reads requests, answers in seconds, both as JSON."""

import json
import os
import sys
import time
import traceback


def main():
    """Serve until the input ends. Arguments: contestant, threads."""
    name, threads = sys.argv[1], sys.argv[2]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints does not get between the answers
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = threads

    from contestants import CONTESTANTS
    from workloads import BY_NAME

    contestant = CONTESTANTS[name](int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                started = time.perf_counter()
                contestant.prepare(BY_NAME[request["prepare"]])
                seconds = time.perf_counter() - started
            else:
                seconds = contestant.run(request["run"])
            answer = {"seconds": seconds}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
