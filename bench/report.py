"""What every benchmark here needs to tell its results: the machine, JSON, tables, plots, the README.

Only the standard library. A benchmark is a folder with a program of its own, `results.json` and plots in it, and a
section of README.md between `<!-- NAME -->` and `<!-- /NAME -->` that the program fills.
"""

import datetime
import json
import math
import os
import platform
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent


def cores():
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def environment(threads):
    """Of a contestant's process: so many threads, and otherwise what its libraries choose for the processor, whatever this
    shell may have set."""
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "MKL_", "OMP_"))}
    return {**kept, **dict.fromkeys(names, str(threads))}


def machine():
    """What a reader needs to judge times; nothing that tells whose machine it was."""
    cpu = next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
               if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{platform.machine()}, {cpu}",
        "cores": cores(),
        "memory_gb": round(memory / 1e9),
        "system": platform.system(),
        "rustc": subprocess.check_output(["rustc", "--version"], text=True).split()[1],
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def table(header, rows):
    """As Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def quantity(value, unit):
    """Three digits that count."""
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def say(what):
    """Tells what a long run is at."""
    print(f"{time.strftime('%X')} {what}", flush=True)


def publish(name, machine, text, figures, results):
    """Writes NAME/results.json and README.md's section, and prints the figures last, one `key=value` a line."""
    (HERE / name / "results.json").write_text(
        json.dumps({"machine": machine, "figures": figures, **results}, indent=1) + "\n")
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- /{name} -->\n")
    about = ", ".join(f"{key} {value}" for key, value in machine.items())
    lines = [f"{key}={value}" for key, value in figures.items()]
    block = "".join(f"    {line}\n" for line in lines)
    readme.write_text(f"{before}<!-- {name} -->\n{about}.\n\n{text}\n{block}<!-- /{name} -->\n{after}")
    print("\n".join(lines))


COLOURS = ["#0b6e4f", "#c8553d", "#3d5a98", "#8a6d1f", "#7a3b82", "#555555"]


def plot_log_log(path, title, x_label, y_label, series):
    """Writes an SVG with lines of (x, y), both axes logarithmic; `series` maps names to points."""
    width, height, left, right, top, bottom = 760, 460, 70, 190, 40, 50
    points = [point for line in series.values() for point in line]
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = (10.0 ** edge(math.log10(bound))
                     for edge, bound in ((math.floor, min(y for _, y in points)), (math.ceil, max(y for _, y in points))))

    def at(value, low, high, start, length):
        return round(start + length * math.log(value / low) / math.log(high / low), 1)

    def place(x, y):
        return (at(x, low_x, high_x, left, width - left - right),
                at(y, low_y, high_y, height - bottom, top + bottom - height))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           f'font-size="13"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="24" font-size="16">{title}</text>']
    for x in sorted({x for x, _ in points}):
        px, py = place(x, low_y)
        out.append(f'<path d="M{px} {top}V{py}" stroke="#ddd"/><text x="{px}" y="{py + 18}" text-anchor="middle">{x:,}</text>')
    for power in range(round(math.log10(low_y)), round(math.log10(high_y)) + 1):
        px, py = place(high_x, 10.0 ** power)
        out.append(f'<path d="M{left} {py}H{px}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{py + 4}" text-anchor="end">{10.0 ** power:g}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{x_label}</text>')
    out.append(f'<text x="18" y="{(top + height - bottom) / 2}" text-anchor="middle" '
               f'transform="rotate(-90 18 {(top + height - bottom) / 2})">{y_label}</text>')
    # Names stand at the ends of their lines, moved apart where they would overlap.
    free = -math.inf
    for (name, line), colour in sorted(zip(series.items(), COLOURS), key=lambda item: place(*item[0][1][-1])[1]):
        places = [place(*point) for point in line]
        out.append(f'<polyline points="{" ".join(f"{x},{y}" for x, y in places)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places]
        free = max(places[-1][1] + 4, free + 16)
        out.append(f'<text x="{width - right + 10}" y="{free}" fill="{colour}">{name}</text>')
    Path(path).write_text("\n".join([*out, "</svg>"]) + "\n")
