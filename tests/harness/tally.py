# SPDX-License-Identifier: MIT
"""Counts checks, tells of those that fail, closes with the line that tests/run reads: "N passed, N failed"."""

import threading


class Tally:
    """For several threads, too."""

    def __init__(self):
        self.passed, self.failed, self.lock = 0, 0, threading.Lock()

    def check(self, promise, kept, detail=""):
        with self.lock:
            if kept:
                self.passed += 1
            else:
                self.failed += 1
                print(f"FAILED {promise}")
                if detail:
                    print("    " + str(detail).rstrip().replace("\n", "\n    "))
        return bool(kept)

    def end(self):
        """Prints the totals; the exit status: 1 if anything failed or nothing was checked."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
