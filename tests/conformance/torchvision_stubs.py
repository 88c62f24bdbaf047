"""Makes the CUDA build of torchvision load beside a CPU build of PyTorch.

PyPI's torchvision wheel asks the loader for libtorch_cuda.so and libc10_cuda.so. Its CPU operators
never call into them, so two libraries that merely define the missing names satisfy the loader. The
names are read from the wheel.

    python -m tests.conformance.torchvision_stubs FOLDER     # needs gcc and nm; prints the folder
    LD_LIBRARY_PATH=FOLDER python ...
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def symbols(library: Path, *options: str) -> set[str]:
    """Names in the dynamic symbol table, by nm's options."""
    out = subprocess.run(
        ["nm", "-D", *options, str(library)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split()}


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)  # does not import it: torchvision cannot be imported yet
    if spec is None or spec.origin is None:
        sys.exit(f"{name} is not installed")
    return Path(spec.origin).parent


def stub_source(names: set[str]) -> str:
    """C definitions: mangled names that end in E have no parameter list and so are data."""
    lines = ["/* Names that a CUDA build of torchvision wants; none is called on a CPU. */"]
    for name in sorted(names):
        is_data = name.startswith("_ZN") and name.endswith("E")
        lines.append(f"char {name}[256];" if is_data else f"void *{name}(void) {{ return 0; }}")
    return "\n".join(lines) + "\n"


def make(folder: Path) -> Path:
    """Builds the stubs in `folder` and returns it."""
    vision, torch = package_folder("torchvision"), package_folder("torch")
    bundled = vision.parent / "torchvision.libs"
    wanted = set().union(*(symbols(p, "--undefined-only") for p in vision.glob("*.so")))
    present: set[str] = set()
    for path in [*(torch / "lib").glob("*.so"), *bundled.glob("*.so*")]:
        present |= symbols(path, "--defined-only")
    missing = {
        name for name in wanted - present if "cuda" in name.lower() and not name.startswith("cuda")
    }
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stub.c"
    source.write_text(stub_source(missing))
    for library in ("libtorch_cuda.so", "libc10_cuda.so"):
        options = ["-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(folder / library)]
        subprocess.run(["gcc", *options, str(source)], check=True)
    # The wheel brings the CUDA runtime under a name with a hash in it.
    for path in bundled.glob("libcudart.*.so.*"):
        link = folder / ("libcudart.so" + path.name.partition(".so")[2])
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return folder


if __name__ == "__main__":
    print(make(Path(sys.argv[1] if len(sys.argv) > 1 else "build/torchvision-stubs").resolve()))
