"""Judge every case and write the names of those that are answered rightly: ``python -m tests.field``."""

from __future__ import annotations

from tests.field.judging import CASES, RIGHT, expected, wrong

found = {case: wrong(case) for case in CASES}
for case, faults in found.items():
    doubt = expected(case).get("needs_new_facts") or expected(case).get("doubtful")
    print(f"{'WRONG' if faults else 'ok':6}{case}{' (not counted)' if doubt else ''}", *faults, sep="\n      ")
RIGHT.write_text("".join(f"{case}\n" for case, faults in found.items() if not faults), "utf-8")
print(f"{sum(not faults for faults in found.values())} of {len(found)} are right")
