"""What callgrind counts of a program: its instructions, and allocations."""

import collections
import re

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
