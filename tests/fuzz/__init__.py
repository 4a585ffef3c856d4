"""Random programs, run with torch and with this library, compared number by number.

`python -m tests.fuzz --minutes 60` looks for programs that differ and prints each one, shrunk, as a script that runs.

`program` says what a program is and writes it as a script, which is also what is run; `generate` and the `steps_*`
tables draw one; `judge` runs and compares; `shrink` makes a failing one small; `hunt` does this with many processes.
"""
