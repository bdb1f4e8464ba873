#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a C array, NUL-terminated, out of a text file: embed.py FILE NAME > NAME.c"""
import sys

path, name = sys.argv[1:3]
with open(path, "rb") as f:
    data = f.read() + b"\0"
print(f"extern const char {name}[];\nconst char {name}[] = {{")
for i in range(0, len(data), 20):
    print(",".join(str(b if b < 128 else b - 256) for b in data[i:i + 20]) + ",")
print("};")
