"""Stands in for get-pip.py, which ansible-test would download: takes pip from the interpreter's own copy, the rest from the package index."""

from __future__ import annotations

import subprocess
import sys

# A process of its own: ensurepip within this one would hide pip's configuration from the second step.
subprocess.run([sys.executable, "-m", "ensurepip", "--upgrade"], check=True, stdout=subprocess.DEVNULL)
arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=False).returncode)
