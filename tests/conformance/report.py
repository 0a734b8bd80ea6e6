#!/usr/bin/env python3
"""Judges the reports of Autobahn|Testsuite, strictly, and prints a table of them.

    report.py --expect CASES server=INDEX,INDEX… client=INDEX,…

Each INDEX is the index.json of a part of the suite. A case passes if its behaviour and the way its connection closed are
OK: NON-STRICT, which the suite lets pass, does not. Exits with 1 if a case failed, is missing or was reported twice.
"""

import argparse
import json
import sys

# The suite judges these INFORMATIONAL whatever happens: it sets that itself when the connection has ended.
NO_VERDICT = {"7.1.6", "7.13.1", "7.13.2"}

SECTIONS = {
    1: "Framing", 2: "Pings and pongs", 3: "Reserved bits", 4: "Opcodes", 5: "Fragmentation", 6: "UTF-8",
    7: "Closing", 9: "Limits and performance", 10: "Auto-fragmentation",
    12: "Compression: five kinds of data", 13: "Compression: parameters",
}


def fail(problem):
    print(f"FAILED {problem}")
    fail.count += 1


fail.count = 0


def read(role, paths):
    """All cases of a role: {case: (behaviour, how it closed)}."""
    cases = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            agents = json.load(file)
        for report in agents.values():
            for case, result in report.items():
                if case in cases:
                    fail(f"{role} {case}: reported twice")
                cases[case] = (result["behavior"], result["behaviorClose"])
    return cases


def passes(case, verdicts):
    return verdicts == (("INFORMATIONAL",) * 2 if case in NO_VERDICT else ("OK",) * 2)


def section_of(case):
    return int(case.split(".")[0])


def row(cases):
    """OK, informational and failed cases, as cells of a table."""
    good = [case for case, verdicts in cases.items() if passes(case, verdicts)]
    informational = sum(case in NO_VERDICT for case in good)
    return [len(good) - informational, informational, len(cases) - len(good)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--expect", type=int, required=True)
    parser.add_argument("roles", nargs="+")
    options = parser.parse_args()
    roles = {}
    for role in options.roles:
        name, _, paths = role.partition("=")
        cases = roles[name] = read(name, paths.split(","))
        for case, verdicts in cases.items():
            if not passes(case, verdicts):
                fail(f"{name} {case}: {verdicts[0]}, closed {verdicts[1]}")
        if len(cases) != options.expect or not cases:
            fail(f"{name}: {len(cases)} cases reported, of {options.expect}")

    names = [f"{name}: {what}" for name in roles for what in ("OK", "informational", "failed")]
    print(f"| section | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for section in sorted({section_of(case) for cases in roles.values() for case in cases}):
        cells = [row({c: v for c, v in cases.items() if section_of(c) == section}) for cases in roles.values()]
        print(f"| {section} {SECTIONS.get(section, '')} | {' | '.join(str(n) for cell in cells for n in cell)} |")
    print(f"| all | {' | '.join(str(n) for cases in roles.values() for n in row(cases))} |")
    sys.exit(1 if fail.count else 0)


main()
