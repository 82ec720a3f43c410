# SPDX-License-Identifier: MIT
"""The ratios of all rows as one picture, drawn by gnuplot. The same results give the same bytes."""
import subprocess

from report import ratio

# What of a row is drawn, and on which side of 1 the first proxy is the better one.
PANELS = {
    "cpu_us": "CPU per request (less is better)",
    "p99_ms": "p99 (less is better)",
    "rps": "requests/s (more is better)",
}
COLOURS = ("#1b6ca8", "#e08e0b", "#4f9d4f", "#8e5aa8")


def panel_rows(results, key):
    """[(row, [ratio to each peer])] for those rows that have the figure at all."""
    rows = []
    for name, samples in results.items():
        first, *peers = samples
        ratios = [ratio(samples[first], samples[peer], key) for peer in peers]
        if any(value is not None for value in ratios):
            rows.append((name, ratios))
    return rows


def panel(results, key):
    rows = panel_rows(results, key)
    if not rows:
        return []
    first, *peers = next(iter(results.values()))
    lines = ["$data << EOD"]
    lines += [" ".join([f'"{name}"', *("NaN" if value is None else f"{value:.3f}" for value in ratios)])
              for name, ratios in rows]
    lines += ["EOD", f'set title "{first} / peer: {PANELS[key]}"']
    bars = [f"$data using {at + 2}:xtic(1) title '{peer}' linecolor rgb '{colour}'"
            for at, (peer, colour) in enumerate(zip(peers, COLOURS))]
    return [*lines, "plot " + ", ".join([*bars, "1 notitle with lines linecolor rgb '#444444' dashtype 2"])]


def script(results, path):
    head = ["set encoding utf8",
            "set terminal svg size 1000,1080 font 'sans-serif,13' background '#ffffff' name 'benchmarks'",
            f"set output '{path}'", "set multiplot layout 3,1", "set style data histogram",
            "set style histogram clustered gap 1", "set style fill solid 0.9 border -1", "set boxwidth 0.9",
            "set logscale y 2", "set yrange [0.0625:8]", "set ytics (0.125, 0.25, 0.5, 1, 2, 4)",
            "set grid ytics linecolor rgb '#cccccc'", "set xtics rotate by -20 nomirror",
            "set key outside right top"]
    return "\n".join([*head, *(line for key in PANELS for line in panel(results, key)), "unset multiplot", ""])


def draw(results, path):
    """`results`: samples by proxy by row; `path` must not hold a quote."""
    subprocess.run(["gnuplot"], input=script(results, path), text=True, check=True)
