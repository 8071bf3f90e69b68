"""python/src/XlaAbi.h against the headers of the JAX that is installed.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import pathlib
import shutil
import subprocess

import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

SOURCES = pathlib.Path(__file__).parents[2] / "python" / "src"
STRUCTS = {
    "Extension": (
        "XLA_FFI_Extension_Base",
        {"structBytes": "struct_size", "kind": "type", "next": "next"},
    ),
    "Version": ("XLA_FFI_Api_Version", {"major": "major_version", "minor": "minor_version"}),
    "Metadata": ("XLA_FFI_Metadata", {"version": "api_version", "traits": "traits"}),
    "MetadataExtension": ("XLA_FFI_Metadata_Extension", {"metadata": "metadata"}),
    "ErrorRequest": ("XLA_FFI_Error_Create_Args", {"message": "message", "code": "errc"}),
    "Api": ("XLA_FFI_Api", {"version": "api_version", "createError": "XLA_FFI_Error_Create"}),
    "Buffer": (
        "XLA_FFI_Buffer",
        {"elementType": "dtype", "data": "data", "rank": "rank", "sizes": "dims"},
    ),
    "Buffers": ("XLA_FFI_Args", {"count": "size", "kinds": "types", "entries": "args"}),
    "Text": ("XLA_FFI_ByteSpan", {"data": "ptr", "length": "len"}),
    "Scalar": ("XLA_FFI_Scalar", {"elementType": "dtype", "value": "value"}),
    "Attributes": (
        "XLA_FFI_Attrs",
        {"count": "size", "kinds": "types", "names": "names", "values": "attrs"},
    ),
    "Frame": (
        "XLA_FFI_CallFrame",
        {
            "extensions": "extension_start",
            "api": "api",
            "stage": "stage",
            "operands": "args",
            "results": "rets",
            "attributes": "attrs",
        },
    ),
}
NUMBERS = {
    "kMetadataExtension": "XLA_FFI_Extension_Metadata",
    "kInvalidArgument": "XLA_FFI_Error_Code_INVALID_ARGUMENT",
    "kInternal": "XLA_FFI_Error_Code_INTERNAL",
    "kScalarAttribute": "XLA_FFI_AttrType_SCALAR",
    "kTextAttribute": "XLA_FFI_AttrType_STRING",
    "kExecuteStage": "XLA_FFI_ExecutionStage_EXECUTE",
}


def test_layouts_are_those_of_the_installed_headers(tmp_path):
    compiler = shutil.which("clang++-22") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    lines = [
        '#include "XlaAbi.h"',
        '#include "xla/ffi/api/c_api.h"',
        "using namespace paged_attn_python;",
    ]
    for ours, (theirs, fields) in STRUCTS.items():
        for field, other in fields.items():
            lines.append(
                f'static_assert(offsetof(xla::{ours}, {field}) == offsetof({theirs}, {other}), "{ours}");'
            )
    for ours, theirs in NUMBERS.items():
        lines.append(f'static_assert(int(xla::{ours}) == int({theirs}), "{ours}");')
    for number, name in {
        2: "S8",
        4: "S32",
        5: "S64",
        10: "F16",
        11: "F32",
        16: "BF16",
        20: "F8E4M3FN",
    }.items():
        lines.append(f'static_assert({number} == int(XLA_FFI_DataType_{name}), "{name}");')
    source = tmp_path / "layouts.cpp"
    source.write_text("\n".join(lines) + "\n")
    include = ["-I", str(SOURCES), "-isystem", jax.ffi.include_dir()]
    run = subprocess.run(
        [compiler, "-std=c++17", "-fsyntax-only", *include, str(source)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
