"""The pictures of the comparisons: bars as SVG, readable on light and on dark pages."""

import html
import statistics

from marks import median, shown

WIDTH, LEFT, RIGHT, ROW, BAR = 760, 190, 110, 24, 16
STYLE = """
    .page { fill: #ffffff; stroke: #d0d7de; } text { fill: #1f2328; } .small { font-size: 12px; fill: #57606a; }
    .ours { fill: #0969da; } .ours2 { fill: #80ccff; } .peer { fill: #8c959f; } .peer2 { fill: #d0d7de; } .range { stroke: #1f2328; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d; } text { fill: #e6edf3; } .small { fill: #9198a1; }
      .ours { fill: #4493f8; } .ours2 { fill: #1f4f8f; } .peer { fill: #7d8590; } .peer2 { fill: #3d444d; } .range { stroke: #e6edf3; }
    }"""

# File: title, small print, whether all groups have one scale, and the groups: workload, title, figures (which are
# stacked) and unit.
PICTURES = {
    "requests": ("Requests a second", "More is better. Lines: lowest and highest rotation.", True, [
        ("reads64", "range of one of 1,000 keys, 64 connections", ["throughput"], ""),
        ("reads256", "the same, 256 connections", ["throughput"], ""),
        ("reads1024", "the same, 1,024 connections", ["throughput"], ""),
        ("hot", "range of one key, the same for all", ["throughput"], "")]),
    "kinds": ("Requests a second, other kinds", "More is better. Each group has a scale of its own.", False, [
        ("put", "put of 16 bytes", ["throughput"], ""), ("txn", "transaction of 10", ["throughput"], ""),
        ("range100", "range of 100 keys of 100 bytes", ["throughput"], ""),
        ("get1m", "range of a value of 1 MiB: MiB/s", ["throughput"], ""),
        ("put1m", "put of a value of 1 MiB: MiB/s", ["throughput"], "")]),
    "latency": ("Milliseconds of a request", "Less is better. Each group has a scale of its own.", False, [
        ("reads1", "median, range of one of 1,000 keys, one connection", ["p50"], "ms"),
        ("reads64", "99th percentile, 64 connections", ["p99"], "ms"),
        ("reads256", "99th percentile, 256 connections", ["p99"], "ms"),
        ("reads1024", "99th percentile, 1,024 connections", ["p99"], "ms")]),
    "cpu": ("CPU of a request", "Less is better. Strong: the gateway. Pale: etcd, or what stands in its place.", False, [
        ("reads64", "range of one of 1,000 keys, 64 connections", ["gateway_cpu", "etcd_cpu"], "µs"),
        ("own", "the same, upstream costs nothing", ["gateway_cpu", "etcd_cpu"], "µs"),
        ("put", "put of 16 bytes", ["gateway_cpu", "etcd_cpu"], "µs"),
        ("range100", "range of 100 keys of 100 bytes", ["gateway_cpu", "etcd_cpu"], "µs"),
        ("tls", "HTTPS beside HTTP, upstream costs nothing", ["gateway_cpu", "etcd_cpu"], "µs")]),
    "watches": ("5,000 watchers of one key", "Less is better. Each group has a scale of its own.", False, [
        ("watch", "CPU of an event, for each watcher", ["event_cpu"], "µs"), ("watch", "memory of a watcher", ["memory"], "KiB"),
        ("watch", "from a put to its last event", ["spread"], "ms")]),
    "memory": ("Memory", "Less is better. Each group has a scale of its own.", False, [
        ("start", "after the start", ["memory"], "MiB"), ("connections", "of a kept connection", ["memory"], "KiB"),
        ("range50000", "more while a range of 50,000 keys of 1 KiB is read", ["memory"], "MiB"),
        ("slow", "more for each of 20 slow readers of it", ["memory"], "MiB")]),
}


def write_all(folder, workloads, names, small_print):
    """Writes the pictures whose figures were measured. Returns their names."""
    folder.mkdir(exist_ok=True)
    written = []
    for name, (title, explanation, is_one_scale, groups) in PICTURES.items():
        measured = [(label, bars(workloads[workload]["rounds"], figures), unit)
                    for workload, label, figures, unit in groups if workload in workloads]
        if measured:
            (folder / f"{name}.svg").write_text(picture(title, f"{explanation} {small_print}", is_one_scale, measured, names))
            written.append(name)
    return written


def bars(rounds, figures):
    """For each server: its medians, one a figure, and the lowest and the highest of their sums."""
    result = []
    for server, each in rounds.items():
        medians = [median(each, figure) or 0 for figure in figures]
        sums = [sum(one.get(figure, 0) for figure in figures) for one in each]
        if any(medians):
            result.append((server, medians, min(sums), max(sums), statistics.median(sums)))
    return result


def picture(title, explanation, is_one_scale, groups, names):
    longest = max(high for _, group, _ in groups for _, _, _, high, _ in group)
    room = WIDTH - LEFT - RIGHT
    parts, y = [], 62
    for label, group, unit in groups:
        most = longest if is_one_scale else max(high for _, _, _, high, _ in group)
        y += 24
        parts.append(f'<text x="20" y="{y}" font-weight="600">{html.escape(label)}</text>')
        y += 10
        for server, medians, low, high, total in group:
            color, x = "ours" if server in ("ours", "alone", "tls") else "peer", LEFT
            middle = y + BAR / 2
            parts.append(f'<text x="{LEFT - 8}" y="{middle + 5}" text-anchor="end">{html.escape(names[server])}</text>')
            for number, value in enumerate(medians):
                width = max(0, value) / most * room
                parts.append(f'<rect class="{color}{"2" if number else ""}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}"/>')
                x += width
            ends = [LEFT + max(0, value) / most * room for value in (low, high)]
            parts.append(f'<path class="range" d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}"/>')
            parts.append(f'<text class="small" x="{max(x, ends[1]) + 6:.1f}" y="{middle + 4}">{shown(total)} {unit}</text>')
            y += ROW
    height = y + 16
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
            f'font-size="13" role="img" aria-labelledby="title">\n  <title id="title">{html.escape(title)}</title>\n'
            f'  <style>{STYLE}\n  </style>\n  <rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
            f'  <text x="20" y="32" font-size="17" font-weight="600">{html.escape(title)}</text>\n'
            f'  <text class="small" x="20" y="52">{html.escape(explanation)}</text>\n  ' + "\n  ".join(parts) + "\n</svg>\n")
