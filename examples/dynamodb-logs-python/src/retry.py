# SPDX-License-Identifier: MIT
"""The failure destination: is given the failure record of each event that was given up."""

import json
import sys


def handler(record, context):
    print("given up:", json.dumps(record), file=sys.stderr)
