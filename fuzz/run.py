"""Fuzz the C kernel under AddressSanitizer and UndefinedBehaviorSanitizer: ``python fuzz/run.py [--seconds N]``.

Takes libFuzzer where clang has it, else gcc with the seeded mutations of ``standalone.c``. Exits with 1 on a finding,
prints how to run it again, and keeps the input under ``out/fuzz``. ``python fuzz/run.py FILE`` runs one input.
"""

# ruff: noqa: T201 - it is a command
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNEL = HERE.parent / "src" / "tapeflow" / "engine" / "kernel"
OUT = HERE.parent / "out" / "fuzz"
#: All of the kernel but its Python face.
SOURCES = sorted(path for path in KERNEL.glob("*.c") if path.name != "module.c")
FLAGS = ("-g", "-O1", "-std=gnu11", "-fno-strict-aliasing", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
LONGEST = 4096
ENVIRONMENT = os.environ | {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def build(folder: Path) -> tuple[Path, bool] | None:
    """The fuzzer and whether it is libFuzzer's; None where nothing here compiles with sanitizers."""
    target = folder / "kernel_fuzz"
    clang, gcc = shutil.which("clang"), shutil.which("gcc")
    own = str(HERE / "standalone.c")
    ways = [(clang, "fuzzer,", ()), (clang, "", (own,)), (gcc, "", (own,))]
    for compiler, fuzzer, more in ways:
        if compiler is None:
            continue
        sanitize = f"-fsanitize={fuzzer}address,undefined"
        sources = [*map(str, SOURCES), str(HERE / "kernel_fuzz.c"), *more]
        command = [compiler, *FLAGS, sanitize, f"-I{KERNEL}", *sources, "-o", str(target), "-lm"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return target, bool(fuzzer)
        print(f"{compiler} {sanitize} does not build here: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return None


def fuzz(target: Path, seconds: int, seed: int, corpus: Path, *, guided: bool) -> int:
    """Run for some seconds; the exit status."""
    finding = OUT / f"finding-{seed}"
    seeds = sorted((HERE / "seeds").iterdir())
    if guided:
        limits = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-dict={HERE / 'kernel.dict'}",
            f"-max_len={LONGEST}",
            "-timeout=20",
            "-rss_limit_mb=2048",
        ]
        report = ["-print_final_stats=1", "-verbosity=0", f"-exact_artifact_path={finding}"]
        command = [str(target), *limits, *report, str(corpus), str(HERE / "seeds")]
    else:
        command = [str(target), str(seconds), str(seed), str(finding), *map(str, seeds)]
    status = subprocess.run(command, check=False, env=ENVIRONMENT).returncode
    if status:
        print(f"\nA finding. Run it again with: {sys.executable} fuzz/run.py {finding}", file=sys.stderr)
        if guided:
            print("or go on from its seed with: "
                  f"{sys.executable} fuzz/run.py --seconds {seconds} --seed {seed}", file=sys.stderr)  # fmt: skip
    return status


def install() -> None:
    """Bring clang and its fuzzer; for Debian, as root, and only when asked for."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit("--install needs root on Debian; install clang with its compiler-rt (libclang-rt-*-dev) yourself")
    apt = ["apt-get", "-q", "-y"]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", "clang"], check=True)
    version = subprocess.run(["clang", "-dumpversion"], check=True, capture_output=True, text=True).stdout.split(".")[0]
    runtime = f"libclang-rt-{version}-dev"
    subprocess.run([*apt, "install", "--no-install-recommends", runtime], check=True)


def main() -> int:
    """Build, then fuzz or run one input; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="run this input only")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: from the clock")
    parser.add_argument("--corpus", type=Path, help="keep and reuse what libFuzzer finds interesting")
    parser.add_argument("--install", action="store_true", help="apt-get install clang and its fuzzer first")
    args = parser.parse_args()
    if args.install:
        install()
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tapeflow-fuzz-") as folder:
        built = build(Path(folder))
        if built is None:
            print("neither clang nor gcc with sanitizers is here: install clang and libclang-rt-*-dev", file=sys.stderr)
            return 2
        target, guided = built
        if args.file is not None:
            return subprocess.run([str(target), str(args.file)], check=False, env=ENVIRONMENT).returncode
        corpus = args.corpus or Path(folder) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        seed = args.seed or int(time.time()) & 0x7FFFFFFF
        how = "libFuzzer" if guided else "standalone mutations"
        print(f"{how} under address and undefined for {args.seconds} s, seed {seed}", flush=True)
        status = fuzz(target, args.seconds, seed, corpus, guided=guided)
        print("a finding" if status else "no finding")
        return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
