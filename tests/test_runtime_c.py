"""The C side: layout, thread pool, C and C++ hosts of a model, with sanitizers and valgrind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from llvm_backend.header import header_text
from llvm_backend.linking import write_shared_library
from runtime.c_compiler import INCLUDE_DIR, SOURCE_DIR
from tests.conftest import require
from tests.sample_model import C_DIR, SAMPLE, WARNINGS, compile_c, run, sample_object

C99 = ["-std=c99", "-pedantic", "-Wconversion", "-g", "-O1", *WARNINGS, "-pthread"]
POOL = SOURCE_DIR / "aot_pool.c"
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREAD = ["-fsanitize=thread"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sample.h, sample.o, sample.so."""
    path = tmp_path_factory.mktemp("c")
    write_shared_library(sample_object(path), path / "sample.so", "sample")
    return path


def require_sanitizer(flags: list[str], folder: Path) -> None:
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    command = ["cc", *flags, str(folder / "empty.c"), "-o", str(folder / "empty")]
    built = subprocess.run(command, capture_output=True).returncode == 0
    require(built and run([folder / "empty"]).returncode == 0, " ".join(flags))


def expect_ok(command: list[str | Path]) -> None:
    result = run(command)
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stdout + result.stderr


@pytest.mark.parametrize("language", ["c", "c++"])
def test_layout(tmp_path: Path, language: str) -> None:
    standard = ["-std=c11"] if language == "c" else ["-std=c++17", "-x", "c++"]
    compile_c([*standard, "-pedantic", *WARNINGS, C_DIR / "layout.c", "-o", tmp_path / "layout"],
              cxx=language == "c++")
    assert run([tmp_path / "layout"]).returncode == 0


@pytest.mark.parametrize("flags", [[], ADDRESS, THREAD], ids=["plain", "address", "thread"])
def test_pool(tmp_path: Path, flags: list[str]) -> None:
    require_sanitizer(flags, tmp_path)
    limits = ["-DNO_FORK", "-DNO_IDLE_TEST"] if flags == THREAD else []
    compile_c([*C99, *flags, *limits, C_DIR / "pool.c", POOL, "-o", tmp_path / "pool"])
    expect_ok([tmp_path / "pool"])


@pytest.mark.parametrize("flags", [[], ADDRESS, THREAD], ids=["plain", "address", "thread"])
def test_c_host(folder: Path, tmp_path: Path, flags: list[str]) -> None:
    require_sanitizer(flags, tmp_path)
    compile_c([*C99, *flags, f"-I{folder}", C_DIR / "embed.c", C_DIR / "sample.c", POOL,
               "-o", tmp_path / "embed"])
    expect_ok([tmp_path / "embed"])


def test_valgrind(folder: Path, tmp_path: Path) -> None:
    require(shutil.which("valgrind") is not None, "valgrind")
    compile_c([*C99, f"-I{folder}", C_DIR / "embed.c", folder / "sample.o", POOL,
               "-o", tmp_path / "embed"])
    expect_ok(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", tmp_path / "embed"])
    compile_c([*C99, C_DIR / "pool.c", POOL, "-DNO_IDLE_TEST", "-o", tmp_path / "pool"])
    expect_ok(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", tmp_path / "pool"])


@pytest.mark.parametrize(
    "flags",
    [["-std=c++17", "-Wpedantic", "-Wconversion", "-Wshadow"],
     ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
     ["-std=c++20", *ADDRESS]],
    ids=["plain", "no-exceptions", "address"],
)
def test_cpp_host(folder: Path, tmp_path: Path, flags: list[str]) -> None:
    require(shutil.which("g++") is not None, "a C++ compiler")
    require_sanitizer([flag for flag in flags if "sanitize" in flag], tmp_path)
    compile_c([*WARNINGS, "-O1", "-g", *flags, f"-I{folder}", C_DIR / "embed.cpp",
               folder / "sample.o", "-ldl", "-o", tmp_path / "embed"], cxx=True)
    expect_ok([tmp_path / "embed", folder / "sample.so"])


def test_header_stands_alone_and_fits_beside_others(folder: Path, tmp_path: Path) -> None:
    """No include path: aot.h is in it. Two models and aot.h itself in one file are no conflict."""
    (tmp_path / "first.h").write_text(header_text(SAMPLE))
    text = header_text(SAMPLE).replace("sample_", "second_").replace("MODEL_sample", "MODEL_second")
    (tmp_path / "second.h").write_text(text)
    for suffix, compiler in ((".c", ["cc", "-std=c99"]), (".cpp", ["c++", "-std=c++17"])):
        require(shutil.which(compiler[0]) is not None, compiler[0])
        for flags in ([], ["-DAOT_FREESTANDING"]):
            source = tmp_path / f"host{suffix}"
            source.write_text('#include "first.h"\n#include "second.h"\n#include "first.h"\n'
                              "int main(void) { return sample_INSTANCE_SIZE != 128; }\n")
            command = [*compiler, *WARNINGS, "-pedantic", *flags, "-fsyntax-only", source]
            result = run(command, cwd=tmp_path)
            assert result.returncode == 0, result.stderr
    (tmp_path / "old.c").write_text("#define AOT_H\n#define AOT_ABI_VERSION 0u\n"
                                    '#include "first.h"\n')
    result = run(["cc", "-fsyntax-only", tmp_path / "old.c"])
    assert result.returncode != 0 and "another version of aot.h" in result.stderr


def test_npy_reader_under_sanitizers(tmp_path: Path) -> None:
    """Thousands of damaged files in one process: no read or write outside, no overflow, no leak."""
    require_sanitizer(ADDRESS, tmp_path)
    (tmp_path / "read.c").write_text(
        '#include "aot_npy.h"\n#include <stdio.h>\n'
        "int main(int argc, char **argv) {\n"
        "    int counts[8] = {0};\n"
        "    for (int i = 1; i < argc; i++) {\n"
        "        aot_npy array;\n"
        "        char message[80];\n"
        "        counts[aot_npy_read(argv[i], &array, message, sizeof message)]++;\n"
        "        aot_npy_free(&array);\n"
        "    }\n"
        '    printf("%d %d\\n", counts[AOT_OK], counts[AOT_INVALID_FILE]);\n'
        "    return 0;\n"
        "}\n"
    )
    compile_c([*C99, *ADDRESS, tmp_path / "read.c", SOURCE_DIR / "aot_npy.c",
               "-o", tmp_path / "read"])
    rng = np.random.default_rng(5)
    files = []
    for order in "CF":
        np.save(tmp_path / "good.npy", np.ones((3, 2, 2), np.dtype(">i2"), order))
        good = (tmp_path / "good.npy").read_bytes()
        for n in range(600):
            bad = bytearray(good[: rng.integers(0, len(good) + 1)] if n % 3 == 0 else good)
            for _ in range(rng.integers(0, 4)):
                if bad:
                    at = rng.integers(0, min(len(bad), 90))
                    bad[at] = rng.choice(list(b"0123456789(),'{}<>"))
            files.append(tmp_path / f"{order}{n}.npy")
            files[-1].write_bytes(bad)
    result = run([tmp_path / "read", *files])
    assert result.returncode == 0, result.stderr
    fine, invalid = map(int, result.stdout.split())
    assert fine + invalid == len(files) and fine > 10 and invalid > 500


def test_headers_compile_alone(tmp_path: Path) -> None:
    for header in sorted(INCLUDE_DIR.iterdir()):
        source = tmp_path / f"{header.stem}{'.cpp' if header.suffix == '.hpp' else '.c'}"
        source.write_text(f'#include "{header.name}"\nint main(void) {{ return 0; }}\n')
        cxx = header.suffix == ".hpp"
        compile_c([*WARNINGS, "-pedantic", "-std=c++17" if cxx else "-std=c99", "-fsyntax-only",
                   source], cxx=cxx)
