#!/usr/bin/env python3
"""What a review costs, by what the processor does: a table of microseconds for ours and for the bare server.

    hack/cost_profile.py [FOLDER]    runs `make cost` and looks into both servers meanwhile; takes `perf` (Debian: linux-perf).
                                     The samples are kept in the folder, for `perf report -i`.

Each sample counts for the innermost frame of its stack that a row names.
"""

import collections
import os
import re
import signal
import subprocess
import sys
import tempfile

# The first row whose pattern a frame has takes it; frames are looked at from the innermost on.
ROWS = [
    ("kernel: sockets, wake-ups", r"^(entry_SYSCALL_64|do_syscall_64|asm_|__schedule)"),
    ("TLS", r"rustls|\bring::|ring_core"),
    ("reading the review (its envelope)", r"message::Request::"),
    ("decoding the object", r"watch::object::decode|watch::prune|k8s_openapi|serde_path_to_error"),
    ("pod to subject", r"cluster::subject::|review_input::ReviewInput::of"),
    ("judging: the IAM engine", r"^<?iam_verdict::|request_evaluation::"),
    ("judging: the rest", r"ecr_forecast::(judge|select|puller|inventory|policy|ecr|facts)"),
    ("words", r"ecr_forecast::(report|diagnose|text)"),
    ("fair shares and deadlines", r"runtime::shares|webhook::allotment|timeout_at|webhook::review::CpuPermit"),
    ("metrics and traces", r"prometheus_client|tracing"),
    ("the answer", r"Answer::to_bytes|into_response|webhook::review::decided"),
    ("the handler", r"ecr_access::webhook|cluster::bare::"),
    ("the guarded port", r"ecr_access::runtime::guarded"),
    ("HTTP and the runtime", r"hyper|axum|tower|tokio|futures"),
]
ROWS = [(name, re.compile(pattern)) for name, pattern in ROWS]


def row_of(stack):
    """The name of the row that a stack of symbols, innermost first, counts for."""
    # What the kernel does for a system call is the system call, whatever functions it calls.
    for symbol in stack:
        if ROWS[0][1].search(symbol):
            return ROWS[0][0]
    for symbol in stack:
        for name, pattern in ROWS[1:]:
            if pattern.search(symbol):
                return name
    return "other"


def stacks(text):
    """The stacks of the output of `perf script`."""
    for block in text.split("\n\n"):
        stack = [line.split(None, 1)[1] for line in block.splitlines() if len(line.split(None, 1)) == 2]
        if stack:
            yield stack


def measure(folder):
    """Runs `make cost`: the table's figures by size, and the files of samples by name and size."""
    command = ["cargo", "test", "--profile", "measure", "--test", "cluster", "--", "--long", "load::cost"]
    figures, files, perf = {}, {}, None
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PROFILE": "1"})
    for line in run.stdout:
        print(line, end="", flush=True)
        words = line.split()
        if match := re.match(r"\s*\| (\d+) bytes \| ([\d.]+) µs \| ([\d.]+) µs", line):
            size, ours, bare = match.groups()
            figures[size] = {"ours": float(ours), "bare": float(bare)}
        elif words[:1] == ["profile"]:
            _, name, size, process = words
            file = files[name, size] = os.path.join(folder, f"{name}-{size}")
            record = ["perf", "record", "--quiet", "--freq=400", "--call-graph=dwarf,16384", f"--output={file}"]
            perf = subprocess.Popen([*record, f"--pid={os.path.basename(process)}"])
        elif words[:1] == ["profiled"] and perf:
            perf.send_signal(signal.SIGINT)
            perf.wait()
    if run.wait() != 0:
        sys.exit("the run failed")
    return figures, files


def main():
    """Measures, and prints a table for each size."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = sys.argv[1] if len(sys.argv) > 1 else temporary
        figures, files = measure(folder)
        for size, of in figures.items():
            shares = {}
            for name in ("ours", "bare"):
                script = ["perf", "script", "--no-inline", "--fields=ip,sym", f"--input={files[name, size]}"]
                text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
                counts = collections.Counter(map(row_of, stacks(text)))
                shares[name] = {row: count / counts.total() for row, count in counts.items()}
            print(f"\n| {size} bytes | ours, µs | bare, µs |\n|---|---:|---:|")
            for row in [name for name, _ in ROWS] + ["other"]:
                ours, bare = (of[name] * shares[name].get(row, 0) for name in ("ours", "bare"))
                print(f"| {row} | {ours:.1f} | {bare:.1f} |")
            print(f"| all | {of['ours']:.1f} | {of['bare']:.1f} |")


if __name__ == "__main__":
    main()
