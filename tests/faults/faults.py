"""Work that is killed, interrupted and cancelled: faults.py SERVER_TOOL BIN FOLDER

In a server of its own, in FOLDER. Calls are ended in every way but with their server, and no segment is to be blamed for
that (interrupt.py); sessions share the work while they are killed with -9 and the server is stopped in immediate mode
(survive.py); calls of every kind are cancelled at random moments, and answer soon (cancel.py). SEED= repeats a run. Prints
its figures last, and fails where one is missed.
"""

import os
import random
import sys

from cancel import cancel
from interrupt import interrupt
from server import Server
from survive import survive

AT_LEAST = {"kills": 20, "restarts": 5, "items": 2000, "suspects": 20, "interruptions": 120, "cancels": 100}
NONE = [
    "lost", "duplicated", "stuck", "suspects_in_company", "innocent_dead", "vectors_max_diff", "suspects_after_cancel",
    "healthy_dead", "half_done",
]
AT_MOST = {"cancel_p99_ms": 250} | dict.fromkeys(NONE, 0)


def main():
    server = Server(*sys.argv[1:])
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"seed {seed}", flush=True)
    figures = {}
    try:
        for part in (interrupt, survive, cancel):
            figures |= part(server, random.Random(seed))
            print(figures, flush=True)
        # In all parts.
        figures["healthy_dead"] += figures["innocent_dead"]
    finally:
        server.stop()
    for name, figure in figures.items():
        print(f"{name}={figure}")
    missed = [name for name, least in AT_LEAST.items() if figures[name] < least]
    missed += [name for name, most in AT_MOST.items() if figures[name] > most]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
