"""Damaged audio through SQL functions in a live server: fuzz.py CONNINFO PSQL DATA FUZZ SAMPLES SAVED [SEED [MINUTES]]

Two thirds of the time the decoder alone is at work, in a child process with limits of its own (src/main.rs); then
audio_info, extract_speaker_embedding and audio_clip get damaged files, a statement each, under a statement_timeout. DATA
is the server's data folder: its postmaster must stay, and its backends must not be killed.

Figures are printed last, one key=value a line. Exit status 1 on a crash or a timeout; its input is in SAVED.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from sql import literal  # noqa: E402

# A new backend for every batch: a crash ends the backends of all.
BATCH = 100
STATEMENTS = (
    "SELECT duration_s > 0 FROM audio_info({audio})",
    "SELECT extract_speaker_embedding({audio}) IS NULL",
    "SELECT length(audio_clip({audio}, 0.2, 1.0)) > 0",
)
# What the messages of a refused file never say.
TROUBLE = {
    "timeout": ("canceling statement due to statement timeout",),
    "crash": ("server closed the connection", "terminating connection because of crash", "connection to server"),
    "internal": ("XX000",),
}


def figures_of(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and " " not in line)


def postmaster(data):
    return (Path(data) / "postmaster.pid").read_text().split("\n", 1)[0]


def batch(psql, conninfo, files):
    """The answers to each file's statements, as one text per file."""
    script = ["SET statement_timeout = '10s';", "\\set VERBOSITY verbose"]
    for file in files:
        script.append(f"\\echo == {file.name}")
        script += [statement.format(audio=f"pg_read_binary_file({literal(str(file))})") + ";" for statement in STATEMENTS]
    command = [psql, "-X", "-q", "-At", conninfo, "-f", "-"]
    run = subprocess.run(
        command, input="\n".join(script), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    )
    return dict(zip((file.name for file in files), run.stdout.split("== ")[1:], strict=False)), run.returncode


def main(conninfo, psql, data, fuzz, samples, saved, seed="20261121", minutes="3"):
    saved = Path(saved).resolve()
    saved.mkdir(parents=True, exist_ok=True)
    seconds = float(minutes) * 60
    smoke = subprocess.run(
        [fuzz, "smoke", samples, saved, seed, str(int(seconds * 2 / 3))], stdout=subprocess.PIPE, text=True
    )
    print("\n".join(line for line in smoke.stdout.splitlines() if line.split(":")[0] in ("crash", "timeout")))
    figures = {key: float(value) for key, value in figures_of(smoke.stdout).items()}

    subprocess.run(
        [psql, "-X", "-q", conninfo, "-c", "SET client_min_messages = error", "-c", "CREATE EXTENSION pg_speaker CASCADE"],
        check=True,
    )
    alive, sql_inputs, trouble = postmaster(data), 0, dict.fromkeys(TROUBLE, 0)
    folder = saved / "sql"
    started, round_ = time.monotonic(), 0
    while time.monotonic() - started < seconds / 3:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        # Other inputs than the child's.
        subprocess.run([fuzz, "write", samples, folder, str(int(seed) + 1 + round_), str(BATCH)], check=True)
        files = sorted(folder.iterdir())
        answers, status = batch(psql, conninfo, files)
        for file in files:
            answer = answers.get(file.name, "connection to server")
            for kind in [kind for kind, signs in TROUBLE.items() if any(sign in answer for sign in signs)]:
                trouble[kind] += 1
                kept = saved / f"sql-{kind}-{int(seed) + 1 + round_}-{file.name}"
                shutil.copy(file, kept)
                print(f"{kind}: {kept}\n{answer}")
        if status == 2:
            print("psql lost its connection")
        sql_inputs += len(files)
        round_ += 1
    stayed = postmaster(data) == alive
    shutil.rmtree(folder, ignore_errors=True)

    figures["crashes"] += trouble["crash"] + (not stayed)
    figures["timeouts"] += trouble["timeout"]
    figures |= {"sql_inputs": sql_inputs, "sql_internal_errors": trouble["internal"]}
    print()
    for key, value in figures.items():
        print(f"{key}={value:g}" if key != "inputs" else f"{key}={int(value)}")
    wrong = [key for key in ("crashes", "timeouts", "sql_internal_errors") if figures[key]]
    if wrong or smoke.returncode or not figures["inputs"] or not sql_inputs:
        sys.exit("missed: " + (", ".join(wrong) or "inputs"))


if __name__ == "__main__":
    main(*sys.argv[1:])
