#!/usr/bin/env python3
"""Rates of dot-product instructions relative to f32 FMA, from LLVM's scheduling models.

    instruction_rates.py                    prints the rates that stand in docs/Targets.md
    instruction_rates.py --check COMPILER   fails where paged-attn-compile --print-target
                                            says something else

A rate is (products of the instruction / its reciprocal throughput) over the same of
f32 FMA, for the native vector width. Needs llvm-mca of the LLVM that is built against.
"""
import json
import os
import shutil
import subprocess
import sys

MCA = shutil.which("llvm-mca", path="/usr/lib/llvm-22/bin" + os.pathsep + os.environ["PATH"])

# Products per 128 bits, and the instruction, for each unit.
NEON = {
    "f32 fma": (4, "fmla v0.4s, v1.4s, v2.4s"),
    "fp16 fma": (8, "fmla v0.8h, v1.8h, v2.8h"),
    "bf16 dot": (8, "bfdot v0.4s, v1.8h, v2.8h"),
    "int8 dot": (16, "sdot v0.4s, v1.16b, v2.16b"),
    "bf16 matrix": (16, "bfmmla v0.4s, v1.8h, v2.8h"),
    "int8 matrix": (32, "smmla v0.4s, v1.16b, v2.16b"),
}
SVE = {
    "f32 fma": (4, "fmla z0.s, p0/m, z1.s, z2.s"),
    "fp16 fma": (8, "fmla z0.h, p0/m, z1.h, z2.h"),
    "bf16 dot": (8, "bfdot z0.s, z1.h, z2.h"),
    "int8 dot": (16, "sdot z0.s, z1.b, z2.b"),
    "bf16 matrix": (16, "bfmmla z0.s, z1.h, z2.h"),
    "int8 matrix": (32, "smmla z0.s, z1.b, z2.b"),
}
AVX512 = {
    "f32 fma": (4, "vfmadd231ps %zmm0, %zmm1, %zmm2"),
    "int8 dot": (16, "vpdpbusd %zmm0, %zmm1, %zmm2"),
}
CPUS = [
    ("cascadelake", "x86_64", AVX512),
    ("neoverse-n1", "aarch64", NEON),
    ("neoverse-n2", "aarch64", NEON),
    ("neoverse-v1", "aarch64", SVE),
    ("neoverse-v2", "aarch64", NEON),
    ("ampere1", "aarch64", NEON),
]


def throughput(cpu, architecture, instruction):
    """Reciprocal throughput in cycles, or None when the CPU lacks the instruction."""
    command = [MCA, f"-mtriple={architecture}-linux-gnu", f"-mcpu={cpu}", "-iterations=1", "-json"]
    run = subprocess.run(command, input=instruction + "\n", capture_output=True, text=True)
    if run.returncode:
        return None
    return json.loads(run.stdout)["CodeRegions"][0]["SummaryView"]["BlockRThroughput"]


def rates(cpu, architecture, instructions):
    speed = {}
    for unit, (products, instruction) in instructions.items():
        cycles = throughput(cpu, architecture, instruction)
        if cycles:
            speed[unit] = products / cycles
    base = speed.pop("f32 fma")
    return {unit: value / base for unit, value in speed.items()}


def table_of(compiler, cpu):
    """unit -> rate as the compiler has it; units that are not there are left out."""
    text = subprocess.run(
        [compiler, f"--cpu={cpu}", "--print-target"], capture_output=True, text=True, check=True
    ).stdout
    result = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if value.endswith("used"):
            result[name] = float(value.split()[0])
    return result


def main():
    compiler = sys.argv[2] if sys.argv[1:2] == ["--check"] else None
    wrong = 0
    for cpu, architecture, instructions in CPUS:
        expected = rates(cpu, architecture, instructions)
        print(f"{cpu}: " + ", ".join(f"{unit} {rate:g}" for unit, rate in expected.items()))
        if not compiler:
            continue
        for unit, rate in table_of(compiler, cpu).items():
            if unit in expected and abs(expected[unit] - rate) > 0.05 * rate:
                print(f"  expected {unit} {expected[unit]:g}, got {rate:g}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
