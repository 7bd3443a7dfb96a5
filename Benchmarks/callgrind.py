"""What callgrind counts of a program: its instructions, and allocations."""

import collections
import os
import pathlib
import re
import subprocess
import tempfile

FEW, MANY = 50, 1050  # times: what happens once, such as the growth of a buffer, is in both
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}


def counted(profile, program):
    """Instructions of the program's own functions, and calls of allocators by anybody else, in a file of callgrind's (its manual,
    "Callgrind Format")."""
    names = {"ob": {}, "fn": {}}
    object_, function, called, is_call = "", "", "", False
    instructions, calls = collections.Counter(), 0

    def name(kind, text):
        number, _, rest = text.partition(" ")
        if rest:
            names[kind][number] = rest
        return names[kind].get(number, "")

    for line in profile.read_text().splitlines():
        if found := re.match(r"(ob|fn|cfn)=(.*)", line):
            if found[1] == "ob":
                object_ = name("ob", found[2])
            elif found[1] == "fn":
                function = name("fn", found[2])
            else:
                called = name("fn", found[2])
        elif line.startswith("cob="):
            name("ob", line[4:])
        elif line.startswith("calls="):
            is_call = True
            if base(called) in ALLOCATORS and base(function) not in ALLOCATORS and not function.startswith("_"):
                calls += int(line[6:].split()[0])
        elif re.match(r"[+*\-\d]", line):
            if not is_call:  # the line after a call has what the callee cost
                instructions[object_] += int(line.split()[1])
            is_call = False
    return instructions[str(program)], calls


def base(function):
    return function.partition("'")[0].partition("@")[0]


def costs(program, names):
    """Instructions of the program and allocations that one time of each `program --count NAME TIMES` takes. What a start takes is in
    neither: it is the difference of two runs."""
    with tempfile.TemporaryDirectory(prefix="etcd-rest-costs-") as folder:
        bare = pathlib.Path(folder, program.name)
        # Valgrind does not read all that compilers write for debuggers.
        subprocess.run(["objcopy", "--strip-debug", program, bare], check=True)
        runs = {(name, times): subprocess.Popen(
            ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder}/{name}.{times}", bare, "--count", name, str(times)],
            env=os.environ | {"SWIFT_DETERMINISTIC_HASHING": "1"})  # the same start each time
            for name in names for times in (FEW, MANY)}
        failed = [process.args for process in runs.values() if process.wait()]
        if failed:
            raise SystemExit(f"{failed[0]} failed")
        counts = {run: counted(pathlib.Path(folder, "{}.{}".format(*run)), bare) for run in runs}
    results = {}
    for name in names:
        instructions, allocations = (many - few for many, few in zip(counts[name, MANY], counts[name, FEW]))
        if instructions <= 0:
            raise SystemExit("callgrind counted nothing")
        results[name] = {"instructions": round(instructions / (MANY - FEW)), "allocations": allocations / (MANY - FEW)}
    return results
