# SPDX-License-Identifier: MIT
"""What the test and benchmark programs share. Python 3 of Debian, standard library only."""
