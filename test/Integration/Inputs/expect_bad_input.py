# Runs the lines `BAD: tool arguments => message` of a file in an empty folder.
# Each must exit with 2, print nothing but one line `tool: ...message...` on
# stderr, and write no file. `%t` in a line is the folder of the inputs.
import os
import shlex
import subprocess
import sys
import tempfile

TIMEOUT_SECONDS = 60


def complaint(arguments, message, folder):
    """What is wrong with how the tool refuses, or nothing."""
    try:
        done = subprocess.run(
            arguments,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"expected an end within {TIMEOUT_SECONDS} s"
    lines = done.stderr.splitlines()
    if done.returncode != 2:
        return f"expected exit code 2, got {done.returncode}"
    if done.stdout:
        return f"expected nothing on stdout, got {done.stdout!r}"
    if len(lines) != 1 or not lines[0].startswith(arguments[0] + ": "):
        return f"expected one line of {arguments[0]} on stderr, got {lines}"
    if message not in lines[0]:
        return f"expected '{message}', got '{lines[0]}'"
    if os.listdir(folder):
        return f"expected no file, got {os.listdir(folder)}"
    return None


def main():
    test, inputs = sys.argv[1:]
    failed = total = 0
    with open(test) as lines:
        cases = [line[4:].strip() for line in lines if line.startswith("BAD:")]
    for case in cases:
        command, message = case.replace("%t", inputs).rsplit(" => ", 1)
        with tempfile.TemporaryDirectory() as folder:
            wrong = complaint(shlex.split(command), message, folder)
        total += 1
        if wrong:
            failed += 1
            print(f"{command}\n  {wrong}")
    print(f"{total} bad inputs, {failed} not refused as expected")
    sys.exit(failed > 0 or total == 0)


main()
